package engine

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRestore is how many written bytes are worth undoing; beyond it a fresh mapping is as good.
const maxRestore = 4 << 20

// restore makes the mapping hold the image again and zeros elsewhere. The kernel says which pages are private to it,
// that is, were written since they were mapped; they are overwritten with what belongs there. It returns false when the
// mapping cannot be used again: too much was written, or the kernel (before 6.7) cannot say.
func (s *mapping) restore() bool {
	private := regions.Get().(*[256]pageRegion)
	defer regions.Put(private)
	base := uintptr(unsafe.Pointer(unsafe.SliceData(s.b)))
	for at, restored := base, int64(0); at < base+uintptr(s.open); {
		found, end, ok := scan(private[:], at, base+uintptr(s.open), maxRestore-restored+4096)
		if !ok {
			return false
		}
		for _, r := range found {
			if restored += int64(r.end - r.start); restored > maxRestore {
				return false
			}
			s.overwrite(int64(uintptr(r.start)-base), int64(uintptr(r.end)-base))
		}
		at = end
	}
	return true
}

// overwrite puts the image, and zeros between and after its extents, over the bytes from lo to hi.
func (s *mapping) overwrite(lo, hi int64) {
	for _, e := range s.source.extents {
		if e.offset+e.length <= lo {
			continue
		}
		if e.offset >= hi {
			break
		}
		if e.offset > lo {
			clear(s.b[lo:e.offset])
			lo = e.offset
		}
		end := min(hi, e.offset+e.length)
		copy(s.b[lo:end], s.source.image[lo:end])
		lo = end
	}
	clear(s.b[lo:hi])
}

// The ioctl PAGEMAP_SCAN of linux/fs.h, which golang.org/x/sys does not have.
const (
	pagemapScan = 0xc0606610

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsZero    = 1 << 5 // the kernel's page of zeros, of memory that was read only
)

type pageRegion struct{ start, end, categories uint64 }

type scanArgument struct {
	size, flags, start, end, walkEnd  uint64
	vec, vecLen, maxPages             uint64
	inverted, mask, anyMask, returned uint64
}

// pagemap is opened at the start: a process that has concealed its memory can open it no more. -1 where there is none.
var pagemap = func() int {
	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}()

// regions are what the kernel writes scans to. They live on the heap: the kernel is told their address as a number, and
// a stack that grows meanwhile moves.
var regions = sync.Pool{New: func() any { return new([256]pageRegion) }}

// scan finds the private pages from address start on, most bytes of them, and where it stopped looking.
func scan(into []pageRegion, start, end uintptr, most int64) (found []pageRegion, next uintptr, ok bool) {
	if pagemap < 0 {
		return nil, 0, false
	}
	arg := scanArgument{
		start: uint64(start), end: uint64(end),
		vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(into)))), vecLen: uint64(len(into)), maxPages: uint64(most) / 4096,
		inverted: pageIsFile | pageIsZero, mask: pageIsFile | pageIsZero,
		anyMask: pageIsPresent | pageIsSwapped, returned: pageIsPresent,
	}
	arg.size = uint64(unsafe.Sizeof(arg))
	var n uintptr
	err := changing(func() error {
		var errno unix.Errno
		if n, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(pagemap), pagemapScan, uintptr(unsafe.Pointer(&arg))); errno != 0 {
			return errno
		}
		return nil
	})
	runtime.KeepAlive(into)
	if err != nil {
		return nil, 0, false
	}
	return into[:n], uintptr(arg.walkEnd), true
}
