package engine

import "testing"

// A goroutine's stack moves when it grows. Wherever that happens in a release, the memory is the image again.
func TestAReleaseOnAStackThatGrows(t *testing.T) {
	const size = 16 * wasmPage
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i)
	}
	img := newImage(content)
	if err := img.check(); err != nil {
		t.Fatal(err)
	}
	src, err := newSource(img)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	for depth := range 600 {
		s, err := src.space(size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.grow(size)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range b {
			if got != byte(i) {
				t.Fatalf("after a release at depth %d: byte %d is %d", depth-1, i, got)
			}
		}
		for at := 0; at < len(b); at += 8192 {
			b[at] = 'x'
		}
		released := make(chan struct{})
		go func() { // a stack of its own, small at first
			defer close(released)
			below(depth, s.release)
		}()
		<-released
	}
}

// below calls a function from so many frames further down.
//
//go:noinline
func below(frames int, call func()) {
	var room [24]byte
	if frames == 0 {
		call()
	} else {
		below(frames-1, call)
	}
	keep(&room)
}

//go:noinline
func keep(*[24]byte) {}
