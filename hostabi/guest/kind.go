package guest

import (
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Kind classifies why a turn did not complete. Workers, dashboards and retry rules decide on it.
type Kind string

// The kinds. New ones may be added; read an unknown one as KindInternal.
const (
	KindAuth            Kind = "auth"             // the credential is wrong or may not do this
	KindBalance         Kind = "balance"          // the account has no money or quota left
	KindInvalid         Kind = "invalid"          // the request or the settings are wrong
	KindContextOverflow Kind = "context_overflow" // the conversation is longer than the model takes
	KindContentFilter   Kind = "content_filter"   // the provider refused the content
	KindLength          Kind = "length"           // the limit of tokens was used up before there was an answer
	KindDenied          Kind = "denied"           // the operator's permits do not cover it
	KindQuota           Kind = "quota"            // a budget of the turn or profile is spent
	KindCancelled       Kind = "cancelled"        // somebody ended the turn
	KindInternal        Kind = "internal"         // the plugin's own fault
	KindRateLimited     Kind = "rate_limited"     // too many requests just now
	KindUsageLimit      Kind = "usage_limit"      // a plan's allowance is used up until its next window opens
	KindOverloaded      Kind = "overloaded"       // the provider is short of capacity or has an outage
	KindTruncated       Kind = "truncated"        // the answer ended before its end
	KindStalled         Kind = "stalled"          // the answer stopped coming
	KindEmpty           Kind = "empty"            // the answer has no content
	KindNetwork         Kind = "network"          // the provider was not reached, or the connection broke
	KindProtocol        Kind = "protocol"         // the provider sent what is not its protocol
)

// Class is what a worker does about a Kind.
type Class string

const (
	ClassPermanent Class = "permanent" // the turn has failed
	ClassRetry     Class = "retry"     // the turn is tried again, a little later each time
	ClassLimit     Class = "limit"     // and meanwhile nobody uses the profile: not before the time that the provider asks for
	ClassPark      Class = "park"      // the same, for as long as an allowance takes to come back; it costs no attempt
)

// Class is the only place that says what a Kind is worth. An unknown one is permanent, as KindInternal is.
func (k Kind) Class() Class {
	switch k {
	case KindOverloaded, KindTruncated, KindStalled, KindEmpty, KindNetwork, KindProtocol:
		return ClassRetry
	case KindRateLimited:
		return ClassLimit
	case KindUsageLimit:
		return ClassPark
	}
	return ClassPermanent
}

// Retryable reports whether the same turn may well succeed later without anybody changing anything. A Failure can
// overrule it for its own case.
func (k Kind) Retryable() bool { return k.Class() != ClassPermanent }

// KindOfStatus classifies an HTTP status that is not a success, as far as the number alone tells.
func KindOfStatus(status int) Kind {
	switch status {
	case 401, 403:
		return KindAuth
	case 402:
		return KindBalance
	case 408, 504:
		return KindStalled
	case 413:
		return KindContextOverflow
	case 429:
		return KindRateLimited
	}
	switch {
	case status >= 500:
		return KindOverloaded
	case status >= 400:
		return KindInvalid
	}
	return KindProtocol // a redirect, or a success that is not the expected one
}

// KindOfCode classifies what the host said.
func KindOfCode(code hostabi.Code) Kind {
	switch code {
	case hostabi.EDENIED:
		return KindDenied
	case hostabi.E2BIG:
		return KindInvalid
	case hostabi.EIO, hostabi.ELOST:
		return KindNetwork
	case hostabi.ETIMEDOUT:
		return KindStalled
	case hostabi.EQUOTA:
		return KindQuota
	case hostabi.ECANCELED:
		return KindCancelled
	}
	return KindInternal
}

// maxRetryAfter bounds what a provider may ask for, so that a wrong date parks nothing for years.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads the header field Retry-After, seconds or an HTTP date, as a wait from now. It is 0 when the field is
// absent, malformed or past, and at most a day.
func RetryAfter(h Header, now time.Time) time.Duration {
	field := strings.TrimSpace(h.Get("retry-after"))
	if seconds, err := strconv.ParseFloat(field, 64); err == nil {
		if !(seconds > 0) {
			return 0
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", field); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}
