package guest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"

	"github.com/towpath/towpath/hostabi"
)

// logger writes to the host's log, which adds the time and the turn by itself.
func logger(host hostabi.Host) *slog.Logger {
	line := &logLine{host: host}
	return slog.New(&logHandler{line, slog.NewTextHandler(&line.text, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})})
}

// logLine is the line being written, shared by all handlers of a turn.
type logLine struct {
	host hostabi.Host
	mu   sync.Mutex
	text bytes.Buffer
}

type logHandler struct {
	line *logLine
	slog.Handler
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.text.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	level := int32(-1)
	switch {
	case r.Level >= slog.LevelError:
		level = 2
	case r.Level >= slog.LevelWarn:
		level = 1
	case r.Level >= slog.LevelInfo:
		level = 0
	}
	h.line.host.Log(level, bytes.TrimSuffix(h.line.text.Bytes(), []byte("\n")))
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.line, h.Handler.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.line, h.Handler.WithGroup(name)}
}
