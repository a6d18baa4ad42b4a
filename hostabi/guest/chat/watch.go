package chat

import (
	"context"
	"io"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// watch holds the three timers of a request. Comments keep the connection alive but carry nothing, and providers send
// them for ever when they hang: hence the second one.
type watch struct {
	settings              *Settings
	bytes, payload, total *guest.Timer
}

// watch starts the timers; the first that runs out ends the request as stalled.
func (c *conversation) watch(cancel context.CancelCauseFunc) *watch {
	after := func(d guest.Duration, what string) *guest.Timer {
		return c.turn.AfterFunc(time.Duration(d), func() {
			cancel(guest.Fail(guest.KindStalled, "%s for %v", what, time.Duration(d)))
		})
	}
	return &watch{
		settings: c.settings,
		bytes:    after(c.settings.BytesIdle, "nothing came from the provider"),
		payload:  after(c.settings.PayloadIdle, "nothing but keep-alives came from the provider"),
		total:    after(c.settings.Total, "the answer did not end"),
	}
}

func (w *watch) sawBytes()   { w.bytes.Reset(time.Duration(w.settings.BytesIdle)) }
func (w *watch) sawPayload() { w.payload.Reset(time.Duration(w.settings.PayloadIdle)) }

func (w *watch) stop() {
	w.bytes.Stop()
	w.payload.Stop()
	w.total.Stop()
}

// watched is a body whose every byte keeps the first timer from running out.
type watched struct {
	io.Reader
	watch *watch
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.watch.sawBytes()
	}
	return n, err
}
