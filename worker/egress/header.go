package egress

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/towpath/towpath/hostabi"
)

const (
	maxHeaders     = 100      // of one request
	maxHeaderValue = 16 << 10 // bytes, filled
)

// owned are the request headers that the host alone sets, or that speak to the next hop instead of the server.
var owned = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "Http2-Settings", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// hops are the response headers that are about the connection.
var hops = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// requestHeader checks the guest's headers and fills their placeholders.
func (c *Client) requestHeader(ctx context.Context, r *route, from map[string]string) (http.Header, error) {
	if len(from) > maxHeaders {
		return nil, hostabi.Errorf(hostabi.E2BIG, "%d headers, at most %d", len(from), maxHeaders)
	}
	h := make(http.Header, len(from)+2)
	size := 0
	for name, value := range from {
		size += len(name) + len(value)
		key := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return nil, hostabi.Errorf(hostabi.EINVAL, "%q is not a header name", name)
		case slices.Contains(owned, key):
			return nil, hostabi.Errorf(hostabi.EINVAL, "header %s is set by the host: leave it out", name)
		case h[key] != nil:
			return nil, hostabi.Errorf(hostabi.EINVAL, "header %s is given twice", name)
		}
		filled, err := Fill(value, func(secret string) (string, error) { return c.secretFor(ctx, r, secret) })
		if err != nil {
			return nil, err
		}
		switch {
		case !httpguts.ValidHeaderFieldValue(filled):
			return nil, hostabi.Errorf(hostabi.EINVAL, "the value of header %s holds a control character", name)
		case len(filled) > maxHeaderValue:
			return nil, hostabi.Errorf(hostabi.E2BIG, "the value of header %s is over %d bytes", name, maxHeaderValue)
		}
		h[key] = []string{filled}
	}
	if size > hostabi.MaxHead {
		return nil, hostabi.Errorf(hostabi.E2BIG, "headers are over %d bytes", hostabi.MaxHead)
	}
	if h["User-Agent"] == nil {
		h.Set("User-Agent", "towpath")
	}
	h.Set("Accept-Encoding", "identity")
	return h, nil
}

// secretFor gives a secret's value if the operator bound it to the route.
func (c *Client) secretFor(ctx context.Context, r *route, name string) (string, error) {
	if !validSecretName(name) {
		return "", hostabi.Errorf(hostabi.EINVAL, "%q is not the name of a secret", name)
	}
	if !slices.Contains(r.permit.Secrets, name) {
		return "", hostabi.Errorf(hostabi.EDENIED,
			`secret %s is not bound to %s: add it to that host's permit, as in secrets = ["%s"]`, name, r.to, name)
	}
	value, err := c.secrets.Value(ctx, name)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", Refusal(err)
	case !httpguts.ValidHeaderFieldValue(value):
		return "", hostabi.Errorf(hostabi.EIO, "secret %s holds a control character, which no header can carry", name)
	}
	return value, nil
}

// Refusal is what a guest is told of a secret that cannot be had: EIO, unless the source says that trying again is in vain.
func Refusal(err error) error {
	code := hostabi.EIO
	var own *hostabi.Error
	if errors.As(err, &own) {
		code = own.Code
	}
	return &hostabi.Error{Code: code, Message: err.Error()}
}

const (
	placeholderOpen  = "{{secret:"
	brokerOpen       = "{{broker:"
	placeholderClose = "}}"
)

// Fill replaces each {{secret:NAME}} in s once; what a secret's value looks like is not read again. A placeholder that is
// not closed is EINVAL.
func Fill(s string, value func(name string) (string, error)) (string, error) {
	return fill(s, placeholderOpen, value)
}

// FillAll is Fill for what goes to a child, whose {{broker:url}} and {{broker:token}} it replaces as well. b may be nil.
func FillAll(s string, b *Broker, value func(name string) (string, error)) (string, error) {
	// The broker's first: what a secret's value looks like is not read.
	s, err := fill(s, brokerOpen, func(word string) (string, error) {
		switch {
		case b == nil:
			return "", hostabi.Errorf(hostabi.EDENIED, "the command has no broker: add to its permit: [proc.broker] url = … secret = …")
		case word == "url":
			return b.URL, nil
		case word == "token":
			return b.Token, nil
		}
		return "", hostabi.Errorf(hostabi.EINVAL, "a broker has no %.64q: write {{broker:url}} or {{broker:token}}", word)
	})
	if err != nil {
		return "", err
	}
	return fill(s, placeholderOpen, value)
}

func fill(s, open string, value func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, open)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, placeholderClose)
		if !closed {
			return "", hostabi.Errorf(hostabi.EINVAL, "a placeholder is not closed: write %sNAME%s", open, placeholderClose)
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
		s = after
	}
}

// cleanHeader makes a response's header fit for the guest: scrubbed, without what belongs to the connection, and
// at most hostabi.MaxHead as HeadPayload writes it.
func cleanHeader(h http.Header, redact func(string) string) error {
	for _, name := range hops {
		h.Del(name)
	}
	for name, values := range h {
		clean := redact(name)
		for i := range values {
			values[i] = redact(values[i])
		}
		if clean != name {
			delete(h, name)
			h[clean] = values
		}
	}
	if n := len(HeadPayload(h)); n > hostabi.MaxHead {
		return hostabi.Errorf(hostabi.E2BIG, "the response's headers are %d bytes, at most %d", n, hostabi.MaxHead)
	}
	return nil
}

// HeadPayload is the payload of a HEAD record: a JSON object of lists under lower-case names, in sorted order.
func HeadPayload(h http.Header) []byte {
	lower := make(map[string][]string, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		lower[name] = append(lower[name], values...)
	}
	b, err := json.Marshal(lower)
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}
