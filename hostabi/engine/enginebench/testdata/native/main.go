// The job of the guest's turn "events" as a program of its own: the events and the result go to standard output.
package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"strings"
)

func main() {
	io.ReadAll(os.Stdin)
	touched := make([]byte, 1<<20)
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = 1
	}
	out := bufio.NewWriter(os.Stdout)
	write := func(b []byte) {
		out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(b))))
		out.Write(b)
		out.Flush() // an event is for somebody who follows
	}
	event := []byte(`{"type":"delta","text":"` + strings.Repeat("a", 174) + `"}`)
	for i := range 100 {
		event[24], event[25] = byte('0'+i/10), byte('0'+i%10)
		write(event)
	}
	write([]byte("{}"))
}
