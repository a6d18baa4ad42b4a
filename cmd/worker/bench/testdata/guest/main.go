// The guest that the suite plugins drops: a Go plugin of about 2 MB that logs a greeting and does nothing.
package main

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport turn_v1 finish
func finish(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 log
func log(level int32, p unsafe.Pointer, n uint32) int32

func main() {}

//go:wasmexport manifest_v1
func manifest() int32 { return end(`{"name":"measured","version":"1"}`) }

//go:wasmexport turn_v1
func turn() int32 {
	const greeting = "bench: the guest runs" // as the guests say it that are assembled
	log(0, unsafe.Pointer(unsafe.StringData(greeting)), uint32(len(greeting)))
	words := strings.Fields("a turn takes some time")
	slices.Sort(words)
	text := base64.StdEncoding.EncodeToString([]byte(strings.Join(words, " "))) + time.Now().Format(time.RFC3339)
	return end(`{"status":"completed","text":` + strconv.Quote(text) + `}`)
}

func end(s string) int32 { return finish(unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))) }
