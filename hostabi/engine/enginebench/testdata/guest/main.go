// The guest that is measured. The first word of the request says what a turn does.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"sort"
	"strings"
	"unsafe"
)

//go:wasmimport turn_v1 take
func take(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 request
func request() int32

//go:wasmimport turn_v1 emit
func emit(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 wait
func wait(handle int32, timeout int64) int32

//go:wasmimport turn_v1 finish
func finish(p unsafe.Pointer, n uint32) int32

func main() {}

func end(s string) int32 { return finish(unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))) }

//go:wasmexport manifest_v1
func manifest() int32 { return end(`{"name":"measured","version":"1"}`) }

//go:wasmexport turn_v1
func turn() int32 {
	buf := make([]byte, 1024)
	request()
	name := string(buf[:take(unsafe.Pointer(&buf[0]), uint32(len(buf)))])
	if n := strings.IndexByte(name, 32); n >= 0 { // the rest makes the request 1 KiB long
		name = name[:n]
	}
	switch name {
	case "touch":
		touch()
	case "events":
		touch()
		events()
	case "wait":
		wait(0, -1)
	case "calls":
		calls()
	case "compute":
		compute() // now it has its memory: what that costs is not computing
		mark()
		for range 4 {
			compute()
		}
		mark()
	}
	return end("{}")
}

// touch writes to each page of 1 MiB.
func touch() {
	b := make([]byte, 1<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// events emits 100 events of 200 bytes.
func events() {
	event := []byte(`{"type":"delta","text":"` + strings.Repeat("a", 174) + `"}`)
	for i := range 100 {
		event[24], event[25] = byte('0'+i/10), byte('0'+i%10)
		emit(unsafe.Pointer(&event[0]), uint32(len(event)))
	}
}

// calls makes 200,000 calls that each move 1 KiB: half of them into the host, half out of it.
func calls() {
	b := make([]byte, 1024)
	for range 100_000 {
		emit(unsafe.Pointer(&b[0]), 1024)
		request()
		take(unsafe.Pointer(&b[0]), 1024)
	}
}

// mark tells the host that it has come here.
func mark() {
	b := []byte("{}")
	emit(unsafe.Pointer(&b[0]), 2)
}

// compute is what Go code of a plugin does between calls: JSON, hashing, sorting, strings.
func compute() {
	text := []byte(`{"id":"x","choices":[{"delta":{"content":"` + strings.Repeat("word ", 40) + `"}}],"usage":{"a":1,"b":2}}`)
	for range 200 {
		var v map[string]any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		text, _ = json.Marshal(v)
	}
	sum := sha256.Sum256(make([]byte, 1<<20))
	n := make([]int, 50_000)
	x := uint32(sum[0]) | 1
	for i := range n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		n[i] = int(x)
	}
	sort.Ints(n)
}
