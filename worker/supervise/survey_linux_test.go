package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// feature: B9
func TestWhatForksAtTheEndOfADaemonEndsWithIt(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for round := range 40 {
		// A chain of programs, each of which leaves the next one behind; the last one stays.
		script := "exec sleep 1000"
		for range round % 5 {
			script = fmt.Sprintf("(setsid sh -c '%s' & )", strings.ReplaceAll(script, "'", `'\''`))
		}
		id := fmt.Sprintf("chain-%d-%d", os.Getpid(), round)
		c, err := launch(id, "/bin/sh", []string{"-c", "(sh -c '" + strings.ReplaceAll(script, "'", `'\''`) + "' & ); exit 3"},
			"/", []string{tag + "=" + id, "PATH=/usr/bin:/bin"}, null, null)
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if code, _ := c.Exit(); code == nil || *code != 3 {
			t.Errorf("exit code %v", code)
		}
		if left := tagged(id); len(left) > 0 {
			t.Errorf("round %d left %v", round, left)
			killTagged(id)
		}
	}
}

func TestALookIsNotSureOfWhoHasJustEnded(t *testing.T) {
	c := exec.Command("/bin/true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	await(c.Process.Pid) // a zombie: it may have forked after the numbers were read
	s, nobody := &survey{}, map[string]bool{"nobody": true}
	if found, sure := s.look(nobody); sure || len(found) > 0 || !s.dead[c.Process.Pid] {
		t.Errorf("found %v, sure %v, dead %v", found, sure, s.dead)
	}
	guards.Store(os.Getpid(), true) // as if this were a guard: what it started is no daemon's
	for sure := false; !sure; {
		_, sure = (&survey{}).look(nobody)
	}
	guards.Delete(os.Getpid())
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if s.look(nobody); s.dead[c.Process.Pid] {
		t.Error("who was reaped is dead still")
	}
	if parent, ended, starting := s.silent(os.Getpid()); parent != os.Getppid() || ended || starting {
		t.Errorf("this process: parent %d, ended %v, starting %v", parent, ended, starting)
	}
	bare := exec.Command("/bin/sleep", "1000")
	bare.Env = []string{}
	if err := bare.Start(); err != nil {
		t.Fatal(err)
	}
	defer bare.Wait()
	defer bare.Process.Kill()
	_, ended, starting := s.silent(bare.Process.Pid)
	for starting { // Start does not wait for the new program's environment
		_, ended, starting = s.silent(bare.Process.Pid)
	}
	if ended {
		t.Error("one without an environment is said to have ended")
	}
}

// Whether a process lives is seen, not tried: as an ordinary user nobody may signal the first one.
//
// feature: C9
func TestWhoMayNotBeSignalledIsAlive(t *testing.T) {
	start, alive := startOf(1)
	if !alive {
		t.Fatal("the first process is dead")
	}
	c, ok := adoptChild("nobody", 1, start)
	if !ok {
		t.Fatal("the first process is taken for dead")
	}
	c.Leave()
	if _, ok := adoptChild("nobody", 1, start+1); ok {
		t.Error("a process that was started at another time is taken for it")
	}
}

// A thousand daemons that end together are looked for together, and each one's descendants end.
func TestManyEndAtOnce(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var children []*free
	for i := range 50 {
		id := fmt.Sprintf("many-%d-%d", os.Getpid(), i)
		c, err := launch(id, "/bin/sh", []string{"-c", "(setsid sleep 1000 & ); exec sleep 1000"}, "/", []string{tag + "=" + id, "PATH=/usr/bin:/bin"}, null, null)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, c)
	}
	for _, c := range children {
		c.Kill(0)
	}
	for _, c := range children {
		<-c.Done()
		if left := tagged(c.process); len(left) > 0 {
			t.Errorf("%s left %v", c.process, left)
		}
		if c.exists() {
			t.Errorf("%s is not reaped", c.process)
		}
	}
}
