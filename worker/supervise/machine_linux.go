package supervise

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

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

// tagged lists the living processes whose environment names a daemon's process.
func tagged(process string) []int {
	pids, _ := (&survey{process: process}).look()
	return pids
}

// survey looks for what descends from a daemon, again and again. What forks while the numbers are read can be missed by
// one look, so a look says whether it can have missed anybody.
type survey struct {
	process string
	dead    map[int]bool // by the last look, so that they cannot have forked since
}

// look lists those that it finds. It is sure that there are no others if every process of the machine could be read: one
// that ended meanwhile may have forked before, and one that is just becoming another program has no environment yet.
func (s *survey) look() (found []int, sure bool) {
	files, err := os.ReadDir("/proc")
	sure = err == nil
	want := []byte("\x00" + tag + "=" + s.process + "\x00")
	dead := map[int]bool{}
	for _, f := range files {
		pid, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + f.Name() + "/environ")
		switch {
		case errors.Is(err, fs.ErrPermission): // another user's
		case len(text) > 0:
			if bytes.HasPrefix(text, want[1:]) || bytes.Contains(text, want) {
				found = append(found, pid)
			}
		default:
			ended, starting := silent(pid)
			if ended {
				dead[pid] = true
			}
			sure = sure && !starting && (!ended || s.dead[pid])
		}
	}
	s.dead = dead
	return found, sure
}

// silent says why a process shows no environment: it has ended, or its new program has none yet. Neither: it was given
// none, or is the kernel's.
func silent(pid int) (ended, starting bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true, false
	}
	// After the name: the state, the flags as the seventh, the end of the environment as the 49th; see proc_pid_stat(5).
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 49 || string(f[0]) == "Z" || string(f[0]) == "X" {
		return true, false
	}
	const kernelThread = 0x00200000
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	return false, err == nil && flags&kernelThread == 0 && string(f[48]) == "0"
}

// signal sends a kill signal to those that were found.
func (s *survey) signal(pids []int, sig unix.Signal) {
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// The number may have found a new owner between the look and the open; not after it.
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err == nil && bytes.Contains(text, []byte(tag+"="+s.process+"\x00")) && unix.PidfdSendSignal(fd, sig, nil, 0) == nil && sig == unix.SIGKILL {
			gone(fd, killPatience)
		}
		unix.Close(fd)
	}
}

// signalTagged sends a signal to all that descends from a daemon.
func signalTagged(process string, sig unix.Signal) {
	s := &survey{process: process}
	pids, _ := s.look()
	s.signal(pids, sig)
}

// killTagged ends all that descends from a daemon. On a machine where processes come and go all the time no look may be
// sure; then many that found nobody must do.
func killTagged(process string) {
	s := &survey{process: process}
	for empty := 0; empty < 25; empty++ {
		pids, sure := s.look()
		switch {
		case len(pids) > 0:
			s.signal(pids, unix.SIGKILL)
			empty = 0
		case sure:
			return
		case empty > 0: // the first look is never sure of those that were dead before
			time.Sleep(time.Millisecond)
		}
	}
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
