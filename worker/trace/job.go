package trace

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/towpath/towpath/queue"
)

// Jobs makes each delivery of a job a span, named after its kind, but for turns, which make their own, and sweeps, which come
// every few seconds and mostly find nothing.
func (t *Tracer) Jobs(node string, all map[queue.Kind]queue.Handler) map[queue.Kind]queue.Handler {
	if t == nil {
		return all
	}
	for kind, handle := range all {
		if kind == queue.Turn || kind == queue.Sweep {
			continue
		}
		all[kind] = func(ctx context.Context, job queue.Job) error {
			ctx, span := t.Start(ctx, string(kind), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
				attribute.Int64("towpath.job", job.ID), attribute.String("towpath.node", node)))
			about(span, job.Args)
			status := "panicked"
			defer func() {
				span.SetAttributes(attribute.String("towpath.status", status))
				if status == "panicked" || status == "failed" {
					span.SetStatus(codes.Error, "") // the error's text may quote what a child said
				}
				span.End()
			}()
			err := handle(ctx, job)
			status = queue.Outcome(err)
			return err
		}
	}
	return all
}

// about adds what a job of a daemon names. Args of other kinds have none of it, and malformed ones are the handler's to refuse.
func about(span trace.Span, args json.RawMessage) {
	var a queue.DaemonArgs
	_ = json.Unmarshal(args, &a)
	for key, value := range map[string]string{"towpath.daemon": a.Spec, "towpath.session": a.Session, "towpath.process": a.ProcessID} {
		if value != "" {
			span.SetAttributes(attribute.String(key, value))
		}
	}
}

// Process says on the span of ctx which process a job became.
func Process(ctx context.Context, id string) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("towpath.process", id))
}
