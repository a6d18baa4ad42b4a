package chat

import (
	"encoding/json"
	"fmt"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

// The conversation of a session is append-only: key `history` counts the messages, message n stands under
// `message/n`. A message above the limit of one value goes on in `message/n/1`, …: a part that is full has a successor,
// unless it was the last. So a turn writes what it adds, however long the conversation is.
type history struct {
	Messages int `json:"messages"`
}

const historyKey = "history"

func partKey(message, part int) string {
	if part == 0 {
		return fmt.Sprintf("message/%06d", message)
	}
	return fmt.Sprintf("message/%06d/%d", message, part)
}

// load reads the session's conversation.
func load(t *guest.Turn) ([]Message, error) {
	var head history
	value, found, err := t.Get(historyKey)
	if err != nil || !found {
		return nil, err
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return nil, fmt.Errorf("session key %s: %w", historyKey, err)
	}
	messages := make([]Message, head.Messages)
	for i := range messages {
		var encoded []byte
		for part := 0; ; part++ {
			value, found, err := t.Get(partKey(i, part))
			if err != nil {
				return nil, err
			}
			if !found && part == 0 {
				return nil, fmt.Errorf("session key %s is missing", partKey(i, part))
			}
			encoded = append(encoded, value...)
			if len(value) < hostabi.MaxValue {
				break
			}
		}
		if err := json.Unmarshal(encoded, &messages[i]); err != nil {
			return nil, fmt.Errorf("session key %s: %w", partKey(i, 0), err)
		}
	}
	return messages, nil
}

// save appends messages from number first on.
func save(t *guest.Turn, messages []Message, first int) error {
	for i, m := range messages[first:] {
		encoded, err := json.Marshal(m)
		if err != nil {
			return err
		}
		for part := 0; len(encoded) > 0; part++ {
			n := min(len(encoded), hostabi.MaxValue)
			if err := t.Set(partKey(first+i, part), encoded[:n]); err != nil {
				return err
			}
			encoded = encoded[n:]
		}
	}
	head, err := json.Marshal(history{Messages: len(messages)})
	if err != nil {
		return err
	}
	return t.Set(historyKey, head)
}
