package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/towpath/towpath/store"
)

func TestViewer(t *testing.T) {
	type event struct{ kind, data string }
	for _, c := range []struct {
		name     string
		events   []event
		out, log string
		code     int
	}{
		{
			"deltas stream, the message that sums them up is not repeated",
			[]event{{"message.delta", `{"text":"a "}`}, {"message.delta", `{"text":"b"}`}, {"message", `{"text":"a b"}`}, {"process.completed", `{}`}},
			"a b\n", "#4 process.completed {}\n", 0,
		},
		{
			"a message without deltas is shown whole",
			[]event{{"message", `{"text":"hello"}`}, {"message", `{"text":"again\n"}`}, {"process.completed", `{}`}},
			"hello\nagain\n", "#3 process.completed {}\n", 0,
		},
		{
			"a text without an end gets its line's end",
			[]event{{"message.delta", `{"text":"half"}`}, {"process.failed", `{"kind":"stalled","message":"nothing came"}`}},
			"half\n", `#2 process.failed {"kind":"stalled","message":"nothing came"}` + "\n", exitOther,
		},
		{
			"a retraction is said, and the text begins again",
			[]event{{"message.delta", `{"text":"ha"}`}, {"process.retracted", `{"from_seq":1,"to_seq":1}`}, {"message.delta", `{"text":"half"}`}, {"message", `{"text":"half"}`}, {"process.completed", `{}`}},
			"ha\nhalf\n", "#2 what was said from #1 to #1 is taken back\n#5 process.completed {}\n", 0,
		},
		{
			"reasoning goes beside the answer",
			[]event{{"reasoning.delta", `{"text":"let me "}`}, {"reasoning.delta", `{"text":"see"}`}, {"message.delta", `{"text":"42"}`}, {"process.completed", `{}`}},
			"42\n", "let me see\n#4 process.completed {}\n", 0,
		},
		{
			"a plugin's own event may have any shape",
			[]event{{"odd", `[1, {"text": 7}]`}, {"message.delta", `{"text":7}`}, {"process.cancelled", `{"reason":"enough","message":"turn cancelled: enough"}`}},
			"", "#1 odd [1,{\"text\":7}]\n#3 process.cancelled {\"reason\":\"enough\",\"message\":\"turn cancelled: enough\"}\n", exitCancelled,
		},
		{
			"spent attempts have an exit code of their own",
			[]event{{"process.abandoned", `{"reason":"3 attempts did not end it"}`}},
			"", `#1 process.abandoned {"reason":"3 attempts did not end it"}` + "\n", exitAbandoned,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, log bytes.Buffer
			v := newViewer(&out, &log, display{})
			var err error
			for i, e := range c.events {
				if err != nil {
					t.Fatalf("event %d comes after the end", i)
				}
				err = v.show(store.Event{Seq: int64(i + 1), Type: e.kind, Data: []byte(e.data)})
			}
			v.close()
			if out.String() != c.out || log.String() != c.log {
				t.Errorf("out %q, want %q\nlog %q, want %q", out.String(), c.out, log.String(), c.log)
			}
			code := 0
			var end *endError
			if errors.As(err, &end) {
				code = end.code()
			}
			if code != c.code {
				t.Errorf("%v gives exit code %d, want %d", err, code, c.code)
			}
		})
	}
}
