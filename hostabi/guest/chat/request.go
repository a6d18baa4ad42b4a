package chat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/sse"
)

// wire is the conversation as it is sent: the system's words first, and what the user said in a row as one message,
// because some models refuse two.
func (c *conversation) wire() []Message {
	var messages []Message
	if c.settings.System != "" {
		messages = append(messages, Message{Role: "system", Content: c.settings.System})
	}
	for _, m := range c.messages {
		if last := len(messages) - 1; m.Role == "user" && last >= 0 && messages[last].Role == "user" {
			messages[last].Content += "\n\n" + m.Content
			continue
		}
		messages = append(messages, m)
	}
	return messages
}

// ask sends the conversation and returns the model's answer; with an error it returns what had come of it. The only
// request that is sent again here is one whose execution died.
func (c *conversation) ask(ctx context.Context) (*answer, error) {
	content, err := json.Marshal(c.provider.Body(c.wire()))
	if err != nil {
		return nil, err
	}
	var retryOf uint32
	for {
		a := &answer{stream: c.provider.Stream()}
		err := c.stream(ctx, a, content, retryOf)
		if a.responding {
			if err := c.account(a); err != nil {
				return a, err
			}
		}
		handle, lost := guest.Lost(err)
		if !lost {
			return a, err
		}
		retryOf = handle
		if err := c.turn.Emit(guest.Retry{Reason: "the execution that had sent the request died"}); err != nil {
			return nil, err
		}
	}
}

// account emits what a response cost, as far as the provider said.
func (c *conversation) account(a *answer) error {
	u := usageOf(a.counts)
	c.usage = c.usage.plus(u, c.responses == 0)
	c.responses++
	return c.turn.Emit(guest.Usage{
		ResponseID: a.id, Model: a.model,
		InputTokens: u.Input, CachedTokens: u.Cached, OutputTokens: u.Output, ReasoningTokens: u.Reasoning,
	})
}

// stream makes one request and reads its answer to the end.
func (c *conversation) stream(ctx context.Context, a *answer, content []byte, retryOf uint32) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.inbox.interruptible(cancel)()
	w := c.watch(cancel)
	defer w.stop()

	response, err := c.turn.Do(ctx, &guest.Request{
		URL: c.settings.BaseURL + "/chat/completions",
		Header: map[string]string{
			"authorization": "Bearer {{secret:" + c.provider.Secret + "}}",
			"content-type":  "application/json",
			"accept":        "text/event-stream",
		},
		Body:    content,
		RetryOf: retryOf,
	})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	w.sawBytes()
	bytes := &watched{response.Body, w}
	if response.Status != 200 {
		return c.refused(response, bytes)
	}
	if kind := response.Header.Get("content-type"); !strings.HasPrefix(kind, "text/event-stream") {
		return c.unstreamed(response, bytes, kind)
	}

	var piece *Chunk
	var broken error
	d := sse.NewDecoder(bytes, func(e sse.Event) (v sse.Verdict) {
		piece, v, broken = a.stream.Event(e.Data)
		return v
	})
	for {
		_, err := d.Next()
		switch {
		case errors.Is(err, io.EOF):
			if rest := a.stream.Rest(); rest != nil {
				if err := a.add(c.turn, rest); err != nil {
					return err
				}
			}
			return c.judge(a)
		case err != nil:
			return ofStream(err)
		}
		w.sawPayload()
		switch {
		case broken != nil:
			return failed(broken)
		case piece.Fault != nil:
			return c.provider.inBand(piece.Fault)
		}
		if err := a.add(c.turn, piece); err != nil {
			return err
		}
	}
}

// judge says what a whole answer is worth.
func (c *conversation) judge(a *answer) error {
	if err := a.judge(c.provider.Finishes); err != nil || c.provider.Accept == nil || len(a.calls) > 0 {
		return err
	}
	return c.provider.Accept(a.text.String())
}

// failed classifies what a Stream found wrong with an event.
func failed(err error) error {
	var f *guest.Failure
	if errors.As(err, &f) {
		return err
	}
	return guest.Fail(guest.KindProtocol, "chunk: %w", err)
}

// maxErrorBody is how much of a body that is no stream is read.
const maxErrorBody = 64 << 10

func (c *conversation) refused(r *guest.Response, body io.Reader) error {
	// What the status says stands, whether or not the body comes.
	content, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if _, lost := guest.Lost(err); lost {
		return err
	}
	return c.provider.ofStatus(r, content, time.Now())
}

// unstreamed classifies a success that is no stream, such as a gateway's page or an error under status 200.
func (c *conversation) unstreamed(r *guest.Response, body io.Reader, kind string) error {
	content, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return ofStream(err)
	}
	if piece, _, err := c.provider.Stream().Event(content); err == nil && piece.Fault != nil {
		return c.provider.inBand(piece.Fault)
	}
	begin, _ := guest.Clip(string(content), 200)
	return guest.Fail(guest.KindProtocol, "the answer is %q and no event stream; it begins %q", kind, begin)
}
