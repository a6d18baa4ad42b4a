package chat

import (
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/sse"
)

// Provider is what one provider does its own way. It serves one turn.
type Provider struct {
	Settings *Settings
	Secret   string                       // name of the key that a request carries
	Body     func(messages []Message) any // of a request, before it is JSON
	Stream   func() Stream                // reads one answer
	Finishes map[string]guest.Kind        // finish reasons beside stop, tool_calls, length and content_filter

	// Accept says what is wrong with the text of a whole answer that calls no tools. It may be nil.
	Accept func(text string) error

	// Classify says what an error means and how long the provider wants to be left alone; ok is false where status and
	// words tell. It may be nil.
	Classify func(*APIError) (kind guest.Kind, after time.Duration, ok bool)
}

// Stream reads the events of one answer.
type Stream interface {
	// Event reads one event and says whether the stream may end behind it. What it returns beside an error, or for
	// sse.Done, is not looked at. It also sees an event that the end of the body cut.
	Event(data []byte) (*Chunk, sse.Verdict, error)
	// Rest returns what was held back, once the stream has ended well; nil for nothing.
	Rest() *Chunk
	// Complete makes of a whole answer what the provider wants to see again.
	Complete(*Message)
}
