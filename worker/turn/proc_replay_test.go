//go:build linux

package turn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// dialogue is a turn that asks a child twice, and asks another one when that was lost.
func dialogue(ctx context.Context, h hostabi.Host) error {
	handle, err := h.ProcOpen(ctx, []byte(`{"name":"echo"}`))
	if err != nil {
		return err
	}
	lost := false
	for i := 0; i < 2 && !lost; i++ {
		write := h.ProcWrite
		if i == 1 {
			write = h.ProcFill
		}
		if err := write(ctx, handle, fmt.Appendf(nil, "%d\n", i)); err != nil {
			var refused *hostabi.Error
			if !errors.As(err, &refused) || refused.Code != hostabi.ELOST {
				return err
			}
		}
		r, err := h.Wait(ctx, handle, -1)
		if err != nil {
			return err
		}
		switch {
		case r.Kind == hostabi.KindFailed && r.Code == -int32(hostabi.ELOST):
			lost = true
		case string(r.Payload) != fmt.Sprintf("heard %d", i):
			return fmt.Errorf("answer %q to %d", r.Payload, i)
		}
	}
	if err := h.Close(ctx, handle); err != nil {
		return err
	}
	if lost {
		return dialogue(ctx, h)
	}
	return finish(ctx, h)
}

func (m *mortal) ProcOpen(ctx context.Context, spec []byte) (uint32, error) {
	if err := m.next(); err != nil {
		return 0, err
	}
	return m.Host.ProcOpen(ctx, spec)
}

func (m *mortal) ProcWrite(ctx context.Context, h uint32, p []byte) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.ProcWrite(ctx, h, p)
}

func (m *mortal) ProcFill(ctx context.Context, h uint32, p []byte) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.ProcFill(ctx, h, p)
}

func TestATurnWithAChildGoesOnWhereverItsWorkerDied(t *testing.T) {
	dir := t.TempDir()
	table := map[string]string{"echo": `echo $$ >> ` + dir + `/pids; while read -r line; do echo "heard $line"; done`}
	b := newBench(t)
	again := scripts(b.runner, table, new(egress.Secrets))
	counted := &mortal{}
	b.guest = func(ctx context.Context, h hostabi.Host) error { counted.Host = h; return dialogue(ctx, counted) }
	if err := b.work(t.Context(), b.runner, b.submitted("undisturbed")); err != nil {
		t.Fatal(err)
	}
	if s := b.process("undisturbed"); s.Status != "completed" || counted.calls != 7 {
		t.Fatalf("%s %s after %d calls", s.Status, s.Outcome, counted.calls)
	}
	for at := 1; at <= counted.calls; at++ {
		t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
			b.t = t
			if err := os.WriteFile(dir+"/pids", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			id := b.submitted(fmt.Sprintf("p%d", at))
			ctx, die := context.WithCancelCause(t.Context())
			b.guest = func(ctx context.Context, h hostabi.Host) error {
				return dialogue(ctx, &mortal{Host: h, at: at, die: func() {
					if err := h.(*execution).sync(ctx); err != nil {
						t.Error(err)
					}
					die(errLost)
				}})
			}
			doomed := b.node("doomed")
			first := scripts(doomed, table, new(egress.Secrets))
			if err := b.work(ctx, doomed, id); err != nil {
				t.Fatal(err)
			}
			dead(t, dir+"/pids")
			b.lapse()
			b.guest = dialogue
			again.Store(0)
			if err := b.work(t.Context(), b.runner, id); err != nil {
				t.Fatal(err)
			}
			s := b.process(id)
			if s.Status != "completed" {
				t.Fatalf("%s %s\n%s", s.Status, s.Outcome, b.log(id))
			}
			// A child that was lost is in doubt, and one more is started, unless the guest only closes it.
			doubt := at > 1 && at < 6
			want := int32(1)
			if doubt {
				want = 2
			}
			if n := first.Load() + again.Load(); n != want {
				t.Errorf("%d children, want %d", n, want)
			}
			if strings.Contains(b.log(id), `process.in_doubt {"handle": 1, "method": "proc", "target": "echo"}`) != doubt {
				t.Errorf("in doubt: %t wanted\n%s", doubt, b.log(id))
			}
			b.check()
		})
	}
}

