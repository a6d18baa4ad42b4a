package main

import "unsafe"

//go:wasmimport turn_v1 take
func take(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 request
func request() int32

//go:wasmimport turn_v1 now
func now() int64

//go:wasmimport turn_v1 random
func random(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 log
func log(level int32, p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 emit
func emit(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 http_open
func httpOpen(head unsafe.Pointer, headLen uint32, body unsafe.Pointer, bodyLen uint32) int32

//go:wasmimport turn_v1 proc_open
func procOpen(spec unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 proc_write
func procWrite(handle int32, p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 proc_fill
func procFill(handle int32, p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 wait
func wait(handle int32, timeout int64) int32

//go:wasmimport turn_v1 close
func closeHandle(handle int32) int32

//go:wasmimport turn_v1 kv_get
func kvGet(key unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 kv_set
func kvSet(key unsafe.Pointer, keyLen uint32, value unsafe.Pointer, valueLen uint32) int32

//go:wasmimport turn_v1 finish
func finish(p unsafe.Pointer, n uint32) int32

func ptr(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

// taken copies the parked value of n bytes.
func taken(n int32) string {
	b := make([]byte, n)
	return string(b[:take(unsafe.Pointer(unsafe.SliceData(b)), uint32(n))])
}

// end finishes with a JSON object.
func end(s string) int32 {
	p, n := ptr(s)
	return finish(p, n)
}
