package trace

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config of a Tracer.
type Config struct {
	// Endpoint is the collector's base URL, as in OTEL_EXPORTER_OTLP_ENDPOINT. The more special variables of the
	// environment win over it.
	Endpoint string
	// Node is the name of this node; empty for a client.
	Node string
	// Version of the binary.
	Version string
	// Logger is told of spans that could not be sent.
	Logger *slog.Logger
}

// Tracer makes spans. Its methods may be called from any goroutine.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New makes a Tracer; nil, without an error, when there is no collector to send to. Stop it. How much is recorded, and
// by what name, the variables of OpenTelemetry's SDK say: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES.
func New(cfg Config, getenv func(string) string) (*Tracer, error) {
	c, err := newClient(cfg.Endpoint, getenv)
	if c == nil {
		return nil, err
	}
	return start(c, cfg)
}

func start(c *client, cfg Config) (*Tracer, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { cfg.Logger.Warn("spans were not sent", "error", err) }))
	exporter, err := otlptrace.New(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	about := []attribute.KeyValue{
		attribute.String("service.name", "towpath"),
		attribute.String("service.version", cfg.Version),
	}
	if cfg.Node != "" {
		about = append(about, attribute.String("service.instance.id", cfg.Node))
	}
	of, err := resource.New(context.Background(), resource.WithAttributes(about...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(of))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/towpath/towpath")}, nil
}

// Stop sends what has not been sent, until ctx ends.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("trace: send the last spans: %w", err)
	}
	return nil
}

// Start begins a span, below the one in ctx. End it. Without a Tracer the span is one that does nothing.
func (t *Tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return t.tracer.Start(ctx, name, opts...)
}

// header is the one field of W3C Trace Context that goes with a turn.
const header = "traceparent"

// With returns a context whose spans join the trace of a traceparent; ctx itself when it is none.
func With(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: traceparent})
}

// Parent is the traceparent of the span in ctx; empty when there is none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// End ends a span, as failed when there is an error. The error's text stays out: it may quote what a guest said.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
