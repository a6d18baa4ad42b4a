// The turn "events" of enginebench's guest, for Extism.
package main

import (
	"strings"

	"github.com/extism/go-pdk"
)

//go:wasmimport extism:host/user emit
func emit(offset uint64)

//go:wasmimport extism:host/user wait
func wait()

func main() {}

//go:wasmexport turn
func turn() int32 {
	request := pdk.Input()
	if len(request) > 4 && string(request[:4]) == "wait" {
		wait()
		return 0
	}
	touched := make([]byte, 1<<20)
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = 1
	}
	event := []byte(`{"type":"delta","text":"` + strings.Repeat("a", 174) + `"}`)
	for i := range 100 {
		event[24], event[25] = byte('0'+i/10), byte('0'+i%10)
		m := pdk.AllocateBytes(event)
		emit(m.Offset())
		m.Free()
	}
	pdk.Output([]byte("{}"))
	return 0
}
