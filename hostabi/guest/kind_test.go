package guest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/towpath/towpath/hostabi"
)

func TestKinds(t *testing.T) {
	for status, want := range map[int]Kind{
		301: KindProtocol, 400: KindInvalid, 401: KindAuth, 402: KindBalance, 403: KindAuth, 404: KindInvalid, 408: KindStalled,
		413: KindContextOverflow, 422: KindInvalid, 429: KindRateLimited, 500: KindOverloaded, 503: KindOverloaded,
		504: KindStalled, 529: KindOverloaded,
	} {
		if got := KindOfStatus(status); got != want {
			t.Errorf("status %d: %s, want %s", status, got, want)
		}
	}
	for code, want := range map[hostabi.Code]Kind{
		hostabi.EINVAL: KindInternal, hostabi.EDENIED: KindDenied, hostabi.E2BIG: KindInvalid, hostabi.EIO: KindNetwork,
		hostabi.ETIMEDOUT: KindStalled, hostabi.EQUOTA: KindQuota, hostabi.ECANCELED: KindCancelled, hostabi.ELOST: KindNetwork,
		hostabi.EBADF: KindInternal,
	} {
		if got := KindOfCode(code); got != want {
			t.Errorf("%v: %s, want %s", code, got, want)
		}
	}
	for kind, want := range map[Kind]Class{
		KindAuth: ClassPermanent, KindBalance: ClassPermanent, KindInvalid: ClassPermanent, KindContextOverflow: ClassPermanent,
		KindContentFilter: ClassPermanent, KindLength: ClassPermanent, KindDenied: ClassPermanent, KindQuota: ClassPermanent,
		KindCancelled: ClassPermanent, KindInternal: ClassPermanent, KindOverloaded: ClassRetry, KindTruncated: ClassRetry,
		KindStalled: ClassRetry, KindEmpty: ClassRetry, KindNetwork: ClassRetry, KindProtocol: ClassRetry,
		KindRateLimited: ClassLimit, KindUsageLimit: ClassPark, "of the future": ClassPermanent,
	} {
		if got := kind.Class(); got != want || kind.Retryable() != (want != ClassPermanent) {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
	if Kind("of the future").Retryable() {
		t.Error("an unknown kind is retried")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"":                              0,
		"2":                             2 * time.Second,
		" 0.5 ":                         500 * time.Millisecond,
		"-1":                            0,
		"NaN":                           0,
		"1e30":                          24 * time.Hour,
		"soon":                          0,
		"Sat, 21 Nov 2026 12:01:00 GMT": time.Minute,
		"Sat, 21 Nov 2026 11:59:00 GMT": 0,
		"Sat, 21 Nov 2099 11:59:00 GMT": 24 * time.Hour,
	} {
		if got := RetryAfter(Header{"retry-after": {field}}, now); got != want {
			t.Errorf("%q: %v, want %v", field, got, want)
		}
	}
	if got := RetryAfter(nil, now); got != 0 {
		t.Errorf("no header: %v", got)
	}
}

// What Clip keeps fits, is whole characters from the beginning, and is as much as fits.
func FuzzClip(f *testing.F) {
	f.Add("größe \x00\"\\<\u2028\xff", 12)
	f.Add("<", 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = 2 + max(0, min(n, 1<<16))
		clipped, was := Clip(s, n)
		encoded, err := json.Marshal(clipped)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(encoded) > n:
			t.Fatalf("%d bytes of JSON, want at most %d", len(encoded), n)
		case !strings.HasPrefix(s, clipped) || was != (len(clipped) < len(s)):
			t.Fatalf("%q of %q, clipped %v", clipped, s, was)
		case was:
			_, size := utf8.DecodeRuneInString(s[len(clipped):])
			longer, err := json.Marshal(s[:len(clipped)+size])
			if err != nil {
				t.Fatal(err)
			}
			if len(longer) <= n {
				t.Fatalf("%q is clipped to %q, one more character would fit %d", s, clipped, n)
			}
			if utf8.ValidString(s) != utf8.ValidString(clipped) && utf8.ValidString(s) {
				t.Fatalf("%q is cut inside a character", clipped)
			}
		}
	})
}
