package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// account is who runs the server programs. Postgres refuses to run as root, so root picks somebody else.
type account struct {
	name string
	cred *syscall.Credential // nil: the caller
}

// serverAccount chooses the account for a data directory, which need not exist yet.
func serverAccount(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	if info, err := os.Stat(data); err == nil {
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 {
			return account{fmt.Sprintf("uid %d", st.Uid), &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if errors.Join(err, err2) == nil && uid != 0 {
			return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
		}
	}
	return account{}, errors.New("Postgres does not run as root, and this machine has neither a user postgres nor nobody: " +
		"run the worker as an ordinary user")
}

func (a account) uid() int {
	if a.cred == nil {
		return os.Geteuid()
	}
	return int(a.cred.Uid)
}

func (a account) own(path string) error {
	if a.cred == nil {
		return nil
	}
	return os.Lchown(path, int(a.cred.Uid), int(a.cred.Gid))
}

// command runs a server program in dir: as this account, in a session of its own, with an environment that holds no
// secret of the worker and no PG* variable. Its end by ctx is a TERM, so that initdb cleans up.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: a.cred}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// reach fails when this account cannot enter dir or run program. It tries, because mode bits are not the whole truth.
func (a account) reach(ctx context.Context, dir, program string) error {
	if a.cred == nil {
		return nil
	}
	err := a.command(ctx, dir, program, "--version").Run()
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("run %s as %s: %w", program, a.name, err)
	}
	for _, path := range []string{dir, program} {
		if closed := closedFolder(path); closed != "" {
			return fmt.Errorf("started by root, Postgres runs as %s, who cannot enter %s on the way to %s: "+
				"use a directory outside it, such as /var/lib/towpath", a.name, closed, path)
		}
	}
	return fmt.Errorf("started by root, Postgres runs as %s, who cannot run %s in %s: %w", a.name, program, dir, err)
}

// closedFolder is the topmost folder of path that others cannot pass through, or "".
func closedFolder(path string) string {
	if parent := filepath.Dir(path); parent != path {
		if closed := closedFolder(parent); closed != "" {
			return closed
		}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() && info.Mode()&0o001 == 0 {
		return path
	}
	return ""
}
