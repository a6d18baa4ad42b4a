package enginebench

import (
	"encoding/binary"
	"slices"
)

// smallModule is a plugin whose turn only calls finish.
var (
	finishCall  = []byte{0x41, 0, 0x41, 2, 0x10, 0} // finish(0, 2)
	smallModule = module(1, finishCall)
)

// attacks are plugins whose turn never ends by itself, or takes all the stack that it gets.
var attacks = []struct {
	name  string
	pages int // of memory
	turn  []byte
}{
	{"loop", 1, []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x00}}, // loop, br 0
	{"fill", 1, fill(0x80, 0x80, 0x04)},
	{"recursion", 1, []byte{0x10, 2}}, // call itself
	{"fill_256mb", 4096, fill(0x80, 0x80, 0x80, 0x80, 0x01)},
}

// fill is a loop around memory.fill of that many bytes, a number as code has it.
func fill(bytes ...byte) []byte {
	return slices.Concat([]byte{0x03, 0x40, 0x41, 0, 0x41, 1, 0x41}, bytes, []byte{0xfc, 0x0b, 0, 0x0c, 0, 0x0b, 0x00})
}

// module makes a plugin of that many pages of memory, whose manifest is {} and whose turn has the given body.
func module(pages int, turn []byte) []byte {
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	section := func(id byte, parts ...[]byte) []byte {
		body := slices.Concat(parts...)
		return append([]byte{id, byte(len(body))}, body...)
	}
	code := func(body []byte) []byte { return append(append([]byte{byte(len(body) + 2), 0}, body...), 0x0b) }
	n := binary.AppendUvarint(nil, uint64(pages))
	return slices.Concat(
		[]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{2, 0x60, 0, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 1, 0x7f}), // () -> i32, (i32, i32) -> i32
		section(2, []byte{1}, name("turn_v1"), name("finish"), []byte{0, 1}),
		section(3, []byte{2, 0, 0}),
		section(5, []byte{1, 1}, n, n),
		section(7, []byte{3}, name("memory"), []byte{2, 0}, name("manifest_v1"), []byte{0, 1}, name("turn_v1"), []byte{0, 2}),
		section(10, []byte{2}, code(finishCall), code(turn)),
		section(11, []byte{1, 0, 0x41, 0, 0x0b}, name("{}")),
	)
}
