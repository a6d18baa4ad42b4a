package main

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

// encode makes the body of the next request.
func (c *conversation) encode() ([]byte, error) {
	b := body{
		Model: c.settings.Model, Messages: c.wire(), Stream: true, StreamOptions: streamOptions{IncludeUsage: true},
		ReasoningEffort: c.settings.ReasoningEffort, MaxTokens: c.settings.MaxTokens, Tools: c.settings.Tools,
	}
	if c.settings.Thinking != "" {
		b.Thinking = &typed{c.settings.Thinking}
	}
	if c.json {
		b.ResponseFormat = &typed{"json_object"}
	}
	return json.Marshal(b)
}

// wire is the conversation as it is sent: the system's words first, and what the user said in a row as one message,
// because some models refuse two.
func (c *conversation) wire() []message {
	var messages []message
	if c.settings.System != "" {
		messages = append(messages, message{Role: "system", Content: c.settings.System})
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
	content, err := c.encode()
	if err != nil {
		return nil, err
	}
	var retryOf uint32
	for {
		a := &answer{}
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
			"authorization": "Bearer {{secret:DEEPSEEK_API_KEY}}",
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

	d := sse.NewDecoder(bytes, func(e sse.Event) sse.Verdict {
		if string(e.Data) == "[DONE]" {
			return sse.Done
		}
		return sse.More
	})
	for {
		e, err := d.Next()
		if errors.Is(err, io.EOF) {
			return a.judge()
		}
		if err != nil {
			return ofStream(err)
		}
		w.sawPayload()
		piece, err := parse(e.Data)
		if err != nil {
			return guest.Fail(guest.KindProtocol, "chunk: %w", err)
		}
		if piece.fault != nil {
			return inBand(piece.fault)
		}
		if err := a.add(c.turn, piece); err != nil {
			return err
		}
	}
}

// maxErrorBody is how much of a body that is no stream is read.
const maxErrorBody = 64 << 10

func (c *conversation) refused(r *guest.Response, body io.Reader) error {
	// What the status says stands, whether or not the body comes.
	content, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if _, lost := guest.Lost(err); lost {
		return err
	}
	return ofStatus(r, content, time.Now())
}

// unstreamed classifies a success that is no stream, such as a gateway's page or an error under status 200.
func (c *conversation) unstreamed(r *guest.Response, body io.Reader, kind string) error {
	content, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return ofStream(err)
	}
	if piece, err := parse(content); err == nil && piece.fault != nil {
		return inBand(piece.fault)
	}
	begin, _ := guest.Clip(string(content), 200)
	return guest.Fail(guest.KindProtocol, "the answer is %q and no event stream; it begins %q", kind, begin)
}