func TestALostChildIsForItsProfileToJudge(t *testing.T) {
	b := children(t, map[string]string{"wait": `echo ready; exec sleep 1000`})
	b.doubt = "fail"
	id := b.submitted("p")
	ctx, die := context.WithCancelCause(t.Context())
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		handle, err := h.ProcOpen(ctx, []byte(`{"name":"wait"}`))
		if err != nil {
			return err
		}
		die(errLost)
		_, err = h.Wait(ctx, handle, -1)
		return err
	}
	doomed := b.node("doomed")
	scripts(doomed, map[string]string{"wait": `exec sleep 1000`}, new(egress.Secrets))
	if err := b.work(ctx, doomed, id); err != nil {
		t.Fatal(err)
	}
	b.lapse()
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if s := b.process(id); s.Status != "failed" || *s.FailureKind != "in_doubt" {
		t.Errorf("%s %s", s.Status, s.Outcome)
	}
}

func TestALostChildIsReplacedByName(t *testing.T) {
	b := children(t, map[string]string{"echo": `while read -r line; do echo "heard $line"; done`})
	refusals := 0
	var talk func(ctx context.Context, h hostabi.Host, retryOf uint32) error
	talk = func(ctx context.Context, h hostabi.Host, retryOf uint32) error {
		if _, err := h.ProcOpen(ctx, []byte(`{"name":"echo","retry_of":77}`)); err != nil {
			refusals++
		}
		handle, err := h.ProcOpen(ctx, fmt.Appendf(nil, `{"name":"echo","retry_of":%d}`, retryOf))
		if err != nil {
			return err
		}
		emit(ctx, t, h, "begun")
		if err := h.ProcWrite(ctx, handle, []byte("x\n")); err != nil {
			return err
		}
		for range 2 {
			r, err := h.Wait(ctx, handle, -1)
			switch {
			case err != nil:
				return err
			case r.Kind == hostabi.KindFailed && r.Code == -int32(hostabi.ELOST):
				return talk(ctx, h, handle)
			case r.Kind != hostabi.KindData:
				return fmt.Errorf("record %+v", r)
			}
			emit(ctx, t, h, "heard")
			if retryOf != 0 {
				break
			}
		}
		return finish(ctx, h)
	}
	b.guest = func(ctx context.Context, h hostabi.Host) error { return talk(ctx, h, 0) }
	id := b.submitted("p")
	ctx, die := context.WithCancelCause(t.Context())
	doomed := b.node("doomed")
	scripts(doomed, map[string]string{"echo": `read -r line; echo "heard $line"; sleep 1000`}, new(egress.Secrets))
	live := b.guest
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		return live(ctx, &mortal{Host: h, at: 7, die: func() { // before the second wait
			if err := h.(*execution).sync(ctx); err != nil {
				t.Error(err)
			}
			die(errLost)
		}})
	}
	if err := b.work(ctx, doomed, id); err != nil {
		t.Fatal(err)
	}
	b.lapse()
	b.guest = live
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if p := b.process(id); p.Status != "completed" {
		t.Fatalf("%s %s", p.Status, p.Outcome)
	}
	if refusals != 3 {
		t.Errorf("a child that was never lost was replaced; %d refusals", refusals)
	}
	text, reissued := b.transcript(id)
	if reissued != 1 || strings.Count(text, "begun") != 1 || strings.Count(text, "heard") != 1 {
		t.Errorf("%d reissued, and what stands is\n%s\n%s", reissued, text, b.log(id))
	}
	b.check()
}
