package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// turnError is why codex failed. Info is a word, or an object with a word and what belongs to it.
type turnError struct {
	Message string          `json:"message"`
	Info    json.RawMessage `json:"codexErrorInfo"`
	Details string          `json:"additionalDetails"`
}

// refusal is an answer of 400 and above that codex got through its broker.
type refusal struct {
	status     int
	retryAfter time.Duration
	said       string // by the broker itself
}

// words of codex that are clear by themselves.
var words = map[string]guest.Kind{
	"contextWindowExceeded": guest.KindContextOverflow, "sessionBudgetExceeded": guest.KindQuota, "usageLimitExceeded": guest.KindUsageLimit,
	"rateLimitExceeded": guest.KindRateLimited, "flexUnavailable": guest.KindOverloaded, "serverOverloaded": guest.KindOverloaded,
	"policyCapacityUnavailable": guest.KindOverloaded, "internalServerError": guest.KindOverloaded, "modelNotFound": guest.KindInvalid,
	"badRequest": guest.KindInvalid, "unauthorized": guest.KindAuth, "cyberPolicy": guest.KindContentFilter,
	"misalignmentPolicyViolation": guest.KindContentFilter, "inferenceHookDenied": guest.KindDenied, "tooManyDenials": guest.KindDenied,
	"sandboxError": guest.KindInternal,
}

// wording tells apart what codex calls "other", by what it says of it. The first match counts.
var wording = []struct {
	kind  guest.Kind
	words []string
}{
	{guest.KindOverloaded, []string{"server_error"}},
	{guest.KindStalled, []string{"idle timeout waiting for sse"}},
	{guest.KindTruncated, []string{"stream disconnected before completion", "closed before response.completed"}},
	{guest.KindLength, []string{"max_output_tokens"}},
	{guest.KindContentFilter, []string{"content_filter", "content filter"}},
	{guest.KindInvalid, []string{"invalid_prompt", "invalid_request", "invalid prompt"}},
	{guest.KindAuth, []string{"missing environment variable"}},
}

// failure classifies the end of a turn. What the provider answered, as the broker heard it, says more than codex does.
func (e *turnError) failure(heard refusal) error {
	if e == nil {
		return guest.Fail(guest.KindProtocol, "codex failed and does not say why")
	}
	text := e.Message
	if e.Details != "" && !strings.Contains(text, e.Details) {
		text += ": " + e.Details
	}
	if heard.said != "" {
		text += ": " + heard.said
	}
	text, _ = guest.Clip(text, 2000)
	kind := e.kind(heard.status)
	if heard.said != "" {
		switch kind = guest.KindInvalid; heard.status {
		case 403:
			kind = guest.KindDenied
		case 502:
			kind = guest.KindNetwork
		case 504:
			kind = guest.KindStalled
		}
	}
	f := guest.Fail(kind, "%s", text)
	if f.Retryable {
		f.RetryAfter = heard.retryAfter
	}
	return f
}

func (e *turnError) kind(status int) guest.Kind {
	said := strings.ToLower(e.Message + " " + e.Details)
	word, told := e.word()
	if status == 0 {
		status = told
	}
	switch kind, known := words[word]; {
	case word == "usageLimitExceeded" && strings.Contains(said, "quota"):
		return guest.KindBalance // no time will bring it back
	case known:
		return kind
	case status != 0:
		return guest.KindOfStatus(status)
	case word == "httpConnectionFailed", word == "responseStreamConnectionFailed":
		return guest.KindNetwork
	case word == "responseStreamDisconnected":
		return guest.KindTruncated
	}
	for _, w := range wording {
		for _, s := range w.words {
			if strings.Contains(said, s) {
				return w.kind
			}
		}
	}
	return guest.KindOverloaded // a fault that the provider reported within its stream
}

// word is codex's name of the error, and the HTTP status that goes with some of them.
func (e *turnError) word() (word string, status int) {
	if json.Unmarshal(e.Info, &word) == nil {
		return word, 0
	}
	var object map[string]struct {
		Status *int `json:"httpStatusCode"`
	}
	if json.Unmarshal(e.Info, &object) != nil {
		return "", 0
	}
	for name, detail := range object { // it has one
		if word = name; detail.Status != nil {
			status = *detail.Status
		}
	}
	return word, status
}

// broken says what it means that codex fell away or does not keep to its protocol.
func (s *server) broken(err error) error {
	var f *guest.Failure
	var refused *jsonrpc.Error
	switch {
	case errors.As(err, &f):
		return err
	case errors.As(err, &refused):
		return guest.Fail(guest.KindProtocol, "codex refused %w", err)
	case errors.Is(err, jsonrpc.ErrTooLong), errors.Is(err, jsonrpc.ErrStrange):
		return guest.Fail(guest.KindProtocol, "codex: %w", err)
	case errors.Is(err, io.EOF):
		exit, waitErr := s.proc.Wait()
		if waitErr != nil {
			return waitErr
		}
		return guest.Fail(guest.KindNetwork, "codex ended on the way: %w", fmt.Errorf("exit status %d", exit))
	}
	return err
}
