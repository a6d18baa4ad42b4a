package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/sse"
)

// APIError is how a provider words an error. Code may be a string, a number or null.
type APIError struct {
	Message string          `json:"message"`
	Type    string          `json:"type"`
	Code    json.RawMessage `json:"code"`
}

func (e *APIError) String() string {
	code := strings.Trim(string(e.Code), `"`)
	if code == "" || code == "null" {
		code = e.Type
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%s)", e.Message, code))
}

// wording tells classes apart that share a status, or that come inside a stream without one. The first match counts.
var wording = []struct {
	kind  guest.Kind
	words []string
}{
	{guest.KindBalance, []string{"insufficient balance", "insufficient_balance", "insufficient_quota", "current quota"}},
	{guest.KindContextOverflow, []string{"context length", "context_length", "context window", "maximum context"}},
	{guest.KindContentFilter, []string{"content exists risk", "content_filter", "content policy"}},
	{guest.KindRateLimited, []string{"rate limit", "rate_limit", "too many requests"}},
	{guest.KindOverloaded, []string{"overload", "server_error", "server error", "internal error", "internal_error", "unavailable"}},
	{guest.KindAuth, []string{"authentication", "invalid api key", "invalid_api_key", "permission"}},
	{guest.KindInvalid, []string{"invalid_request", "invalid request", "invalid_param"}},
}

// KindOfWords classifies an error by what it says.
func KindOfWords(e *APIError) (guest.Kind, bool) {
	said := strings.ToLower(e.String() + " " + e.Type)
	for _, w := range wording {
		for _, word := range w.words {
			if strings.Contains(said, word) {
				return w.kind, true
			}
		}
	}
	return "", false
}

func (p *Provider) classify(e *APIError) (guest.Kind, time.Duration, bool) {
	if p.Classify == nil {
		return "", 0, false
	}
	return p.Classify(e)
}

// ofStatus classifies an answer that is not a success. Words refine what the status says only where that is ambiguous.
func (p *Provider) ofStatus(r *guest.Response, content []byte, now time.Time) *guest.Failure {
	var wrapped struct {
		Error *APIError `json:"error"`
	}
	said := &APIError{}
	if json.Unmarshal(content, &wrapped) == nil && wrapped.Error != nil {
		said = wrapped.Error
	} else {
		said.Message, _ = guest.Clip(string(bytes.TrimSpace(content)), 500)
	}
	kind := guest.KindOfStatus(r.Status)
	own, after, ok := p.classify(said)
	if ok {
		kind = own
	} else if words, ok := KindOfWords(said); ok {
		switch {
		case r.Status == 429 && words == guest.KindBalance,
			(r.Status == 400 || r.Status == 422) && (words == guest.KindContextOverflow || words == guest.KindContentFilter):
			kind = words
		}
	}
	id := r.Header.Get("x-request-id")
	if id == "" {
		id = r.Header.Get("x-deepseek-request-id")
	}
	if id == "" {
		id = r.Header.Get("trace-id")
	}
	text := fmt.Sprintf("provider answered %d: %s", r.Status, said)
	if id != "" {
		text += " [request " + id + "]"
	}
	f := guest.Fail(kind, "%s", text)
	if f.Retryable {
		if f.RetryAfter = guest.RetryAfter(r.Header, now); f.RetryAfter == 0 {
			f.RetryAfter = after
		}
	}
	return f
}

// inBand classifies an error that came with a success as its status.
func (p *Provider) inBand(e *APIError) *guest.Failure {
	kind, after, ok := p.classify(e)
	if !ok {
		kind, ok = KindOfWords(e)
	}
	if !ok {
		kind = guest.KindOverloaded
	}
	f := guest.Fail(kind, "provider reported within the stream: %s", e)
	f.RetryAfter = after
	return f
}

// ofStream classifies what ended a body early. A connection that breaks once the answer has begun is a truncated
// answer, whoever broke it.
func ofStream(err error) error {
	switch {
	case errors.Is(err, sse.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF), guest.CodeOf(err) == hostabi.EIO:
		return guest.Fail(guest.KindTruncated, "answer: %w", err)
	case errors.Is(err, sse.ErrTooLong):
		return guest.Fail(guest.KindProtocol, "answer: %w", err)
	}
	return err
}
