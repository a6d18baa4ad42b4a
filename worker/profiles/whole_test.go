package profiles

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// section is one section of a module, shorter than 128 bytes.
func section(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }

// small is a module with one function that does nothing, and data.
var small = wasmMagic + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") + section(5, "\x01\x00\x01") +
	section(codeSection, "\x01\x02\x00\x0b") + section(11, "\x01\x00\x41\x00\x0b\x02hi")

func TestAModuleIsWholeWhenItsSectionsEndWithIt(t *testing.T) {
	is := func(module string) bool { return whole(strings.NewReader(module), int64(len(module))) }
	if !is(small) || !is(small+section(0, "\x04name")) {
		t.Error("a whole module is said not to be")
	}
	data := len(small) - len(section(11, "\x01\x00\x41\x00\x0b\x02hi"))
	for n := range len(small) {
		if got := is(small[:n]); got != (n == data) { // what ends with its functions looks whole, and is read again when more comes
			t.Errorf("the first %d of %d bytes: whole is %t", n, len(small), got)
		}
	}
	for name, module := range map[string]string{
		"text":                        "not a module",
		"no functions":                wasmMagic + section(1, "\x01\x60\x00\x00"),
		"zeroes that are not written": small[:data] + strings.Repeat("\x00", 9),
		"a length beyond the end":     small[:data] + "\x0b\xff\xff\xff\xff\x0f",
		"a length without an end":     small[:data] + "\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if is(module) {
			t.Errorf("%s: it is said to be whole", name)
		}
	}
}

func TestWhatIsNotAFileIsNotWhole(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder.wasm"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder.wasm", "absent.wasm"} {
		if looksWhole(filepath.Join(dir, name)) {
			t.Errorf("%s is said to be whole", name)
		}
	}
	put := filepath.Join(dir, "echo.wasm")
	if err := os.WriteFile(put, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	if !looksWhole(put) {
		t.Error("a whole file is said not to be")
	}
}

func FuzzWhole(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(small[:20]))
	f.Add([]byte(wasmMagic + "\x0a\x80"))
	f.Fuzz(func(t *testing.T, module []byte) {
		if !whole(bytes.NewReader(module), int64(len(module))) {
			return
		}
		longer := append(bytes.Clone(module), section(0, "\x04name")...)
		if !whole(bytes.NewReader(longer), int64(len(longer))) {
			t.Error("a whole module with one more section is not whole")
		}
		if whole(bytes.NewReader(longer[:len(longer)-1]), int64(len(longer)-1)) {
			t.Error("a module that lacks its last byte is whole")
		}
	})
}
