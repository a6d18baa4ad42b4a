package trace

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// client posts spans to a collector. The exporter of OpenTelemetry for HTTP links all of gRPC, nine megabytes of program.
type client struct {
	url    string
	header http.Header
	http   *http.Client
	pause  time.Duration // before a second attempt; it doubles
}

// newClient reads the variables that OpenTelemetry's exporters have; the ones for traces win over the general ones. nil:
// no collector is named.
func newClient(endpoint string, getenv func(string) string) (*client, error) {
	get := func(name string) string {
		return cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), getenv("OTEL_EXPORTER_OTLP_"+name))
	}
	to := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if to == "" && endpoint != "" {
		to = strings.TrimSuffix(endpoint, "/") + "/v1/traces"
	}
	if to == "" || getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is not a URL like http://127.0.0.1:4318")
	}
	if p := get("PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: only http/protobuf is spoken, mostly at port 4318", p)
	}
	c := &client{url: u.String(), pause: 250 * time.Millisecond, header: http.Header{"Content-Type": {"application/x-protobuf"}}}
	for pair := range strings.SplitSeq(get("HEADERS"), ",") {
		name, value, ok := strings.Cut(pair, "=")
		if value, err = url.PathUnescape(strings.TrimSpace(value)); ok && err == nil {
			c.header.Set(strings.TrimSpace(name), value)
		}
	}
	timeout := 10 * time.Second
	if ms, err := strconv.Atoi(get("TIMEOUT")); err == nil && ms > 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file := get("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s holds no certificate", file)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c.http = &http.Client{Timeout: timeout, Transport: transport}
	return c, nil
}

func (c *client) Start(context.Context) error { return nil }

func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// attempts at one batch.
const attempts = 4

// UploadTraces sends one batch. A collector that is overloaded is asked again.
func (c *client) UploadTraces(ctx context.Context, batch []*spans.ResourceSpans) error {
	body, err := proto.Marshal(&spans.TracesData{ResourceSpans: batch}) // on the wire the same as an export request
	if err != nil {
		return err
	}
	for n, pause := 1, c.pause; ; n, pause = n+1, 2*pause {
		again, err := c.post(ctx, body)
		if err == nil || !again || n == attempts {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// post sends a body once, and tells whether a failure may pass.
func (c *client) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header = c.header.Clone()
	resp, err := c.http.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode < 300:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 502:
		again = true
	}
	return again, fmt.Errorf("the collector answered %s", resp.Status)
}
