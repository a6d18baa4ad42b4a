package turn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

var _ hostabi.Host = (*execution)(nil)

func (x *execution) Request() []byte { return x.request }

// Now is the time of the last observation, and a microsecond more for each reading.
func (x *execution) Now() int64 {
	x.now += int64(time.Microsecond)
	return x.now
}

func (x *execution) Random(p []byte) { _, _ = x.random.Read(p) } // never fails

func (x *execution) Log(level int32, message []byte) {
	if x.replaying() {
		return
	}
	if now := time.Now(); now.Sub(x.second.began) >= time.Second {
		x.roll(now)
	}
	if x.second.lines++; x.second.lines > logLines {
		x.second.dropped++
		return
	}
	l := slog.LevelInfo
	switch {
	case level < 0:
		l = slog.LevelDebug
	case level == 1:
		l = slog.LevelWarn
	case level > 1:
		l = slog.LevelError
	}
	text := string(x.backend.redact(message))
	x.log.Log(x.ctx, l, text, "from", "guest")
	if l >= slog.LevelWarn && x.runner.Warned != nil {
		x.runner.Warned(*x.claim.Profile, l, *x.claim.ProcessID+": "+text)
	}
}

func (x *execution) Emit(ctx context.Context, raw []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	e, ok, err := x.replay(opEmit, raw)
	if err != nil {
		return 0, err
	}
	if ok {
		if e.ret >= 0 {
			x.emitted++
			x.bytes += int64(len(raw))
		}
		return uint32(e.ret), e.refusal()
	}
	ev, err := x.event(raw)
	if err != nil {
		return 0, x.answer(e, 0, nil, err)
	}
	x.emitted++
	e.ret, e.at = int64(x.emitted), x.now
	return uint32(e.ret), x.record(e, &ev)
}

// event checks an event of the guest against the limits.
func (x *execution) event(raw []byte) (event, error) {
	if n := int64(len(raw)); n > x.backend.Limits.EventBytes {
		return event{}, hostabi.Errorf(hostabi.E2BIG, "the event has %d bytes, at most %d", n, x.backend.Limits.EventBytes)
	} else if x.bytes+n > x.backend.Limits.EventsBytes {
		return event{}, hostabi.Errorf(hostabi.EQUOTA, "the turn's events are over %d bytes", x.backend.Limits.EventsBytes)
	}
	ev, err := parseEvent(x.backend.redact(raw))
	if err == nil {
		x.bytes += int64(len(raw))
	}
	return ev, err
}

func (x *execution) HTTPOpen(ctx context.Context, rawHead, body []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	e, ok, err := x.replay(opHTTPOpen, rawHead, body)
	if err != nil {
		return 0, err
	}
	if ok && e.ret < 0 {
		return 0, e.refusal()
	}
	s, head, err := x.prepare(rawHead, body)
	if err != nil {
		return 0, x.answer(e, 0, nil, err)
	}
	if ok {
		s.lost = true
		return s.handle, nil
	}
	if head.RetryOf != 0 {
		if err := x.reissue(ctx, s); err != nil {
			return 0, err
		}
	}
	// The intent is on record before anything leaves the node.
	if err := x.answer(e, int64(s.handle), nil, nil); err != nil {
		return 0, err
	}
	if err := x.sync(ctx); err != nil {
		return 0, err
	}
	x.fault(AtIntent, e.op)
	body = append([]byte(nil), body...) // guest memory is ours during the call only
	own := http.Header{"Idempotency-Key": {s.key}}
	x.traceStream(s)
	x.start(s, func(ctx context.Context) { s.exchange(ctx, x.inbox, x.backend.HTTP, head, body, own) })
	return s.handle, nil
}

