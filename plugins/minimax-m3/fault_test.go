package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
)

// Every code has its class, whichever way it comes: as JSON under status 200, in a stream, behind its finish, or at the
// end of a gateway's message.
func TestEachCodeHasItsClass(t *testing.T) {
	for code, want := range map[int]struct {
		kind  guest.Kind
		class guest.Class
		after time.Duration
	}{
		1000: {guest.KindOverloaded, guest.ClassRetry, 0}, 1001: {guest.KindStalled, guest.ClassRetry, 0},
		1013: {guest.KindOverloaded, guest.ClassRetry, 0}, 1024: {guest.KindOverloaded, guest.ClassRetry, 0},
		1033: {guest.KindOverloaded, guest.ClassRetry, 0},
		1002: {guest.KindRateLimited, guest.ClassLimit, 0}, 1041: {guest.KindRateLimited, guest.ClassLimit, 0},
		2045: {guest.KindRateLimited, guest.ClassLimit, 0}, 1039: {guest.KindRateLimited, guest.ClassLimit, time.Minute},
		2056: {guest.KindUsageLimit, guest.ClassPark, 15 * time.Minute},
		1004: {guest.KindAuth, guest.ClassPermanent, 0}, 2049: {guest.KindAuth, guest.ClassPermanent, 0},
		1008: {guest.KindBalance, guest.ClassPermanent, 0},
		1026: {guest.KindContentFilter, guest.ClassPermanent, 0}, 1027: {guest.KindContentFilter, guest.ClassPermanent, 0},
		1042: {guest.KindInvalid, guest.ClassPermanent, 0}, 2013: {guest.KindInvalid, guest.ClassPermanent, 0},
		20132: {guest.KindInvalid, guest.ClassPermanent, 0},
		9999:  {guest.KindOverloaded, guest.ClassRetry, 0},
	} {
		for _, as := range []string{"", "sse", "mid", "last", "error"} {
			t.Run(fmt.Sprintf("%d %s", code, as), func(t *testing.T) {
				t.Parallel()
				s, h := backend(t, map[string]any{"thinking": "disabled"})
				script := "a b [[fault:" + strconv.Itoa(code)
				if as != "" {
					script += " as=" + as
				}
				h = chattest.Say(t, h, script+"]]")
				o := finish(t, h)
				if o.Status != guest.StatusFailed || o.Kind != want.kind || o.Kind.Class() != want.class || o.Retryable != (want.class != guest.ClassPermanent) {
					t.Errorf("%+v, want %+v", o, want)
				}
				if got := time.Duration(o.RetryAfterMS) * time.Millisecond; got != want.after {
					t.Errorf("retry after %v, want %v", got, want.after)
				}
				if !strings.Contains(o.Message, strconv.Itoa(code)) {
					t.Errorf("message %q does not name the code", o.Message)
				}
				if n := len(s.Requests()); n != 1 {
					t.Errorf("%d requests: retries are the worker's", n)
				}
				if len(h.Session) != 0 {
					t.Errorf("the failed turn wrote %v", h.Session)
				}
			})
		}
	}
}

// What HTTP, the stream and its end can do, on a real connection.
func TestEachFaultHasItsClass(t *testing.T) {
	for script, want := range map[string]struct {
		kind    guest.Kind
		retry   bool
		after   time.Duration
		message string
	}{
		"[[fault:400]]":                                {guest.KindInvalid, false, 0, "messages is empty (2013)"},
		"[[fault:400 body=400_context]]":               {guest.KindContextOverflow, false, 0, "context window exceeds limit"},
		"[[fault:401]]":                                {guest.KindAuth, false, 0, "(1004)"},
		"[[fault:402]]":                                {guest.KindBalance, false, 0, ""},
		"[[fault:403]]":                                {guest.KindAuth, false, 0, ""},
		"[[fault:404]]":                                {guest.KindInvalid, false, 0, ""},
		"[[fault:422]]":                                {guest.KindContentFilter, false, 0, "(1026)"},
		"[[fault:429]]":                                {guest.KindRateLimited, true, 0, "(1002)"},
		"[[fault:429 retry-after=3]]":                  {guest.KindRateLimited, true, 3 * time.Second, ""},
		"[[fault:429 body=429_plan]]":                  {guest.KindUsageLimit, true, 15 * time.Minute, "(2056)"},
		"[[fault:429 body=429_plan retry-after=3600]]": {guest.KindUsageLimit, true, time.Hour, ""},
		"[[fault:500]]":                                {guest.KindOverloaded, true, 0, ""},
		"[[fault:529]]":                                {guest.KindOverloaded, true, 0, "overloaded"},
		"[[fault:refused]]":                            {guest.KindNetwork, true, 0, ""},
		"[[fault:hang]]":                               {guest.KindStalled, true, 0, "nothing came from the provider"},
		"[[fault:stall]]":                              {guest.KindStalled, true, 0, "nothing came from the provider"},
		"[[fault:stall every=1ms]]":                    {guest.KindStalled, true, 0, "nothing but keep-alives"},
		"[[fault:keepalive every=1ms]]":                {guest.KindStalled, true, 0, "nothing but keep-alives"},
		"[[fault:cut]]":                                {guest.KindTruncated, true, 0, ""},
		"[[fault:cut end=eof]]":                        {guest.KindTruncated, true, 0, ""},
		"[[fault:cut-utf8 end=eof]]":                   {guest.KindTruncated, true, 0, ""},
		"[[form:unfinished]]":                          {guest.KindTruncated, true, 0, ""},
		"[[form:empty]]":                               {guest.KindEmpty, true, 0, ""},
		"[[form:content_filter]]":                      {guest.KindContentFilter, false, 0, ""},
		"[[form:sensitive]]":                           {guest.KindContentFilter, false, 0, "output_sensitive"},
		"[[form:garbage]]":                             {guest.KindProtocol, true, 0, ""},
		"[[fault:long-line size=4194304]]":             {guest.KindProtocol, true, 0, "too long"},
		"[[fault:page]]":                               {guest.KindProtocol, true, 0, `"text/html" and no event stream`},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			config := map[string]any{"thinking": "disabled"}
			switch {
			case strings.HasPrefix(want.message, "nothing came"):
				config["bytes_idle"] = "200ms"
			case strings.HasPrefix(want.message, "nothing but"):
				config["payload_idle"] = "200ms"
			}
			_, h := backend(t, config)
			h = chattest.Say(t, h, "a b c d "+script)
			o := finish(t, h)
			if o.Status != guest.StatusFailed || o.Kind != want.kind || o.Retryable != want.retry || !strings.Contains(o.Message, want.message) {
				t.Errorf("%s, %s, retryable %v (%s), want %+v", o.Status, o.Kind, o.Retryable, o.Message, want)
			}
			if got := time.Duration(o.RetryAfterMS) * time.Millisecond; got != want.after {
				t.Errorf("retry after %v, want %v", got, want.after)
			}
			if strings.Contains(string(h.Finished()), secret) {
				t.Errorf("the result holds the key: %s", h.Finished())
			}
		})
	}
}

func TestAnAnswerCutByTheLimitIsOne(t *testing.T) {
	_, h := backend(t, map[string]any{"thinking": "disabled"})
	h = chattest.Say(t, h, "a b [[form:length]]")
	if o := finish(t, h); o.Status != guest.StatusCompleted || o.FinishReason != "length" || o.Text != "a b" {
		t.Errorf("outcome %+v", o)
	}
}
