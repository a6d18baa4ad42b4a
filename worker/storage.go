package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/storage"
)

// elsewhereFor is how long a job that only another node can do waits until it is handed out again.
const elsewhereFor = time.Second

// folders gives sessions their directories in this node's root.
type folders struct {
	store *store.Store
	root  *storage.Root
}

// make makes a session's directory and records it, or takes the one that it has. ErrConflict: it has one elsewhere.
func (f folders) make(ctx context.Context, session string, quota int64, ttl time.Duration) (string, error) {
	path, err := f.root.Make(session)
	if err != nil {
		return "", err
	}
	at := store.Storage{Session: session, Kind: "dir", Root: f.root.ID, Name: storage.Name(session)}
	if _, err := f.store.PutStorage(ctx, at, f.root.Shared, quota, ttl); err != nil {
		return "", err // the directory is an orphan then, or the session's already
	}
	return path, nil
}

// dir is where the children of a session's turns work.
func (f folders) dir(ctx context.Context, session string) (string, error) {
	path, err := f.make(ctx, session, f.root.Quota, 0)
	if err == nil {
		err = f.root.Room(ctx, session)
	}
	return path, err
}

// handle does what a job of kind storage asks for.
func (f folders) handle(ctx context.Context, args json.RawMessage) error {
	var wish struct {
		Action  string  `json:"action"`
		Session string  `json:"session"`
		Kind    string  `json:"kind"`
		Quota   int64   `json:"quota"`
		TTL     float64 `json:"ttl_s"`
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(&wish); err != nil || wish.Session == "" {
		return queue.Cancel(fmt.Errorf("job args: session is missing, or %w (hint: towpath.storage_create and storage_refresh write them)", err))
	}
	if f.root == nil {
		return queue.Snooze(elsewhereFor)
	}
	switch wish.Action {
	case "create":
		_, err := f.make(ctx, wish.Session, wish.Quota, time.Duration(wish.TTL*float64(time.Second)))
		if err != nil {
			return answer(err)
		}
	case "refresh":
		if err := f.refresh(ctx, wish.Session); err != nil {
			return err
		}
	default:
		return queue.Cancel(fmt.Errorf("job args: action %.40q is not create or refresh (hint: towpath.storage_delete and gc_now need no job)", wish.Action))
	}
	summary, err := f.store.StorageSummary(ctx, wish.Session)
	if err != nil {
		return answer(err)
	}
	return queue.Output(ctx, summary)
}

func (f folders) refresh(ctx context.Context, session string) error {
	known, err := f.store.KnownStorage(ctx, f.root.ID, []string{storage.Name(session)})
	if err != nil {
		return err
	}
	if len(known) == 0 {
		summary, err := f.store.StorageSummary(ctx, session)
		if err != nil {
			return answer(err)
		}
		var at struct{ State string }
		if err := json.Unmarshal(summary, &at); err != nil {
			return err
		}
		if at.State == "provisioned" {
			return queue.Snooze(elsewhereFor)
		}
		return queue.Cancel(fmt.Errorf("storage of session %q is %s", session, at.State))
	}
	m, err := f.root.Measure(ctx, session)
	if err != nil {
		return err
	}
	_, err = f.store.MeasuredStorage(ctx, session, m.Bytes, m.Files, m.SHA256)
	return answer(err)
}