// prepare makes the handle of a request. It changes what the turn remembers of lost calls, alike in a replay.
func (x *execution) prepare(rawHead, body []byte) (*stream, hostabi.HTTPHead, error) {
	var head hostabi.HTTPHead
	if len(rawHead) > hostabi.MaxHead {
		return nil, head, hostabi.Errorf(hostabi.E2BIG, "the head has %d bytes, at most %d", len(rawHead), hostabi.MaxHead)
	}
	if err := json.Unmarshal(rawHead, &head); err != nil {
		return nil, head, hostabi.Errorf(hostabi.EINVAL, "head: %v", err)
	}
	first, err := x.retried(head.RetryOf, false)
	switch {
	case err != nil:
		return nil, head, err
	case first == nil && x.owed():
		return nil, head, hostabi.Errorf(hostabi.EINVAL, "a call was lost: name its handle in retry_of, so that nothing is asked twice in silence")
	}
	s, err := x.open()
	if err != nil {
		return nil, head, err
	}
	s.method, s.emitted = head.Method, x.emitted
	if u, err := url.Parse(head.URL); err == nil {
		s.target = u.Host
	}
	// The same call of the same turn has the same key whoever makes it, so that a provider that knows keys can tell.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s", *x.claim.ProcessID, s.handle, rawHead, body))
	s.key = hex.EncodeToString(sum[:16])
	if first != nil {
		s.key = first.key
		delete(x.lost, head.RetryOf)
		x.reissued++
	}
	s.first = first
	return s, head, nil
}

// retried is the lost call, a request or a child, that another one repeats; nil for 0.
func (x *execution) retried(handle uint32, proc bool) (*stream, error) {
	if handle == 0 {
		return nil, nil
	}
	first := x.lost[handle]
	if first == nil || first.proc != proc {
		return nil, hostabi.Errorf(hostabi.EINVAL, "retry_of names handle %d, which is not a lost one of this kind", handle)
	}
	return first, nil
}

// owed reports whether a request was lost that has not been named: a request that asks the same would ask it twice.
func (x *execution) owed() bool {
	for _, s := range x.lost {
		if !s.proc {
			return true
		}
	}
	return false
}

// reissue says, before a lost call is made again, that it is, and takes back what was emitted since it was made first.
func (x *execution) reissue(ctx context.Context, s *stream) error {
	if err := x.sync(ctx); err != nil { // so that every event so far has its seq
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if from := s.first.emitted; from < x.emitted && x.emitted <= len(x.seqs) {
		x.say(event{"process.retracted", string(object("from_seq", x.seqs[from], "to_seq", x.seqs[x.emitted-1]))})
	}
	x.say(event{"process.reissued", string(object("handle", s.handle, "retry_of", s.first.handle, "method", s.method,
		"target", s.target, "idempotency_key", s.key))})
	return nil
}

// open makes the next handle.
func (x *execution) open() (*stream, error) {
	if len(x.streams) >= x.backend.Limits.Handles {
		return nil, hostabi.Errorf(hostabi.EQUOTA, "%d handles are open: close one", len(x.streams))
	}
	x.opened++
	x.doubtful = nil
	s := newStream(x.opened)
	x.streams[s.handle] = s
	return s, nil
}

// start runs a stream until it has nothing more to put or is closed.
func (x *execution) start(s *stream, run func(context.Context)) {
	ctx, cancel := context.WithCancel(x.ctx)
	s.cancel = cancel
	x.running.Go(func() {
		defer close(s.done)
		defer cancel()
		if s.span != nil {
			defer s.span.End()
		}
		run(ctx)
	})
}

func (x *execution) ProcOpen(ctx context.Context, spec []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	e, ok, err := x.replay(opProcOpen, spec)
	if err != nil {
		return 0, err
	}
	if ok && e.ret < 0 {
		return 0, e.refusal()
	}
	wish, err := procSpec(spec)
	var command Command
	if err == nil && !ok {
		command, err = x.permit(ctx, wish)
	}
	var s, lost *stream
	if err == nil {
		lost, err = x.retried(wish.RetryOf, true)
	}
	if err == nil {
		s, err = x.open()
	}
	if err != nil {
		return 0, x.answer(e, 0, nil, err)
	}
	s.proc, s.method, s.target, s.command, s.emitted, s.first = true, "proc", wish.Name, command, x.emitted, lost
	if lost != nil {
		delete(x.lost, lost.handle)
		x.reissued++
	}
	if ok {
		s.lost = true
		return s.handle, nil
	}
	if lost != nil {
		if err := x.reissue(ctx, s); err != nil {
			return 0, err
		}
	}
	// The intent is on record before anything is started.
	if err := x.answer(e, int64(s.handle), nil, nil); err != nil {
		return 0, err
	}
	if err := x.sync(ctx); err != nil {
		return 0, err
	}
	x.fault(AtIntent, e.op)
	return s.handle, x.spawn(ctx, s, wish.Framing)
}

func (x *execution) ProcWrite(ctx context.Context, handle uint32, p []byte) error {
	return x.procWrite(ctx, opProcWrite, handle, p)
}

func (x *execution) ProcFill(ctx context.Context, handle uint32, p []byte) error {
	return x.procWrite(ctx, opProcFill, handle, p)
}

func (x *execution) procWrite(ctx context.Context, o op, handle uint32, p []byte) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	e, ok, err := x.replay(o, number(int64(handle)), p)
	s := x.streams[handle]
	if ok && e.ret == -int64(hostabi.ELOST) {
		x.lost[handle] = s
	}
	if err != nil || ok {
		return first(err, e.refusal())
	}
	if err = s.listens(handle); err == nil && o == opProcFill {
		p, err = s.command.Fill(p)
	}
	if err != nil {
		if s != nil && s.lost {
			x.lost[handle] = s // that is how the guest knows
		}
		return x.answer(e, 0, nil, err)
	}
	// As with an intent: what a replay does not know of must not have been said.
	if err := x.answer(e, 0, nil, nil); err != nil {
		return err
	}
	if err := x.sync(ctx); err != nil {
		return err
	}
	x.fault(AtIntent, e.op)
	idle, stop := x.idle(ctx)
	defer stop()
	return s.feed(idle, p)
}

