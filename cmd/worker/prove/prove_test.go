package prove

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/worker/turn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsLostIsNoticed(t *testing.T) {
	const want = "message.delta a\nmessage.delta b\n"
	for name, h := range map[string]history{
		"lost":      {transcript: "message.delta a\n", ended: "completed {}"},
		"doubled":   {transcript: want + "message.delta b\n", ended: "completed {}"},
		"reordered": {transcript: "message.delta b\nmessage.delta a\n", ended: "completed {}"},
		"a gap":     {transcript: want, ended: "completed {}", gap: true},
		"failed":    {transcript: want, ended: "failed {}"},
	} {
		if h.check(want) == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
	if err := (history{transcript: want, ended: "completed {}"}).check(want); err != nil {
		t.Error(err)
	}
}

// points of a small turn.
func points() (list []turn.Point) {
	list = append(list, turn.Point{Name: turn.AtClaim})
	for i, op := range []string{"kv_get", "http_open", "wait", "emit", "wait", "emit", "close", "finish"} {
		list = append(list, turn.Point{Name: turn.AtCall, Op: op, Call: i + 1})
		if op == "http_open" {
			list = append(list, turn.Point{Name: turn.AtAppend}, turn.Point{Name: turn.AtAppended}, turn.Point{Name: turn.AtIntent})
		}
	}
	return append(list, turn.Point{Name: turn.AtFinish}, turn.Point{Name: turn.AtFinished}, turn.Point{Name: turn.AtLeft})
}

func TestAMatrixHasEveryPoint(t *testing.T) {
	kinds := map[string]bool{}
	for _, c := range reduced(points()) {
		if c.Fault != Kill || kinds[c.String()] {
			t.Errorf("cell %s", c)
		}
		kinds[c.String()] = true
	}
	for _, want := range []string{"call http_open 1", "call emit 2, settled", "call close 1", "intent 1", "append 1", "appended 1", "finish 1", "finished 1", "sent 2", "claim 1"} {
		if !kinds[want+", kill -9"] {
			t.Errorf("the reduced matrix lacks %s: %v", want, kinds)
		}
	}
	// 8 calls in memory and committed, 6 other points, one request; with and without a server of one's own.
	if n := len(full(points(), true)); n != 4*(16+6+1) {
		t.Errorf("%d cells", n)
	}
	if n := len(full(points(), false)); n != 3*(16+6+1) {
		t.Errorf("%d cells without Postgres", n)
	}
}

func TestTheTableShowsWhatIsBroken(t *testing.T) {
	var out strings.Builder
	err := table(&out, []Result{
		{Cell: Cell{Fault: Kill}, At: "before emit", Reissued: 1},
		{Cell: Cell{Fault: Kill}, At: "before emit"},
		{Cell: Cell{Fault: Stop}, At: "before emit", Err: errors.New("a gap")},
	}, time.Second)
	if !errors.Is(err, ErrBroken) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"2 ok, 1 asked again", "1 of 1 BROKEN", "3 cells, 1 broken, 1s.", "a gap"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if err := table(&out, []Result{{Cell: Cell{Fault: Kill}, At: "before emit"}}, 0); err != nil {
		t.Error(err)
	}
}

// A node blocks at the nth of its armed points, and nowhere else.
func TestANodeBlocksWhereItIsTold(t *testing.T) {
	node, harness := net.Pipe()
	defer node.Close()
	b := &breaker{out: json.NewEncoder(node), armed: map[string]Arm{}, passed: map[string]int{}, proceed: make(chan struct{})}
	go func() { _ = b.obey(json.NewDecoder(node)) }()
	orders, reports := json.NewEncoder(harness), json.NewDecoder(harness)
	next := func() (r report) {
		if err := reports.Decode(&r); err != nil {
			t.Error(err)
		}
		return r
	}
	tell := func(o order) {
		go func() { _ = orders.Encode(o) }()
		if r := next(); !r.Done {
			t.Errorf("%+v instead of an acknowledgement", r)
		}
	}
	tell(order{Arm: &Arm{Process: "p", Name: turn.AtCall, Op: "emit", N: 2}})
	through := make(chan struct{})
	go func() {
		for _, p := range []turn.Point{
			{Process: "p", Name: turn.AtCall, Op: "emit"}, {Process: "p", Name: turn.AtCall, Op: "wait"},
			{Process: "q", Name: turn.AtCall, Op: "emit"}, {Process: "p", Name: turn.AtCall, Op: "emit"},
		} {
			b.fault(p)
		}
		close(through)
	}()
	for i, hit := range []bool{false, false, false, true} {
		if r := next(); r.Hit != hit {
			t.Errorf("point %d: hit %v, want %v", i, r.Hit, hit)
		}
	}
	select {
	case <-through:
		t.Error("it went on by itself")
	default:
	}
	tell(order{Go: true})
	<-through
	harness.Close()
}

func TestANodeWithoutAHarnessRefuses(t *testing.T) {
	// Descriptor 3 of a test is none of the harness's sockets.
	if err := RunNode(t.Context(), NodeConfig{}); !errors.Is(err, errAlone) {
		t.Errorf("error %v", err)
	}
}
