package turn

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

// errAsk ends an execution whose profile wants an operator to decide about calls in doubt.
var errAsk = errors.New("turn: an outside call is in doubt")

// engage gets the turn's backend: of the module that it began with, when there is a journal to go on with.
func (x *execution) engage(ctx context.Context) (Backend, error) {
	if !*x.claim.Resume || x.runner.Pinned == nil {
		return x.runner.Backend(ctx, *x.claim.Profile)
	}
	var err error
	if x.rows, err = x.runner.Store.Journal(ctx, *x.claim.ProcessID); err != nil {
		return Backend{}, err
	}
	_, h, err := unpack(x.rows)
	if err != nil { // load says so
		return x.runner.Backend(ctx, *x.claim.Profile)
	}
	return x.runner.Pinned(ctx, *x.claim.Profile, h.Module)
}

// begin makes the turn request, or takes it from the journal of an earlier attempt together with all that follows.
func (x *execution) begin(ctx context.Context) error {
	if *x.claim.Resume {
		switch why, err := x.load(ctx); {
		case err != nil:
			return err
		case why == "":
			return nil
		default:
			x.log.Warn("turn begins anew", "reason", why)
			if err := x.runner.Store.Forget(ctx, x.owner, why); err != nil {
				return err
			}
			x.past, x.seqs = nil, nil
		}
	}
	config := x.backend.Config
	if config == nil {
		config = json.RawMessage("{}")
	}
	request, err := json.Marshal(hostabi.TurnRequest{
		Process: *x.claim.ProcessID, Session: *x.claim.SessionID, Profile: *x.claim.Profile, Attempt: *x.claim.Attempt,
		Input: x.claim.Input, Config: config,
		Thread: hostabi.Thread{Version: *x.claim.Version, Digest: hex.EncodeToString(x.claim.Digest)},
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(head{Semantics: semantics, Module: x.backend.Digest, Request: request})
	if err != nil {
		return err
	}
	x.request = request
	x.observe()
	x.head = &entry{op: opHead, at: x.now, data: data}
	return nil
}

// confirm returns once the claim is stored, and puts the journal's head on record. A guest begins while the database still
// writes its log: until its first call that is journalled, or its end, it computes, and nothing of it is kept or leaves the node.
func (x *execution) confirm() error {
	if x.head == nil {
		return nil
	}
	select {
	case <-x.firm:
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	}
	head := *x.head
	x.head = nil
	return x.record(head, nil)
}

// load reads the journal. It returns why it cannot be replayed here, if so.
func (x *execution) load(ctx context.Context) (why string, err error) {
	if x.rows == nil {
		if x.rows, err = x.runner.Store.Journal(ctx, *x.claim.ProcessID); err != nil {
			return "", err
		}
	}
	var h head
	x.past, h, err = unpack(x.rows)
	x.rows = nil
	switch {
	case err != nil:
		return err.Error(), nil
	case h.Semantics != semantics:
		return fmt.Sprintf("its journal has semantics %d, this worker %d", h.Semantics, semantics), nil
	case h.Module != x.backend.Digest:
		return fmt.Sprintf("it began with module %s, this node has %s", h.Module, x.backend.Digest), nil
	}
	if x.seqs, err = x.runner.Store.Emitted(ctx, x.owner.No); err != nil {
		return "", err
	}
	emitted := 0
	for _, e := range x.past {
		x.written += int64(len(e.data))
		if eventOf(e) > 0 {
			emitted++
		}
	}
	if emitted != len(x.seqs) {
		return fmt.Sprintf("its journal has %d events, its log %d", emitted, len(x.seqs)), nil
	}
	x.request, x.n, x.stored, x.now = h.Request, 1, len(x.past), x.past[0].at
	return "", nil
}

// unpack reads the rows of a journal: every entry in order, and the head that is the first.
func unpack(rows []store.Journal) ([]entry, head, error) {
	var past []entry
	var h head
	for _, row := range rows {
		if row.First != len(past) {
			return nil, h, fmt.Errorf("%w: a row begins at call %d, want %d", errJournal, row.First, len(past))
		}
		rest := row.Entries
		for range row.Count {
			var e entry
			var err error
			if e, rest, err = parseEntry(rest); err != nil {
				return nil, h, fmt.Errorf("%w: call %d", errJournal, len(past))
			}
			past = append(past, e)
		}
		if len(rest) > 0 {
			return nil, h, fmt.Errorf("%w: %d bytes after call %d", errJournal, len(rest), len(past)-1)
		}
	}
	if len(past) == 0 || past[0].op != opHead || json.Unmarshal(past[0].data, &h) != nil {
		return nil, h, fmt.Errorf("%w: no head", errJournal)
	}
	return past, h, nil
}

// replaying reports whether the next call is answered by the journal.
func (x *execution) replaying() bool { return x.n < len(x.past) }

// replay answers a call from the journal; ok is false when the call is live. The first live call finds the handles of
// the past lost.
func (x *execution) replay(o op, parts ...[]byte) (e entry, ok bool, err error) {
	if err := x.confirm(); err != nil {
		return e, false, err
	}
	if x.runner.NoJournal {
		return entry{op: o}, false, nil
	}
	digest := x.digests.of(o, parts...)
	if x.replaying() {
		e = x.past[x.n]
		if e.op != o || e.digest != digest {
			if x.offline {
				return e, false, x.differ(o, parts)
			}
			return e, false, divergence(x.n, e, o)
		}
		x.n++
		x.now = max(x.now, e.at)
		return e, true, nil
	}
	if x.offline {
		return e, false, x.differ(o, parts)
	}
	if x.past != nil {
		x.log.Info("turn goes on", "replayed", len(x.past))
		x.past = nil
		if err := x.goLive(); err != nil {
			return e, false, err
		}
	}
	x.fault(AtCall, o)
	return entry{op: o, digest: digest}, false, nil
}

// goLive applies the profile's policy to what was in flight when the last owner was lost.
func (x *execution) goLive() error {
	var open []uint32
	for h, s := range x.streams {
		if s.lost && !s.ended {
			open = append(open, h)
		}
	}
	if len(open) == 0 {
		return nil
	}
	switch x.backend.InDoubt {
	case "fail":
		return &Exceeded{Limit: "in_doubt", Text: fmt.Sprintf("%d outside calls are in doubt", len(open))}
	case "ask":
		if !x.claimed("in_doubt", "retry") {
			return errAsk
		}
	}
	for h := uint32(1); h <= x.opened; h++ {
		if s := x.streams[h]; s != nil && s.lost && !s.ended {
			x.inbox.put(hostabi.Record{Kind: hostabi.KindFailed, Handle: h, Code: -int32(hostabi.ELOST),
				Payload: []byte("the worker that had this call was lost; whether the other side acted on it is unknown")})
		}
	}
	return nil
}

// claimed reports whether the submission's options, or an operator since, say so.
func (x *execution) claimed(option, value string) bool {
	var spec map[string]json.RawMessage
	return json.Unmarshal(x.claim.Spec, &spec) == nil && string(spec[option]) == `"`+value+`"`
}

// record adds a live call to the journal, with the event that belongs to it, if any.
func (x *execution) record(e entry, event *event) error {
	limit := cmp.Or(x.backend.Limits.Journal, maxJournal)
	if x.written += int64(len(e.data)); x.written > limit {
		return &Exceeded{Limit: "journal", Text: fmt.Sprintf("the turn's journal is over %d bytes", limit)}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.runner.NoJournal {
		j := &x.batch.Journal
		if j.Count == 0 {
			j.First = x.n
			j.Entries = make([]byte, 0, x.packed)
		}
		before := len(j.Entries)
		j.Entries = e.appendTo(j.Entries)
		j.Count++
		if x.doubtful == nil {
			x.doubtful = x.outside()
		}
		j.Open = x.doubtful
		x.size += len(j.Entries) - before
	}
	x.n++
	if event != nil {
		x.say(*event)
	}
	x.runner.flusher.dirty(x, x.haste())
	return nil
}

// outside lists the outside calls that the guest has open, for whoever looks at the journal's last row.
func (x *execution) outside() json.RawMessage {
	if len(x.streams) == 0 {
		return json.RawMessage("[]")
	}
	type call struct {
		Handle uint32 `json:"handle"`
		Method string `json:"method"`
		Target string `json:"target"`
	}
	calls := make([]call, 0, len(x.streams))
	for _, h := range slices.Sorted(maps.Keys(x.streams)) {
		if s := x.streams[h]; !s.ended {
			calls = append(calls, call{h, s.method, s.target})
		}
	}
	text, err := encode(calls)
	if err != nil {
		return json.RawMessage("[]")
	}
	return text
}

// say adds, with mu held, an event to the batch.
func (x *execution) say(e event) {
	x.batch.Types, x.batch.Data = append(x.batch.Types, e.kind), append(x.batch.Data, e.data)
	x.size += len(e.data)
}

// answer completes a live entry with what the guest is told, and records it.
func (x *execution) answer(e entry, ret int64, data []byte, err error) error {
	var refusal *hostabi.Error
	switch {
	case errors.As(err, &refusal):
		e.ret, e.data = -int64(refusal.Code), []byte(refusal.Message)
	case err != nil:
		return err // the host's trouble is no answer
	default:
		e.ret, e.data = ret, data
	}
	e.at = x.now
	if recordErr := x.record(e, nil); recordErr != nil {
		return recordErr
	}
	return err
}

// observe moves the turn's clock to an observation; it never goes back.
func (x *execution) observe() { x.now = max(x.now, time.Now().UnixNano()) }