func (x *execution) Wait(ctx context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	if err := x.call(ctx); err != nil {
		return nil, err
	}
	e, ok, err := x.replay(opWait, number(int64(handle)), number(int64(timeout)))
	if err != nil {
		return nil, err
	}
	if ok {
		return x.recorded(e)
	}
	if handle != 0 && x.streams[handle] == nil {
		return nil, x.answer(e, 0, nil, hostabi.Errorf(hostabi.EBADF, "no handle %d", handle))
	}
	idle, stop := x.idle(ctx)
	defer stop()
	r, err := x.inbox.wait(idle, handle, timeout)
	if err != nil {
		return nil, err
	}
	x.observe()
	if r == nil {
		return nil, x.answer(e, 0, nil, nil)
	}
	e.data = r.AppendTo(nil)
	e.ret, e.at = int64(len(e.data)), x.now
	return r, x.record(e, x.observed(r, true))
}

// recorded gives a record of the past once more.
func (x *execution) recorded(e entry) (*hostabi.Record, error) {
	if e.ret <= 0 {
		return nil, e.refusal()
	}
	r, err := hostabi.ParseRecord(e.data)
	if err != nil {
		return nil, err
	}
	x.observed(&r, false)
	return &r, nil
}

// observed is what a record means to the turn, alike in a replay: the end of a stream, a lost call, an input. It
// returns the event that a live observation brings with it.
func (x *execution) observed(r *hostabi.Record, live bool) *event {
	s := x.streams[r.Handle]
	if s == nil {
		if r.Kind == hostabi.KindInput && live {
			x.applied(r)
		}
		return nil
	}
	if live && !s.lost {
		s.room <- struct{}{}
	}
	switch {
	case r.Kind == hostabi.KindFailed && r.Code == -int32(hostabi.ELOST):
		s.ended, x.doubtful = true, nil
		x.lost[r.Handle] = s
		if s.proc { // it ended with its worker: the guest opens it again, if it wants to
			return &event{"process.in_doubt", string(object("handle", r.Handle, "method", s.method, "target", s.target))}
		}
		return &event{"process.in_doubt", string(object("handle", r.Handle, "method", s.method, "target", s.target, "idempotency_key", s.key))}
	case r.Kind == hostabi.KindEnd || r.Kind == hostabi.KindFailed:
		s.ended, x.doubtful = true, nil
	}
	return nil
}

