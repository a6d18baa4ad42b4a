package engine

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is the source that shares what is not written: the image lies in a sealed memfd, and each space maps its
// runs copy-on-write. A page fault costs ten times as much as the copy of a page, so a few spaces are kept when they are
// released: what was written to them is undone, see restore.
type mapped struct {
	fd      int
	size    int64
	extents []extent
	image   []byte // the memfd, read-only

	mu   sync.Mutex
	free []*mapping
}

// extent is a run's place, in whole pages.
type extent struct{ offset, length int64 }

func newSource(img image) (source, error) {
	fd, err := unix.MemfdCreate("towpath-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	m := &mapped{fd: fd, size: img.Size}
	if err := m.fill(img); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("fill memfd: %w", err)
	}
	return m, nil
}

func (m *mapped) fill(img image) error {
	if err := unix.Ftruncate(m.fd, img.Size); err != nil {
		return err
	}
	for _, r := range img.Runs {
		for p, offset := r.Bytes, r.Offset; len(p) > 0; {
			n, err := unix.Pwrite(m.fd, p, offset)
			if err != nil {
				return err
			}
			p, offset = p[n:], offset+int64(n)
		}
		m.extents = append(m.extents, extent{r.Offset, (int64(len(r.Bytes)) + 4095) &^ 4095})
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(m.fd), unix.F_ADD_SEALS, seals); err != nil || img.Size == 0 {
		return err
	}
	var err error
	m.image, err = unix.Mmap(m.fd, 0, int(img.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	return err
}

func (m *mapped) close() error {
	for _, s := range m.free {
		s.unmap()
	}
	m.free = nil
	if m.image != nil {
		if err := unix.Munmap(m.image); err != nil {
			return err
		}
	}
	return unix.Close(m.fd)
}

// callers are the threads that change mappings. The kernel has them wait for each other, and for each that waits there Go
// soon makes another thread and keeps it: thousands of turns that end at once wait here instead.
var callers = make(chan struct{}, max(2, runtime.NumCPU()))

// changing runs a system call that changes or reads mappings.
func changing(call func() error) error {
	callers <- struct{}{}
	err := call()
	<-callers
	return err
}

func (m *mapped) space(max int64) (space, error) {
	if s := m.take(max); s != nil {
		return s, nil
	}
	return m.reserve(max)
}

func (m *mapped) take(max int64) *mapping {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.free) - 1
	if n < 0 || int64(len(m.free[n].b)) != max {
		return nil
	}
	s := m.free[n]
	m.free = m.free[:n]
	s.released = false
	return s
}

// reserve takes max bytes of address space, so that growth never moves the memory.
func (m *mapped) reserve(max int64) (*mapping, error) {
	var base unsafe.Pointer
	if err := changing(func() (err error) {
		base, err = unix.MmapPtr(-1, 0, nil, uintptr(max), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
		return err
	}); err != nil {
		return nil, fmt.Errorf("reserve %d bytes: %w", max, err)
	}
	s := &mapping{source: m, b: unsafe.Slice((*byte)(base), max)}
	for _, e := range m.extents {
		if err := changing(func() error {
			_, err := unix.MmapPtr(m.fd, e.offset, unsafe.Add(base, e.offset), uintptr(e.length),
				unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
			return err
		}); err != nil {
			s.unmap()
			return nil, fmt.Errorf("map image: %w", err)
		}
	}
	if _, err := s.grow(m.size); err != nil {
		s.unmap()
		return nil, err
	}
	return s, nil
}

// mapping is a reserved range of addresses of which the first open bytes can be read and written.
type mapping struct {
	source   *mapped
	b        []byte
	open     int64
	released bool
}

func (s *mapping) grow(n int64) ([]byte, error) {
	if n > s.open {
		err := changing(func() error { return unix.Mprotect(s.b[s.open:n], unix.PROT_READ|unix.PROT_WRITE) })
		if err != nil {
			return nil, fmt.Errorf("grow to %d bytes: %w", n, err)
		}
		s.open = n
	}
	return s.b[:n], nil
}

func (s *mapping) release() {
	if s.released {
		return
	}
	s.released = true
	if !s.restore() || !s.source.keep(s) {
		s.unmap()
	}
}

// keep puts a restored mapping on the free list while there is room.
func (m *mapped) keep(s *mapping) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) >= 2*runtime.GOMAXPROCS(0) {
		return false
	}
	m.free = append(m.free, s)
	return true
}

// dropped is how many bytes of a used memory are given back to the kernel at once: a quarter of a millisecond, in which
// this processor runs nothing else.
const dropped = 2 << 20

// unmap gives everything back. Most of a large memory goes piece by piece, by a call that holds up nobody else's mappings,
// as munmap does.
func (s *mapping) unmap() {
	since := time.Now()
	for at := int64(0); at+dropped < s.open; at += dropped {
		changing(func() error { return unix.Madvise(s.b[at:at+dropped], unix.MADV_DONTNEED) }) // munmap gives back what it left
		if time.Since(since) > quantum {
			giveWay()
			since = time.Now()
		}
	}
	// The error would say that the range is no mapping, which only a bug here can bring about.
	if err := changing(func() error {
		return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(s.b)), uintptr(len(s.b)))
	}); err != nil {
		panic(err)
	}
	s.b = nil
}
