// Command stream sends the input to config.url and emits the answer line by line as it comes.
package main

import (
	"bufio"
	"context"
	"encoding/json"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

func init() {
	guest.Handle(hostabi.Manifest{Name: "stream", Version: "1",
		HTTP: []hostabi.HTTPRequest{{Host: "127.0.0.1", Methods: []string{"POST"}, Secrets: []string{"KEY"}}}}, run)
}

func main() {}

func run(ctx context.Context, t *guest.Turn) (any, error) {
	var input json.RawMessage
	var config struct {
		URL string `json:"url"`
	}
	if err := t.Decode(&input, &config); err != nil {
		return nil, err
	}
	if config.URL == "" {
		return nil, guest.Fail(guest.KindInvalid, `config has no "url"`)
	}
	for retry := uint32(0); ; {
		said, err := ask(ctx, t, &guest.Request{Method: "POST", URL: config.URL, Body: input, RetryOf: retry,
			Header: map[string]string{"authorization": "Bearer {{secret:KEY}}"}})
		if handle, lost := guest.Lost(err); lost {
			retry = handle // in the open: whoever follows the turn sees that it is asked again
			continue
		}
		return map[string]string{"text": said}, err
	}
}

// ask makes one exchange and returns what the other side said.
func ask(ctx context.Context, t *guest.Turn, r *guest.Request) (said string, err error) {
	resp, err := t.Do(ctx, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.Status != 200 {
		return "", guest.Fail("provider", "status %d", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := t.Emit(guest.MessageDelta{Text: lines.Text()}); err != nil {
			return "", err
		}
		said += lines.Text() + "\n"
	}
	return said, lines.Err()
}