// applied notes that the guest has observed an input; the note is stored with the journal's entry.
func (x *execution) applied(r *hostabi.Record) {
	var input struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(r.Payload, &input) != nil || input.ID == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.batch.Applied = append(x.batch.Applied, input.ID)
}

// idle bounds how long a guest may wait without anything to observe.
func (x *execution) idle(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, x.backend.Limits.Idle, &Exceeded{Limit: "idle", Text: "nothing happened for " + x.backend.Limits.Idle.String()})
}

func (x *execution) Sleep(ctx context.Context, d time.Duration) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	e, ok, err := x.replay(opSleep, number(int64(d)))
	if err != nil || ok {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		x.observe()
		return x.answer(e, 0, nil, nil)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (x *execution) Close(ctx context.Context, handle uint32) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	e, ok, err := x.replay(opClose, number(int64(handle)))
	if err != nil {
		return err
	}
	s := x.streams[handle]
	if s == nil {
		return first(e.refusal(), x.answerUnless(ok, e, hostabi.Errorf(hostabi.EBADF, "no handle %d", handle)))
	}
	s.stop()
	if s.child != nil {
		<-s.child.Done() // what it held is free for the next one
	}
	delete(x.streams, handle)
	x.doubtful = nil
	x.inbox.forget(handle)
	return x.answerUnless(ok, e, nil)
}

// answerUnless is answer for a call that may have been a replayed one.
func (x *execution) answerUnless(replayed bool, e entry, err error) error {
	if replayed {
		return nil
	}
	return x.answer(e, 0, nil, err)
}

func (x *execution) KVGet(ctx context.Context, key string) ([]byte, error) {
	if err := x.call(ctx); err != nil {
		return nil, err
	}
	e, ok, err := x.replay(opKVGet, []byte(key))
	if err != nil || ok {
		return e.data, first(err, e.refusal())
	}
	value, written := x.delta[key]
	if !written {
		if value, err = x.runner.Store.KVGet(ctx, *x.claim.SessionID, key); err != nil {
			return nil, err
		}
		x.observe()
	}
	if len(value) == 0 {
		return nil, x.answer(e, 0, nil, hostabi.Errorf(hostabi.ENOENT, "no key %q", key))
	}
	return value, x.answer(e, int64(len(value)), value, nil)
}

func (x *execution) KVSet(ctx context.Context, key string, value []byte) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	e, ok, err := x.replay(opKVSet, []byte(key), value)
	if err != nil {
		return err
	}
	var refusal error
	switch {
	case key == "" || len(key) > hostabi.MaxKey || strings.ContainsRune(key, 0):
		refusal = hostabi.Errorf(hostabi.EINVAL, "a key has 1 to %d bytes and no NUL", hostabi.MaxKey)
	case len(value) > hostabi.MaxValue:
		refusal = hostabi.Errorf(hostabi.E2BIG, "the value has %d bytes, at most %d", len(value), hostabi.MaxValue)
	default:
		if _, written := x.delta[key]; !written {
			x.order = append(x.order, key)
		}
		x.delta[key] = append([]byte{}, x.backend.redact(value)...)
	}
	return first(refusal, x.answerUnless(ok, e, refusal))
}

func (x *execution) Finish(ctx context.Context, result []byte) error {
	e, ok, err := x.replay(opFinish, result)
	if err != nil {
		return err
	}
	refusal := x.park(result)
	return first(refusal, x.answerUnless(ok, e, refusal))
}

// park keeps the turn's result until the guest returns.
func (x *execution) park(result []byte) error {
	if x.result != nil {
		return hostabi.Errorf(hostabi.ESTATE, "the turn has finished")
	}
	result, err := normalize(x.backend.redact(result))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimLeft(string(result), " \t\r\n"), "{") {
		return hostabi.Errorf(hostabi.EINVAL, "a result is a JSON object")
	}
	x.result = append([]byte(nil), result...)
	return nil
}

// first returns the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
