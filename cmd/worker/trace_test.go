package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is where programs send their spans.
type collector struct {
	mu    sync.Mutex
	spans []*spans.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data spans.TracesData
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &data) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range data.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// collector starts one, and sets the variable that has programs send their spans there.
func cmdCollector(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "collector", len(args) == 0)
	s := of(ts)
	server := httptest.NewServer(&s.collector)
	ts.Defer(server.Close)
	ts.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
}

// spans PROCESS prints the trace that a process is in, or that of a job by its number, as a tree; with ! there is none.
func cmdSpans(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, false, args, "[!] spans PROCESS|JOB", len(args) == 1)
	c := &of(ts).collector
	c.mu.Lock()
	defer c.mu.Unlock()
	var trace []byte
	for _, s := range c.spans {
		if all := attributes(s); all["towpath.process"] == args[0] || all["towpath.job"] == args[0] {
			trace = s.TraceId
		}
	}
	if neg != (trace == nil) {
		ts.Fatalf("%s is in trace %x", args[0], trace)
	}
	of := slices.DeleteFunc(slices.Clone(c.spans), func(s *spans.Span) bool { return string(s.TraceId) != string(trace) })
	slices.SortStableFunc(of, func(a, b *spans.Span) int { return cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano) })
	known := map[string]bool{}
	for _, s := range of {
		known[string(s.SpanId)] = true
	}
	var print func(parent []byte, indent string)
	print = func(parent []byte, indent string) {
		for _, s := range of {
			if string(s.ParentSpanId) != string(parent) && (parent != nil || known[string(s.ParentSpanId)]) {
				continue
			}
			root := ""
			if parent == nil {
				root = " below " + cmp.Or(hex.EncodeToString(s.ParentSpanId), "nothing")
			}
			fmt.Fprintf(ts.Stdout(), "%s%s%s%s\n", indent, s.Name, root, shown(s))
			print(s.SpanId, indent+"  ")
		}
	}
	print(nil, "")
}

// shown are the attributes of a span that are the same in each run of a story.
func shown(s *spans.Span) string {
	var b strings.Builder
	all := attributes(s)
	for _, key := range []string{"towpath.profile", "towpath.daemon", "towpath.attempt", "towpath.node", "http.request.method", "http.response.status_code", "towpath.retry_of", "towpath.status"} {
		if value, ok := all[key]; ok {
			_, short, _ := strings.Cut(key, ".")
			fmt.Fprintf(&b, " %s=%s", short, value)
		}
	}
	if s.Status.GetCode() == spans.Status_STATUS_CODE_ERROR {
		b.WriteString(" failed")
	}
	return b.String()
}

func attributes(s *spans.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			all[a.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return all
}
