package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/storage"
)

// elsewhereFor is how long a job that only another node can do waits until it is handed out again.
const elsewhereFor = time.Second

// places are where this node can make, measure and remove the storage of sessions.
type places struct {
	store *store.Store
	root  *storage.Root   // whose directories children work in; nil: none
	all   []storage.Place // root among them
}

// newPlaces takes the places of a node.
func newPlaces(db *store.Store, cfg Config) places {
	p := places{store: db, root: cfg.Storage}
	if cfg.Storage != nil {
		p.all = append(p.all, cfg.Storage)
	}
	if cfg.Claims != nil {
		p.all = append(p.all, cfg.Claims)
	}
	return p
}

// ids are what the database knows the places by.
func (p places) ids() []string {
	ids := make([]string, len(p.all))
	for i, at := range p.all {
		ids[i] = at.At().Root
	}
	return ids
}

// known is what is on record of a session's storage.
type known struct {
	State string `json:"state"`
	Kind  string `json:"kind"`
	Root  string `json:"root"`
	Quota int64  `json:"quota"`
}

func (p places) known(ctx context.Context, session string) (k known, err error) {
	raw, err := p.store.StorageSummary(ctx, session)
	if err == nil {
		err = json.Unmarshal(raw, &k)
	}
	return k, err
}

// make makes a session's storage and records it, or takes what it has. ErrConflict: it has one elsewhere.
func (p places) make(ctx context.Context, place storage.Place, session string, asked int64, ttl time.Duration) error {
	quota, at := place.Quota(asked), place.At()
	name, err := place.Make(ctx, session, quota)
	if err != nil {
		return err
	}
	_, err = p.store.PutStorage(ctx, store.Storage{Session: session, Kind: at.Kind, Root: at.Root, Name: name}, at.Shared, quota, ttl)
	return err // what was made is an orphan then, or the session's already
}

// dir is where the children of a session's turns work; empty, when its storage is a volume that nobody has mounted here.
// The error is a guest's to see: EQUOTA, when the session's files are above its quota.
func (p places) dir(ctx context.Context, session string) (string, error) {
	k, err := p.known(ctx, session)
	if err != nil || k.Kind == "pvc" {
		return "", err
	}
	if err := p.make(ctx, p.root, session, 0, 0); err != nil {
		return "", err
	}
	switch err := p.root.Room(ctx, session, k.Quota); {
	case errors.Is(err, storage.ErrQuota):
		return "", hostabi.Errorf(hostabi.EQUOTA, "%v", err)
	case err != nil:
		return "", err
	}
	return p.root.Dir(session)
}

// handle does what a job of kind storage asks for.
func (p places) handle(ctx context.Context, args json.RawMessage) error {
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
	switch wish.Action {
	case "create":
		for _, place := range p.all {
			if wish.Kind == "" || wish.Kind == place.At().Kind {
				if err := p.make(ctx, place, wish.Session, wish.Quota, time.Duration(wish.TTL*float64(time.Second))); err != nil {
					return answer(err)
				}
				return p.summary(ctx, wish.Session)
			}
		}
		return queue.Snooze(elsewhereFor)
	case "refresh":
		if err := p.refresh(ctx, wish.Session); err != nil {
			return err
		}
		return p.summary(ctx, wish.Session)
	}
	return queue.Cancel(fmt.Errorf("job args: action %.40q is not create or refresh (hint: towpath.storage_delete and gc_now need no job)", wish.Action))
}

// refresh measures a session's storage, where this node can.
func (p places) refresh(ctx context.Context, session string) error {
	k, err := p.known(ctx, session)
	if err != nil {
		return answer(err)
	}
	if k.State != "provisioned" {
		return queue.Cancel(fmt.Errorf("storage of session %q is %s", session, k.State))
	}
	for _, place := range p.all {
		if place.At().Root == k.Root {
			m, err := place.Measure(ctx, session)
			if err != nil {
				return err
			}
			_, err = p.store.MeasuredStorage(ctx, session, m.Bytes, m.Files, m.SHA256)
			return answer(err)
		}
	}
	return queue.Snooze(elsewhereFor)
}

// summary leaves what is known of a session's storage in the job's row.
func (p places) summary(ctx context.Context, session string) error {
	raw, err := p.store.StorageSummary(ctx, session)
	if err != nil {
		return answer(err)
	}
	return queue.Output(ctx, raw)
}
