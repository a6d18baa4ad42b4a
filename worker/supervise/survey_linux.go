package supervise

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// survey looks for what descends from daemons, again and again. What forks while the numbers are read can be missed by
// one look, so a look says whether it can have missed anybody.
type survey struct {
	dead map[int]bool // by the last look, so that they cannot have forked since
	buf  []byte
}

// read reads a small file of the kernel's, into a buffer that the next read overwrites. It asks for no more than that takes:
// a look may read a thousand.
func (s *survey) read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if s.buf == nil {
		s.buf = make([]byte, 1<<16)
	}
	for n := 0; ; s.buf = append(s.buf, make([]byte, len(s.buf))...) {
		m, err := unix.Read(fd, s.buf[n:])
		if n += max(m, 0); n < len(s.buf) || err != nil {
			return s.buf[:n], err
		}
	}
}

// look lists the living processes whose environment names one of the wanted daemons' processes, by that name. It is sure
// that there are no others if every process of the machine could be read: one that ended meanwhile may have forked before,
// and one that is just becoming another program has no environment yet. The children of other daemons, which may be a
// thousand, are known and not read; nor are guards, whose commands are no daemon's descendants either.
func (s *survey) look(wanted map[string]bool) (found map[string][]int, sure bool) {
	names, err := entries("/proc")
	sure = err == nil
	found = map[string][]int{}
	dead := map[int]bool{}
	// The newest first: who lives for a moment only, such as a command that checks health, is read while it lives.
	for _, name := range slices.Backward(names) {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if c, ok := watched.Load(pid); ok && (c.(*free).ended.Load() || !wanted[c.(*free).process]) && (c.(*free).ours || c.(*free).exists()) {
			continue
		}
		if guarding(pid) {
			continue
		}
		text, err := s.read("/proc/" + name + "/environ")
		switch {
		case err == unix.EACCES || err == unix.EPERM: // another user's
		case len(text) > 0:
			if process, ok := taggedBy(text, wanted); ok {
				found[process] = append(found[process], pid)
			}
		default:
			parent, ended, starting := s.silent(pid)
			if ended {
				dead[pid] = true
			}
			sure = sure && (guarding(parent) || !starting && (!ended || s.dead[pid]))
		}
	}
	s.dead = dead
	return found, sure
}

// entries lists a folder in the kernel's order, which for processes is that of their numbers.
func entries(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// taggedBy finds the wanted process that an environment names.
func taggedBy(environ []byte, wanted map[string]bool) (string, bool) {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(tag+"=")); ok && wanted[string(value)] {
			return string(value), true
		}
	}
	return "", false
}

// silent says why a process shows no environment: it has ended, or its new program has none yet. Neither: it was given
// none, or is the kernel's. The parent is 0 for one that is gone.
func (s *survey) silent(pid int) (parent int, ended, starting bool) {
	text, err := s.read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, true, false
	}
	// After the name: the state, the parent, the flags as the seventh, the end of the environment as the 49th; see
	// proc_pid_stat(5).
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 49 {
		return 0, true, false
	}
	parent, _ = strconv.Atoi(string(f[1]))
	if string(f[0]) == "Z" || string(f[0]) == "X" {
		return parent, true, false
	}
	const kernelThread = 0x00200000
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	return parent, false, err == nil && flags&kernelThread == 0 && string(f[48]) == "0"
}

// signalThose sends a kill signal to those that were found.
func signalThose(process string, pids []int, sig unix.Signal) {
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// The number may have found a new owner between the look and the open; not after it.
		text, err := (&survey{}).read("/proc/" + strconv.Itoa(pid) + "/environ")
		if _, ok := taggedBy(text, map[string]bool{process: true}); err == nil && ok {
			unix.PidfdSendSignal(fd, sig, nil, 0)
		}
		unix.Close(fd)
	}
}

// tagged lists the living processes whose environment names a daemon's process, the lowest number first: but for numbers
// that have begun anew that is the daemon itself.
func tagged(process string) []int {
	found, _ := (&survey{}).look(map[string]bool{process: true})
	slices.Sort(found[process])
	return found[process]
}

// signalTagged sends a signal to all that descends from a daemon.
func signalTagged(process string, sig unix.Signal) { signalThose(process, tagged(process), sig) }

// burials are the daemons whose descendants are being ended. A look at the machine serves all of them: a thousand daemons
// that end together are not a thousand times looked for.
var burials struct {
	mu      sync.Mutex
	waiting []*burial
	working bool
}

type burial struct {
	process string
	empty   int // looks in a row that found nobody
	done    chan struct{}
}

// killTagged ends all that descends from a daemon.
func killTagged(process string) {
	b := &burial{process: process, done: make(chan struct{})}
	burials.mu.Lock()
	burials.waiting = append(burials.waiting, b)
	if !burials.working {
		burials.working = true
		go endTagged()
	}
	burials.mu.Unlock()
	<-b.done
}

// enough looks that found nobody: on a machine where processes come and go all the time no look may be sure.
const enough = 25

// endTagged works until nobody waits any more.
func endTagged() {
	var (
		list  []*burial
		s     survey
		pause time.Duration
	)
	for {
		burials.mu.Lock()
		list = append(list, burials.waiting...)
		burials.waiting = nil
		if len(list) == 0 {
			burials.working = false
			burials.mu.Unlock()
			return
		}
		burials.mu.Unlock()
		wanted := map[string]bool{}
		for _, b := range list {
			wanted[b.process] = true
		}
		found, sure := s.look(wanted)
		rest := list[:0]
		for _, b := range list {
			if pids := found[b.process]; len(pids) > 0 {
				signalThose(b.process, pids, unix.SIGKILL)
				b.empty = 0
			} else if b.empty++; sure || b.empty == enough {
				close(b.done)
				continue
			}
			rest = append(rest, b)
		}
		if list = rest; len(found) == 0 {
			pause = time.Millisecond
		} else {
			pause = min(2*pause+time.Millisecond, 100*time.Millisecond) // who was killed takes a moment to die, or is not let go
		}
		if len(list) > 0 {
			time.Sleep(pause)
		}
	}
}
