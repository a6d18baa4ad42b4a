package engine

import (
	"bytes"
	"testing"
)

// However much a turn has written, the next one finds the image, and zeros behind it.
func TestAReleaseOfLargeMemories(t *testing.T) {
	const image, size = 4096, 32 << 20
	src, err := newSource(newImage(bytes.Repeat([]byte{1}, image)))
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	want := append(bytes.Repeat([]byte{1}, image), make([]byte, size-image)...)
	for _, written := range []int{0, maxRestore, maxRestore + 4096, dropped*3 + 1, size} {
		for _, fill := range [][]byte{nil, bytes.Repeat([]byte{'x'}, written)} {
			s, err := src.space(size)
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.grow(size)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, want) {
				t.Fatalf("before or after %d bytes were written, the memory is another than it was", written)
			}
			copy(b, fill)
			s.release()
		}
	}
	s, err := src.space(size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	if b, err := s.grow(size); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("after all of it was written, the memory is another than it was (%v)", err)
	}
}
