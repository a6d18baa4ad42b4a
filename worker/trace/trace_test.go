package trace

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector keeps what it is sent, after it has answered with each of some status codes.
type collector struct {
	mu     sync.Mutex
	first  []int
	asked  int
	header http.Header
	path   string
	names  []string
	about  string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.header, c.path = r.Header, r.URL.Path
	if len(c.first) > 0 {
		w.WriteHeader(c.first[0])
		c.first = c.first[1:]
		return
	}
	body, err := io.ReadAll(r.Body)
	var data spans.TracesData
	if err != nil || proto.Unmarshal(body, &data) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, of := range data.ResourceSpans {
		c.about = of.Resource.String()
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				c.names = append(c.names, s.Name)
			}
		}
	}
}

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestSpansReachTheCollector(t *testing.T) {
	for _, c := range []struct {
		name         string
		first        []int
		asked, names int
	}{
		{"at once", nil, 1, 2},
		{"when it is no longer overloaded", []int{503, 429}, 3, 2},
		{"never when it refuses them", []int{400}, 1, 0},
		{"never when it stays overloaded", []int{503, 503, 503, 503, 503}, attempts, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := &collector{first: c.first}
			server := httptest.NewServer(sink)
			defer server.Close()
			to, err := newClient("", environment(map[string]string{
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": server.URL + "/mine", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://nowhere.invalid",
				"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b, x-key = k"}))
			if err != nil {
				t.Fatal(err)
			}
			to.pause = time.Millisecond
			var log strings.Builder
			tr, err := start(to, Config{Node: "one", Version: "v1", Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			ctx, outer := tr.Start(t.Context(), "outer")
			_, inner := tr.Start(ctx, "inner")
			if inner.SpanContext().TraceID() != outer.SpanContext().TraceID() {
				t.Error("two spans of one context have two traces")
			}
			End(inner, io.EOF)
			End(outer, nil)
			if err := tr.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if sink.asked != c.asked || len(sink.names) != c.names {
				t.Errorf("the collector was asked %d times and got %v", sink.asked, sink.names)
			}
			if sink.path != "/mine" || sink.header.Get("X-Tenant") != "a b" || sink.header.Get("X-Key") != "k" {
				t.Errorf("sent to %s with %v", sink.path, sink.header)
			}
			if c.names > 0 && (!strings.Contains(sink.about, `"towpath"`) || !strings.Contains(sink.about, `"one"`)) {
				t.Errorf("the resource is %s", sink.about)
			}
			if lost := strings.Contains(log.String(), "spans were not sent"); lost != (c.names == 0) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestWhereSpansGo(t *testing.T) {
	for _, c := range []struct {
		name, endpoint string
		env            map[string]string
		url, err       string
	}{
		{"nowhere without a collector", "", nil, "", ""},
		{"the path is added to the general endpoint", "http://c:4318/", nil, "http://c:4318/v1/traces", ""},
		{"the endpoint for traces is taken as it is", "http://c:4318", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, "https://t/x", ""},
		{"the SDK is disabled", "http://c:4318", map[string]string{"OTEL_SDK_DISABLED": "true"}, "", ""},
		{"traces are not exported", "http://c:4318", map[string]string{"OTEL_TRACES_EXPORTER": "none"}, "", ""},
		{"no URL", "c:4318", nil, "", "is not a URL"},
		{"gRPC", "http://c:4317", map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "only http/protobuf"},
		{"a certificate that is not there", "https://c", map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"}, "", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to, err := newClient(c.endpoint, environment(c.env))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if (to != nil) != (c.url != "") || to != nil && to.url != c.url {
				t.Errorf("client %+v, want %q", to, c.url)
			}
		})
	}
}

func TestATraceparentGoesRoundUnchanged(t *testing.T) {
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for text, want := range map[string]string{given: given, "": "", "nonsense": "", "00-00000000000000000000000000000000-00f067aa0ba902b7-01": ""} {
		if got := Parent(With(t.Context(), text)); got != want {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func TestNothingIsDoneWithoutACollector(t *testing.T) {
	off, err := New(Config{}, environment(nil))
	if err != nil || off != nil {
		t.Fatalf("tracer %v, %v", off, err)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		inner, span := off.Start(ctx, "x")
		if inner != ctx || span.IsRecording() {
			t.Error("a span was made")
		}
		End(span, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := off.Stop(ctx); err != nil {
		t.Error(err)
	}
}
