package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// The baselines of the suite daemons: the plainest program that does the same, and keeps no book of it.

// plainStarts starts as many daemons at once, and asks each until it answers.
func plainStarts(ctx context.Context, program string) (took time.Duration, err error) {
	began := time.Now()
	group, starting := errgroup.WithContext(ctx)
	started := make(chan *exec.Cmd, firstStarts)
	for range firstStarts {
		group.Go(func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			port := l.Addr().(*net.TCPAddr).Port
			l.Close()
			cmd := exec.Command(program, Daemon, strconv.Itoa(port))
			cmd.Env = []string{"GOMAXPROCS=1"}
			if err := cmd.Start(); err != nil {
				return err
			}
			started <- cmd
			for askHealth(starting, http.DefaultClient, port) != nil {
				if err := pause(starting, 20*time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	took = time.Since(began)
	close(started)
	for cmd := range started {
		err = errors.Join(err, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	http.DefaultClient.CloseIdleConnections()
	return took, err
}

func askHealth(ctx context.Context, client *http.Client, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/health", port), nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// plainChecks asks the same daemons as often, and runs as many commands, and returns the cores that this process needs
// for that, its children not counted.
func plainChecks(ctx context.Context, ports []int, window time.Duration) (cores float64, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}
	defer client.CloseIdleConnections()
	group, checking := errgroup.WithContext(ctx)
	began := time.Now()
	spent, err := cpuOfThis()
	if err != nil {
		return 0, err
	}
	each := func(phase time.Duration, do func() error) {
		group.Go(func() error {
			if err := pause(checking, phase); err != nil {
				return err
			}
			t := time.NewTicker(interval)
			defer t.Stop()
			for time.Since(began) < window {
				if err := do(); err != nil {
					return err
				}
				select {
				case <-t.C:
				case <-checking.Done():
					return checking.Err()
				}
			}
			return nil
		})
	}
	for i, port := range ports {
		each(interval*time.Duration(i)/time.Duration(len(ports)), func() error { return askHealth(checking, client, port) })
	}
	for i := range fleetByCmd {
		each(interval*time.Duration(i)/fleetByCmd, func() error { return exec.CommandContext(checking, byCommand[0], "-c", "true").Run() })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	after, err := cpuOfThis()
	return (after - spent).Seconds() / time.Since(began).Seconds(), err
}

func cpuOfThis() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// plainExits kills children one by one, waits for each, and tells that in one statement.
func (f *fleet) plainExits(ctx context.Context, hear *pgx.Conn) (took []float64, err error) {
	for i := range exits {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		began := time.Now()
		err := cmd.Process.Kill()
		_ = cmd.Wait()
		if err == nil {
			_, err = f.pool.Exec(ctx, "with told as (update towpath.daemon set check_at = null where name = 'plain-999') select pg_notify('towpath_events', $1)", fmt.Sprint(i))
		}
		if err == nil {
			err = heard(ctx, hear, fmt.Sprint(i), 10*time.Second)
		}
		if err != nil {
			return nil, err
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	return took, nil
}
