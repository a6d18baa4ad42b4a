package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/trace"
)

// flushing is how long the end of a program waits for a collector.
const flushing = 3 * time.Second

// tracer makes what records spans, nil without a collector, and what sends the last of them.
func (c config) tracer(node string, log *slog.Logger) (*trace.Tracer, func(), error) {
	t, err := trace.New(trace.Config{Endpoint: c.OTLP, Node: node, Version: version(), Logger: log}, os.Getenv)
	if err != nil {
		return nil, nil, &usageError{err: err}
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushing)
		defer cancel()
		if err := t.Stop(ctx); err != nil {
			log.Warn("spans were not sent", "error", err)
		}
	}, nil
}

// submitTraced submits a turn in a span, below the one that TRACEPARENT or the turn's own options name.
func submitTraced(ctx context.Context, s *session, t *trace.Tracer, turn store.Submission) (string, error) {
	options := map[string]json.RawMessage{}
	if turn.Options != nil && (json.Unmarshal(turn.Options, &options) != nil || options == nil) {
		return s.Submit(ctx, turn) // which says what is wrong with them
	}
	var given string
	if json.Unmarshal(options["traceparent"], &given) != nil {
		given = os.Getenv("TRACEPARENT")
	}
	ctx, span := t.Start(trace.With(ctx, given), "submit", otel.WithSpanKind(otel.SpanKindProducer))
	if parent := trace.Parent(ctx); parent != "" {
		options["traceparent"], _ = json.Marshal(parent)
		turn.Options, _ = json.Marshal(options)
	}
	id, err := s.Submit(ctx, turn)
	if err == nil {
		span.SetAttributes(attribute.String("towpath.process", id), attribute.String("towpath.profile", turn.Profile))
	}
	trace.End(span, err)
	return id, err
}
