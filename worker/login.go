package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/login"
	"github.com/towpath/towpath/worker/profiles"
)

// logIn takes a login one step on. Between two steps its job waits in the queue, and holds no slot.
func logIn(ctx context.Context, node login.Node, args json.RawMessage) error {
	var wish queue.LoginArgs
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	err := d.Decode(&wish)
	if err == nil && wish.LoginID == "" {
		err = errors.New("login_id is missing")
	}
	if err != nil {
		return queue.Cancel(fmt.Errorf("job args: %w (hint: towpath.login_start writes them)", err))
	}
	again, err := node.Step(ctx, wish.LoginID)
	switch {
	case err != nil:
		return err
	case again > 0:
		return queue.Snooze(again)
	}
	l, err := node.Store.Login(ctx, wish.LoginID)
	if err != nil {
		return answer(err)
	}
	queue.Log(ctx).Info("login ended", "profile", l.Profile, "state", l.State)
	return queue.Output(ctx, map[string]any{"profile": l.Profile, "state": l.State, "detail": l.Detail})
}

// loginOf is where a profile logs in, as its permits say.
func loginOf(registry *profiles.Registry) func(context.Context, string) (egress.Login, error) {
	return func(_ context.Context, name string) (egress.Login, error) {
		p, err := registry.Get(name)
		if err != nil {
			return egress.Login{}, err
		}
		defer p.Release()
		if p.Permits.Login == nil {
			return egress.Login{}, fmt.Errorf("the permits of %s name no [login]: add issuer and client_id there, as plugins/codex/chatgpt.toml does", name)
		}
		return *p.Permits.Login, nil
	}
}
