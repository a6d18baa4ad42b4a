package supervise

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/store"
)

// thisPlace names the machine, its run, and the space of process numbers that this worker sees.
func thisPlace() (store.Place, error) {
	host, _ := os.Hostname()
	id, _ := os.ReadFile("/etc/machine-id")
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return store.Place{}, err
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return store.Place{}, err
	}
	machine := cmp.Or(host, "localhost")
	if id := strings.TrimSpace(string(id)); id != "" {
		machine += "/" + id
	}
	return store.Place{Machine: machine, Boot: strings.TrimSpace(string(boot)) + " " + space}, nil
}

// rebooted reports whether a boot of this machine's is over, so that nothing of it can be alive.
func rebooted(now, then string) bool {
	a, _, _ := strings.Cut(now, " ")
	b, _, _ := strings.Cut(then, " ")
	return a != b
}

// startOf is when the machine started a process, in its ticks; false when there is none of that number, or a dead one.
func startOf(pid int) (uint64, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || string(fields[0]) == "Z" || string(fields[0]) == "X" {
		return 0, false
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return start, err == nil
}

// listeners are the sockets of this machine that listen, by port.
func listeners() (map[int][]string, error) {
	found := map[int][]string{}
	var errs []error
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" {
				continue
			}
			port, err := strconv.ParseInt(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 32)
			if err == nil {
				found[int(port)] = append(found[int(port)], "socket:["+f[9]+"]")
			}
		}
	}
	if len(errs) == 2 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// holds reports whether a process has one of the sockets open.
func holds(pid int, sockets []string) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	files, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range files {
		link, err := os.Readlink(dir + "/" + f.Name())
		if err != nil {
			continue
		}
		for _, s := range sockets {
			if link == s {
				return true
			}
		}
	}
	return false
}

// lockFile takes a lock that goes with this process; false when another process has it.
func lockFile(path string, create bool) (*os.File, bool, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, false, nil
	}
	return f, true, nil
}
