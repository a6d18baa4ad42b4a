package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"

	"github.com/towpath/towpath/hostabi"
)

// greeting is what a guest of ours logs first.
const greeting = "bench: the guest runs"

// assemble makes a plugin that logs the greeting, emits one event of size bytes a number of times, and finishes.
func assemble(name string, events, size int) []byte {
	event := `{"type":"message.delta","text":""}`
	event = strings.Replace(event, `""`, `"`+strings.Repeat("x", max(0, size-len(event)))+`"`, 1)
	return assembled(name, func(place func(string) []byte) []byte {
		hello := join(i32(0), place(greeting), call(log), drop)
		done := join(place(`{"status":"completed"}`), call(finish))
		said := join(place(event), call(emit), drop)
		// count = events; do { emit } while (count = count - 1)
		repeated := join(i32(events), []byte{0x21, 0}, loop, said, []byte{0x20, 0}, i32(1), []byte{0x6b}, []byte{0x22, 0}, []byte{0x0d, 0}, end)
		if events == 0 {
			repeated = nil
		}
		return join(hello, repeated, done)
	})
}

// hostile are plugins whose turns never end by themselves, by what they do instead.
var hostile = map[string][]byte{
	"spin": assembled("spin", func(func(string) []byte) []byte { return join(loop, again, end, i32(1)) }),
	"emit": assembled("emit", func(place func(string) []byte) []byte {
		return join(loop, place(`{"type":"message.delta","text":"flood"}`), call(emit), drop, again, end, i32(1))
	}),
	"log": assembled("log", func(place func(string) []byte) []byte {
		return join(loop, i32(0), place("flood"), call(log), drop, again, end, i32(1))
	}),
}

// The functions that an assembled plugin imports, by their order.
const log, emit, finish = 0, 1, 2

// assembled makes a plugin of the code of its turn, which leaves a number. place gives a text in memory and is what pushes its
// pointer and length.
func assembled(name string, code func(place func(string) []byte) []byte) []byte {
	manifest, err := json.Marshal(hostabi.Manifest{Name: name, Version: "1"})
	if err != nil {
		panic(err) // plain strings
	}
	var data []byte
	place := func(text string) (args []byte) {
		args = join(i32(len(data)), i32(len(text)))
		data = append(data, text...)
		return args
	}
	turn := body(code(place))
	about := body(join(place(string(manifest)), call(finish)))

	const i32Type = 0x7f
	kind := func(params int) []byte {
		return join([]byte{0x60, byte(params)}, bytes.Repeat([]byte{i32Type}, params), []byte{1, i32Type})
	}
	pages := len(data)>>16 + 1
	return join([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, kind(0), kind(2), kind(3)),
		section(2, imported("log", 2), imported("emit", 1), imported("finish", 1)),
		section(3, []byte{0}, []byte{0}),
		section(5, join([]byte{1}, leb(pages), leb(pages))),
		section(7, exported(hostabi.ExportMemory, 2, 0), exported(hostabi.ExportTurn, 0, 3), exported(hostabi.ExportManifest, 0, 4)),
		section(10, turn, about),
		section(11, join([]byte{0}, i32(0), []byte{0x0b}, leb(len(data)), data)),
	)
}

var (
	drop  = []byte{0x1a}
	loop  = []byte{0x03, 0x40}
	again = []byte{0x0c, 0} // of the loop around
	end   = []byte{0x0b}
)

// i32 pushes a constant. Its form is signed: one more group of seven bits where the highest would read as a sign.
func i32(n int) []byte {
	b := leb(n)
	if last := len(b) - 1; b[last]&0x40 != 0 {
		b[last] |= 0x80
		b = append(b, 0)
	}
	return join([]byte{0x41}, b)
}

// leb is an unsigned number.
func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func call(function int) []byte { return join([]byte{0x10}, leb(function)) }

func body(code []byte) []byte {
	code = join([]byte{1, 1, 0x7f}, code, []byte{0x0b}) // one local i32
	return join(leb(len(code)), code)
}

func imported(name string, kind int) []byte {
	return join(text(hostabi.Module), text(name), []byte{0}, leb(kind))
}

func exported(name string, kind byte, index int) []byte {
	return join(text(name), []byte{kind}, leb(index))
}

func section(id byte, items ...[]byte) []byte {
	content := join(leb(len(items)), join(items...))
	return join([]byte{id}, leb(len(content)), content)
}

func text(s string) []byte { return join(leb(len(s)), []byte(s)) }

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
