package turn

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/trace"
)

// trace begins the span of an attempt, in the trace that the turn was submitted with or else in one of its own, and
// returns the context of all that the attempt does. A turn that is taken over has a span for each attempt.
func (x *execution) trace(ctx context.Context, job int64, asked time.Time) context.Context {
	t := x.runner.Tracer
	if t == nil {
		return ctx
	}
	var spec struct {
		Traceparent string `json:"traceparent"`
	}
	_ = json.Unmarshal(x.claim.Spec, &spec) // the database made it
	ctx, span := t.Start(trace.With(ctx, spec.Traceparent), "turn", otel.WithSpanKind(otel.SpanKindConsumer), otel.WithTimestamp(asked),
		otel.WithAttributes(
			attribute.String("towpath.process", *x.claim.ProcessID),
			attribute.String("towpath.session", *x.claim.SessionID),
			attribute.String("towpath.profile", *x.claim.Profile),
			attribute.Int("towpath.attempt", *x.claim.Attempt),
			attribute.Bool("towpath.resumed", *x.claim.Resume),
			attribute.Int64("towpath.job", job),
			attribute.String("towpath.node", x.runner.Node.ID),
		))
	_, claim := t.Start(ctx, "claim", otel.WithTimestamp(asked))
	claim.End()
	x.log = x.log.With("trace", span.SpanContext().TraceID())
	return ctx
}

// traced ends the span of an attempt.
func (x *execution) traced(v verdict) {
	span := otel.SpanFromContext(x.ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("towpath.status", v.attempt()), attribute.Int("towpath.events", x.emitted))
	if v.reason != "" {
		span.SetAttributes(attribute.String("towpath.reason", v.reason))
	}
	if v.status == "failed" {
		span.SetAttributes(attribute.String("towpath.kind", v.kind))
		span.SetStatus(codes.Error, v.kind)
	}
	span.End()
}

// traceStream begins the span of what a stream does outside.
func (x *execution) traceStream(s *stream) {
	if x.runner.Tracer == nil {
		return
	}
	name, kind, what := "request", otel.SpanKindClient, []attribute.KeyValue{
		attribute.String("http.request.method", s.method), attribute.String("server.address", s.target)}
	if s.proc {
		name, kind, what = "proc", otel.SpanKindInternal, []attribute.KeyValue{attribute.String("towpath.command", s.target)}
	}
	what = append(what, attribute.Int64("towpath.handle", int64(s.handle)))
	if s.first != nil {
		what = append(what, attribute.Int64("towpath.retry_of", int64(s.first.handle)))
	}
	_, s.span = x.runner.Tracer.Start(x.ctx, name, otel.WithSpanKind(kind), otel.WithAttributes(what...))
}

// note adds to a stream's span what a record says of the other side. It holds nothing of what was said.
func (s *stream) note(r hostabi.Record) {
	switch {
	case r.Kind == hostabi.KindHead && !s.proc:
		s.span.SetAttributes(attribute.Int("http.response.status_code", int(r.Code)))
	case r.Kind == hostabi.KindEnd && s.proc:
		s.span.SetAttributes(attribute.Int("process.exit.code", int(r.Code)))
	case r.Kind == hostabi.KindFailed:
		s.span.SetStatus(codes.Error, hostabi.Code(-r.Code).String())
	}
}
