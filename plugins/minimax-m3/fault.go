package main

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
)

// codes says what the codes of base_resp mean. They are no HTTP statuses: 1008 is an empty account, not a server's error.
var codes = map[int]struct {
	kind  guest.Kind
	after time.Duration // to leave the provider alone, 0 for the worker's own backoff
}{
	1000:  {guest.KindOverloaded, 0},             // unknown error
	1001:  {guest.KindStalled, 0},                // timeout
	1002:  {guest.KindRateLimited, 0},            // requests
	1004:  {guest.KindAuth, 0},                   // not authorized; a key of another region too
	1008:  {guest.KindBalance, 0},                // insufficient balance
	1013:  {guest.KindOverloaded, 0},             // internal service error
	1024:  {guest.KindOverloaded, 0},             // internal error
	1026:  {guest.KindContentFilter, 0},          // input sensitive
	1027:  {guest.KindContentFilter, 0},          // output sensitive
	1033:  {guest.KindOverloaded, 0},             // database
	1039:  {guest.KindRateLimited, time.Minute},  // tokens; "retry later"
	1041:  {guest.KindRateLimited, 0},            // connections
	1042:  {guest.KindInvalid, 0},                // invisible characters
	2013:  {guest.KindInvalid, 0},                // parameters
	2045:  {guest.KindRateLimited, 0},            // growth of the rate
	2049:  {guest.KindAuth, 0},                   // invalid key
	2056:  {guest.KindUsageLimit, windowProbing}, // the plan's window of five hours
	20132: {guest.KindInvalid, 0},                // samples
}

// windowProbing is how often a used-up plan is asked again. Nobody says when its window of five hours began.
const windowProbing = 15 * time.Minute

// trailing finds the code that an HTTP error has at the end of its message: "usage limit exceeded (2056)".
var trailing = regexp.MustCompile(`\((\d{4,5})\)\s*$`)

func classify(e *chat.APIError) (guest.Kind, time.Duration, bool) {
	digits := strings.Trim(string(e.Code), `"`)
	if match := trailing.FindStringSubmatch(e.Message); match != nil {
		digits = match[1]
	}
	code, err := strconv.Atoi(digits)
	if err != nil {
		return "", 0, false
	}
	meaning, ok := codes[code]
	if meaning.kind == guest.KindInvalid {
		if kind, said := chat.KindOfWords(e); said && kind == guest.KindContextOverflow {
			return kind, 0, true
		}
	}
	return meaning.kind, meaning.after, ok
}
