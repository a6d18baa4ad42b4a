package embedded

import (
	"fmt"
	"syscall"
)

// lowDisk is about what a fresh data directory takes.
const lowDisk = 64 << 20

// diskNote says how little room is left, since a server on a full disk cannot even write its log.
func diskNote(dir string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return ""
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < lowDisk {
		return fmt.Sprintf(" (the disk of %s has only %d kB left)", dir, free>>10)
	}
	return ""
}
