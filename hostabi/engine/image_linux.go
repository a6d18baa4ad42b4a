package engine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is the source that shares what is not written: the image lies in a sealed memfd, and each space maps its
// runs copy-on-write.
type mapped struct {
	fd      int
	size    int64
	extents []extent
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
	_, err := unix.FcntlInt(uintptr(m.fd), unix.F_ADD_SEALS, seals)
	return err
}

func (m *mapped) close() error { return unix.Close(m.fd) }

// space reserves max bytes of address space, so that growth never moves the memory.
func (m *mapped) space(max int64) (space, error) {
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(max), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes: %w", max, err)
	}
	s := &mapping{b: unsafe.Slice((*byte)(base), max)}
	for _, e := range m.extents {
		_, err := unix.MmapPtr(m.fd, e.offset, unsafe.Add(base, e.offset), uintptr(e.length),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
		if err != nil {
			s.release()
			return nil, fmt.Errorf("map image: %w", err)
		}
	}
	if _, err := s.grow(m.size); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// mapping is a reserved range of addresses of which the first size bytes are readable and writable.
type mapping struct {
	b    []byte // nil when released
	size int64
}

func (s *mapping) grow(n int64) ([]byte, error) {
	if n > s.size {
		if err := unix.Mprotect(s.b[s.size:n], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil, fmt.Errorf("grow to %d bytes: %w", n, err)
		}
		s.size = n
	}
	return s.b[:n], nil
}

func (s *mapping) release() {
	if s.b != nil {
		// The error would say that the range is no mapping, which only a bug here can bring about.
		if err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(s.b)), uintptr(len(s.b))); err != nil {
			panic(err)
		}
		s.b = nil
	}
}
