package engine

import "fmt"

// image is the memory that every instance of a module starts with: runs of bytes in a memory of size bytes that is
// zero elsewhere.
type image struct {
	Size int64
	Runs []run
}

type run struct {
	Offset int64
	Bytes  []byte
}

// runGap is how many zero bytes end a run: shorter holes cost less as bytes than as runs.
const runGap = 64 << 10

// newImage finds the runs of p. They alias p.
func newImage(p []byte) image {
	img := image{Size: int64(len(p))}
	for page := 0; page < len(p); page += 4096 {
		end := min(page+4096, len(p))
		if zero(p[page:end]) {
			continue
		}
		if n := len(img.Runs); n > 0 {
			last := &img.Runs[n-1]
			if lastEnd := last.Offset + int64(len(last.Bytes)); int64(page)-lastEnd < runGap {
				last.Bytes = p[last.Offset:end]
				continue
			}
		}
		img.Runs = append(img.Runs, run{int64(page), p[page:end]})
	}
	return img
}

func zero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// check reports runs that are out of order or out of bounds.
func (img image) check() error {
	end := int64(0)
	for _, r := range img.Runs {
		if r.Offset < end || r.Offset%4096 != 0 || r.Offset+int64(len(r.Bytes)) > img.Size {
			return fmt.Errorf("run at %d with %d bytes in a memory of %d", r.Offset, len(r.Bytes), img.Size)
		}
		end = r.Offset + int64(len(r.Bytes))
	}
	return nil
}

// source makes the spaces of a module's instances.
type source interface {
	// space returns a space that holds the image and can grow to max bytes.
	space(max int64) (space, error)
	close() error
}

// copies is the source that works everywhere: each space is a copy of the image on the Go heap.
type copies struct{ img image }

func (c copies) close() error { return nil }

func (c copies) space(int64) (space, error) {
	b := make([]byte, c.img.Size)
	for _, r := range c.img.Runs {
		copy(b[r.Offset:], r.Bytes)
	}
	return &heap{b}, nil
}

type heap struct{ b []byte }

func (h *heap) grow(n int64) ([]byte, error) {
	h.b = append(h.b, make([]byte, n-int64(len(h.b)))...)
	return h.b, nil
}

func (h *heap) release() { h.b = nil }
