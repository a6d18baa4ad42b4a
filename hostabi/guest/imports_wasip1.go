package guest

import (
	"context"
	"time"
	"unsafe"

	"github.com/towpath/towpath/hostabi"
)

//go:wasmimport turn_v1 take
func hostTake(ptr unsafe.Pointer, cap uint32) int32

//go:wasmimport turn_v1 request
func hostRequest() int32

//go:wasmimport turn_v1 now
func hostNow() int64

//go:wasmimport turn_v1 random
func hostRandom(ptr unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 log
func hostLog(level int32, ptr unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 emit
func hostEmit(ptr unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 http_open
func hostHTTPOpen(head unsafe.Pointer, headLen uint32, body unsafe.Pointer, bodyLen uint32) int32

//go:wasmimport turn_v1 proc_open
func hostProcOpen(spec unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 proc_write
func hostProcWrite(handle uint32, ptr unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 proc_fill
func hostProcFill(handle uint32, ptr unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 wait
func hostWait(handle uint32, timeout int64) int32

//go:wasmimport turn_v1 close
func hostClose(handle uint32) int32

//go:wasmimport turn_v1 kv_get
func hostKVGet(key unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 kv_set
func hostKVSet(key unsafe.Pointer, keyLen uint32, value unsafe.Pointer, valueLen uint32) int32

//go:wasmimport turn_v1 finish
func hostFinish(ptr unsafe.Pointer, n uint32) int32

// imports is the host as the module's imports give it. Contexts mean nothing here: the host ends the instance.
type imports struct{}

var _ hostabi.Host = imports{}

func ptr(b []byte) unsafe.Pointer        { return unsafe.Pointer(unsafe.SliceData(b)) }
func text(s string) unsafe.Pointer       { return unsafe.Pointer(unsafe.StringData(s)) }
func size[T []byte | string](v T) uint32 { return uint32(len(v)) }

// maxMessage is how much of a parked message is read.
const maxMessage = 4 << 10

// taken returns the n bytes that the host has parked; a negative n is a refusal, whose message is parked.
func taken(n int32) ([]byte, error) {
	if n < 0 {
		message := make([]byte, maxMessage)
		message = message[:max(0, hostTake(ptr(message), maxMessage))]
		return nil, &hostabi.Error{Code: hostabi.Code(-n), Message: string(message)}
	}
	b := make([]byte, n)
	if n > 0 {
		hostTake(ptr(b), uint32(n))
	}
	return b, nil
}

// number returns a result that is no length.
func number(n int32) (uint32, error) {
	if n < 0 {
		_, err := taken(n)
		return 0, err
	}
	return uint32(n), nil
}

func (imports) Request() []byte {
	b, err := taken(hostRequest())
	if err != nil {
		panic(err) // the host broke the contract
	}
	return b
}

func (imports) Now() int64      { return hostNow() }
func (imports) Random(p []byte) { hostRandom(ptr(p), size(p)) }

func (imports) Log(level int32, message []byte) { hostLog(level, ptr(message), size(message)) }

func (imports) Emit(_ context.Context, event []byte) (uint32, error) {
	return number(hostEmit(ptr(event), size(event)))
}

func (imports) HTTPOpen(_ context.Context, head, body []byte) (uint32, error) {
	return number(hostHTTPOpen(ptr(head), size(head), ptr(body), size(body)))
}

func (imports) ProcOpen(_ context.Context, spec []byte) (uint32, error) {
	return number(hostProcOpen(ptr(spec), size(spec)))
}

func (imports) ProcWrite(_ context.Context, handle uint32, p []byte) error {
	_, err := number(hostProcWrite(handle, ptr(p), size(p)))
	return err
}

func (imports) ProcFill(_ context.Context, handle uint32, p []byte) error {
	_, err := number(hostProcFill(handle, ptr(p), size(p)))
	return err
}

func (imports) Wait(_ context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	b, err := taken(hostWait(handle, int64(timeout)))
	if err != nil || len(b) == 0 {
		return nil, err
	}
	r, err := hostabi.ParseRecord(b)
	return &r, err
}

func (imports) Sleep(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (imports) Close(_ context.Context, handle uint32) error {
	_, err := number(hostClose(handle))
	return err
}

func (imports) KVGet(_ context.Context, key string) ([]byte, error) {
	return taken(hostKVGet(text(key), size(key)))
}

func (imports) KVSet(_ context.Context, key string, value []byte) error {
	_, err := number(hostKVSet(text(key), size(key), ptr(value), size(value)))
	return err
}

func (imports) Finish(_ context.Context, result []byte) error {
	_, err := number(hostFinish(ptr(result), size(result)))
	return err
}
