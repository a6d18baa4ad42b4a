package main

import (
	"encoding/json"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

// What the provider does wrong has a class, and codex asks once: whoever asks again is the worker.
func TestEveryFaultOfTheProviderHasAClass(t *testing.T) {
	for script, want := range map[string]guest.Kind{
		"[[fault:400]]":                                 guest.KindInvalid,
		"[[fault:401]]":                                 guest.KindAuth,
		"[[fault:403]]":                                 guest.KindAuth,
		"[[fault:404]]":                                 guest.KindInvalid,
		"[[fault:429 retry-after=7]]":                   guest.KindRateLimited,
		"[[fault:429 body=429_quota]]":                  guest.KindBalance,
		"[[fault:429 body=429_usage]]":                  guest.KindUsageLimit,
		"[[fault:500]]":                                 guest.KindOverloaded,
		"[[fault:502]]":                                 guest.KindOverloaded,
		"[[fault:503]]":                                 guest.KindOverloaded,
		"[[fault:529]]":                                 guest.KindOverloaded,
		"[[fault:refused]]":                             guest.KindNetwork,
		"[[fault:cut]]":                                 guest.KindTruncated,
		"[[fault:cut end=eof]]":                         guest.KindTruncated,
		"[[fault:no-done]]":                             guest.KindTruncated,
		"[[fault:json]]":                                guest.KindTruncated,
		"[[fault:stall]]":                               guest.KindStalled,
		"[[fault:stall every=1ms]]":                     guest.KindStalled,
		"[[fault:keepalive every=1ms]]":                 guest.KindStalled,
		"[[fault:failed body=rate_limit_exceeded]]":     guest.KindRateLimited,
		"[[fault:failed body=insufficient_quota]]":      guest.KindBalance,
		"[[fault:failed body=context_length_exceeded]]": guest.KindContextOverflow,
		"[[fault:failed body=server_is_overloaded]]":    guest.KindOverloaded,
		"[[fault:failed body=invalid_prompt]]":          guest.KindInvalid,
		"[[fault:failed body=server_error]]":            guest.KindOverloaded,
		"[[fault:incomplete]]":                          guest.KindLength,
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]any{"stream_idle": "500ms"})
			w.say("p1", "hello there "+script, nil)
			o := w.finish()
			if o.Status != "failed" || o.Kind != want || o.Message == "" || o.Retryable != want.Retryable() {
				t.Errorf("%+v, want %s\n%s", o.Result, want, w.log())
			}
			if wish := int64(7000); strings.Contains(script, "retry-after") && o.RetryAfterMS != wish {
				t.Errorf("the provider's wish became %d ms", o.RetryAfterMS)
			}
			if n := len(w.provider.Requests()); n != 1 {
				t.Errorf("the provider was asked %d times", n)
			}
			if types := w.types(); strings.HasSuffix(types, "message.delta") {
				t.Errorf("half an answer stands: %s", types)
			}
			if len(w.host.Session) > 0 {
				t.Error("a failed turn is in the thread")
			}
		})
	}
}

// Left to itself codex waits for ever for a network that is gone.
func TestCodexDoesNotWaitForANetwork(t *testing.T) {
	w := newWorld(t, nil)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, url := range []string{gone.URL, "http://nowhere.invalid"} {
		w.host.Fill["broker:url"] = url + "/v1"
		w.say("p1", "hello there", nil)
		if o := w.finish(); o.Status != "failed" || o.Kind != guest.KindNetwork || !o.Retryable || len(w.host.Session) > 0 {
			t.Errorf("%s: %+v\n%s", url, o, w.log())
		}
	}
}

// What codex passes over is no failure; a usage that nobody told is unknown, not 0.
func TestFaultsThatCodexPassesOver(t *testing.T) {
	for script, counted := range map[string]bool{"[[fault:garbage]]": true, "[[fault:no-usage]]": false} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.say("p1", "hello there "+script, nil)
			if o := w.finish(); o.Status != "completed" || o.Text != "hello there" || (o.Usage.Input != nil) != counted {
				t.Errorf("%+v\n%s", o, w.log())
			}
			if n := len(w.provider.Requests()); n != 1 {
				t.Errorf("the provider was asked %d times", n)
			}
		})
	}
}

func TestCodexThatIsKilledIsAFailureToRetry(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "a long story [[hold:gate after=2]]", nil)
	go func() {
		w.host.Await("message.delta", 1)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := w.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}()
	if o := w.finish(); o.Status != "failed" || o.Kind != guest.KindNetwork || !o.Retryable || len(w.host.Session) > 0 {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	w.provider.Release("gate")
	w.say("p1", "a long story [[hold:gate after=2]]", nil) // as the worker tries again
	if o := w.finish(); o.Status != "completed" || w.asked(-1) != "user: a long story [[hold:gate after=2]]" {
		t.Errorf("%+v\n%s", o, w.asked(-1))
	}
}

// The worker that had codex died; this execution has seen half of an answer, a steer included.
func TestALostCodexIsReplacedAndToldTheSameWords(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "first", nil)
	w.finish()
	w.say("p2", "second [[hold:gate after=1]]", nil)
	go func() {
		w.host.Await("message.delta", 1)
		w.host.Input(guest.Input{Type: guest.InputSteer, Text: "third [[hold:other after=1]]"})
		w.host.Await("message.retracted", 1)
		w.mu.Lock()
		child := w.child
		w.mu.Unlock()
		w.provider.Release("other")
		child.Fail(hostabi.ELOST, "died")
	}()
	o := w.finish()
	if o.Status != "completed" || len(w.lived()) != 3 {
		t.Fatalf("%+v in %d homes\n%s\n%s", o, len(w.lived()), w.types(), w.log())
	}
	want := "user: first|assistant: first|user: second [[hold:gate after=1]]|user: third [[hold:other after=1]]"
	if got := w.asked(-1); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	if got := w.types(); !strings.Contains(got, "retry turn.started message.delta message usage") {
		t.Errorf("events %s", got)
	}
}

// A thread that holds the turn already, as codex leaves it when it dies: the turn is taken out before it begins again.
func TestATurnThatTheThreadHoldsIsReverted(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "first", nil)
	w.finish()
	before := w.host.Session
	w.say("p2", "second [[hold:gate after=2]]", nil)
	var half []byte
	go func() {
		w.host.Await("message.delta", 1)
		w.mu.Lock()
		home := w.homes[1]
		w.mu.Unlock()
		filepath.WalkDir(filepath.Join(home, ".codex", "sessions"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				half, err = os.ReadFile(path)
			}
			return err
		})
		w.host.Cancel("to get at the file", 30*time.Second)
	}()
	w.finish()
	var key threadKey
	if err := json.Unmarshal(before[threadName], &key); err != nil || len(half) <= key.Bytes || len(half) > partSize {
		t.Fatalf("half a thread of %d bytes, %+v, %v", len(half), key, err)
	}
	key.Bytes = len(half)
	w.host.Session = map[string][]byte{threadName: w.encode(key), partName(0): half}
	w.provider.Release("gate")
	w.say("p2", "second [[hold:gate after=2]]", nil)
	if o := w.finish(); o.Status != "completed" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	if !strings.Contains(w.log(), "it is reverted") {
		t.Errorf("nothing was reverted\n%s", w.log())
	}
	if got, want := w.asked(-1), "user: first|assistant: first|user: second [[hold:gate after=2]]"; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	w.say("p3", "third", nil)
	if o := w.finish(); o.Status != "completed" || strings.Count(w.asked(-1), "user: second") != 1 {
		t.Errorf("%+v\n%s", o, w.asked(-1))
	}
}
