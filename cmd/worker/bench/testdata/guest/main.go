// The guest that the suite plugins drops: a Go plugin of about 2 MB that does nothing.
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

func main() {}

//go:wasmexport manifest_v1
func manifest() int32 { return end(`{"name":"measured","version":"1"}`) }

//go:wasmexport turn_v1
func turn() int32 {
	words := strings.Fields("a turn takes some time")
	slices.Sort(words)
	text := base64.StdEncoding.EncodeToString([]byte(strings.Join(words, " "))) + time.Now().Format(time.RFC3339)
	return end(`{"status":"completed","text":` + strconv.Quote(text) + `}`)
}

func end(s string) int32 { return finish(unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))) }
