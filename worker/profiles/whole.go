package profiles

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

const (
	wasmMagic   = "\x00asm\x01\x00\x00\x00"
	codeSection = 10 // the functions' bodies, without which nothing is a plugin
)

// looksWhole reports whether a file is a module that was written to its end, as far as the heads of its sections say.
func looksWhole(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // opening what is not a file may wait for ever
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return whole(f, info.Size())
}

// whole reports whether the sections of a module, which say how long they are, end where it ends.
func whole(module io.ReaderAt, size int64) bool {
	head := make([]byte, len(wasmMagic))
	if _, err := module.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) || string(head) != wasmMagic {
		return false
	}
	at, code := int64(len(wasmMagic)), false
	for section := make([]byte, 1+binary.MaxVarintLen32); at < size; {
		n, err := module.ReadAt(section, at)
		if err != nil && !errors.Is(err, io.EOF) || n < 2 {
			return false
		}
		length, digits := binary.Uvarint(section[1:n])
		if digits <= 0 || length > uint64(size-at) {
			return false
		}
		code = code || section[0] == codeSection
		at += 1 + int64(digits) + int64(length)
	}
	return code && at == size
}
