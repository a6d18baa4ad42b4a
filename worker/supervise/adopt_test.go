//go:build linux

package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// A worker is killed with twenty daemons, at work and just being started: the next one has all of them, once. One more ends
// before anybody looks.
//
// feature: B14
func TestTheDaemonsOfAKilledWorkerAreAdopted(t *testing.T) {
	y := newYard(t)
	const n = 20
	pids := map[string]int{}
	for i := range n {
		y.spec(fmt.Sprint("d", i), sh(`while :; do sleep 0.1; done`, `, "outlives": true`))
	}
	y.spec("d-ends", sh(`while :; do sleep 0.1; done`, `, "outlives": true`))
	y.spec("dies", sh(`while :; do sleep 0.1; done`, `, "outlives": false`))
	program, err := os.Executable()
	y.ok(err)
	worker := exec.Command(program)
	worker.Env = append(os.Environ(), "SUPERVISE_TEST_KEEPER="+y.pool.Config().ConnString(), "SUPERVISE_TEST_DIR="+y.dir)
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	y.ok(worker.Start())
	t.Cleanup(func() { worker.Process.Kill(); worker.Wait(); y.stopAll(); y.clear() })
	for i := range n {
		pids[fmt.Sprint("d", i)] = *y.state(fmt.Sprint("d", i), "running").PID
	}
	y.state("d-ends", "running")
	guardedPID := *y.state("dies", "running").PID
	y.ok(worker.Process.Kill())
	worker.Wait()
	// One of them was killed before its row was written.
	_, err = y.pool.Exec(t.Context(), `update towpath.child set pid = null, pid_start = null, started_at = null, ready_at = null
		where process_no = (select no from towpath.process where definition = 'd3')`)
	y.ok(err)
	// And of one even the PID file was not written.
	_, err = y.pool.Exec(t.Context(), `update towpath.child set pid = null, pid_start = null, started_at = null, ready_at = null
		where process_no = (select no from towpath.process where definition = 'd5')`)
	y.ok(err)
	y.ok(os.Remove(pidPath(filepath.Join(y.dir, "d5"))))
	killTagged(*y.seen("d-ends").Process) // while nobody looks

	// Its leases have not lapsed: what says that it is dead is the lock that it held.
	y.node("next")
	if d := y.state("d-ends", "restarting"); *d.LastEnd != "ended while its worker was gone" {
		t.Errorf("%+v", d)
	}
	for name, pid := range pids {
		d := y.until(name, "adopted", func(d store.Daemon) bool { return d.State == "running" && d.Node != nil && *d.Node == "next" })
		if *d.PID != pid || dead(pid) || *d.Restarts != 0 {
			t.Errorf("%s: pid %d then %d, %d restarts", name, pid, *d.PID, *d.Restarts)
		}
		all := 0
		for _, p := range tagged(*d.Process) {
			if p == pid {
				all++
			} else if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); strings.Contains(string(text), "while") {
				// Its own fork looks like it until that becomes the sleep.
				if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p)); !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", pid)) {
					all++
				}
			}
		}
		if all != 1 {
			t.Errorf("%s runs %d times", name, all)
		}
	}
	if len(pids) != n {
		t.Errorf("%d were adopted, not %d", len(pids), n)
	}
	if !dead(guardedPID) {
		t.Error("what dies with its worker lives")
	}
	// The end of an adopted child is noticed, and told as far as it is known.
	y.ok(syscall.Kill(pids["d0"], syscall.SIGKILL))
	if d := y.state("d0", "restarting"); d.ExitCode != nil || *d.LastEnd != "ended, nobody knows how" {
		t.Errorf("%+v", d)
	}
	y.sound()
}

// keep is a worker that starts every registered daemon of its test.
func keep(dsn, dir string) int {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		panic(err)
	}
	db := store.New(pool)
	n := store.Node{ID: "killed", Incarnation: uuid.New()}
	d, err := NewDaemons(DaemonConfig{Store: db, Node: n, TTL: 30 * time.Second, Dir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		panic(err)
	}
	go d.Run(ctx)
	specs, err := db.Specs(ctx)
	if err != nil {
		panic(err)
	}
	for _, s := range specs {
		if strings.HasPrefix(s.Name, "d") {
			id, err := db.StartDaemon(ctx, s.Name, "", "")
			if err == nil {
				err = d.Start(ctx, id, 1, 0)
			}
			if err != nil {
				panic(err)
			}
		}
	}
	select {}
}
