package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/profiles"
)

// catalog is the database as the registry sees it. It is safe for concurrent use.
type catalog struct {
	store *store.Store
	node  string
	log   *slog.Logger
	check func(ctx context.Context, p *profiles.Profile) error

	mu    sync.Mutex
	lines map[string][]line // by profile, not stored yet
}

type line struct{ level, text string }

// maxLines is how many lines of a profile wait to be stored; what is more is dropped.
const maxLines = 100

var _ profiles.Catalog = (*catalog)(nil)

func (c *catalog) List(ctx context.Context) (map[string]profiles.Entry, error) {
	list, err := c.store.Plugins(ctx)
	if err != nil {
		return nil, err
	}
	entries := make(map[string]profiles.Entry, len(list))
	for _, s := range list {
		e := profiles.Entry{Digest: s.Digest, Stored: s.AddedBy != nil, Superseded: s.Superseded}
		if s.RemovedBy != nil {
			e.Removed = *s.RemovedBy
		}
		if s.Permits != nil {
			e.Permits = []byte(*s.Permits)
		}
		entries[s.Name] = e
	}
	return entries, nil
}

func (c *catalog) Module(ctx context.Context, digest string) ([]byte, error) {
	return c.store.Module(ctx, digest)
}

func (c *catalog) Put(ctx context.Context, p *profiles.Profile, wasm []byte, again bool) (string, error) {
	row, err := Row(p)
	if err != nil {
		return "", err
	}
	return c.store.PutPlugin(ctx, store.Plugin{Profile: row, Module: wasm, Who: c.node, Again: again})
}

func (c *catalog) Describe(ctx context.Context, p *profiles.Profile) error {
	row, err := Row(p)
	if err != nil {
		return err
	}
	return c.store.DescribePlugin(ctx, row, c.node)
}

func (c *catalog) Remove(ctx context.Context, name, digest string) error {
	_, err := c.store.RemovePlugin(ctx, name, c.node, digest)
	return err
}

func (c *catalog) Check(ctx context.Context, p *profiles.Profile) error {
	if c.check == nil {
		return nil
	}
	return c.check(ctx, p)
}

// Note keeps a line until write stores it: nobody waits for the log of plugins.
func (c *catalog) Note(profile, level, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines[profile]) < maxLines {
		c.lines[profile] = append(c.lines[profile], line{level, text})
	}
}

// write stores lines, every second while there are any, until ctx ends.
func (c *catalog) write(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			c.flush(last)
			return
		case <-tick.C:
			c.flush(ctx)
		}
	}
}

// flush stores what there is now. Lines that are not taken are lost: they tell of the past, and the next ones come.
func (c *catalog) flush(ctx context.Context) {
	c.mu.Lock()
	all := c.lines
	c.lines = map[string][]line{}
	c.mu.Unlock()
	for profile, list := range all {
		var levels, texts []string
		for _, l := range list {
			levels, texts = append(levels, l.level), append(texts, l.text)
		}
		if err := c.store.NotePlugin(ctx, profile, c.node, levels, texts); err != nil && ctx.Err() == nil {
			c.log.Warn("lines about a plugin are not stored", "profile", profile, "lines", len(list), "error", err)
		}
	}
}

// Row is a profile as the database has it.
func Row(p *profiles.Profile) (store.Profile, error) {
	manifest, err := json.Marshal(p.Manifest)
	if err != nil {
		return store.Profile{}, err
	}
	settings := map[string]string{}
	for _, s := range p.Permits.Limits.Settings() {
		settings[s.Key] = s.Value
	}
	limits, err := json.Marshal(settings)
	return store.Profile{
		Name: p.Name, Digest: p.Digest, Manifest: manifest, Limits: limits,
		MaxAttempts: p.Permits.Limits.Attempts, TurnTimeout: p.Permits.Limits.Turn,
	}, err
}

// listen wakes the registry when a profile has changed in the database, until ctx ends. What it misses while it
// reconnects, it asks for then; behind a pooler, and in case of all else, it asks every so often.
func (c *catalog) listen(ctx context.Context, pooled bool, wake chan<- struct{}) {
	ring := func() {
		select {
		case wake <- struct{}{}:
		default: // it is awake
		}
	}
	pace := time.Minute
	if pooled {
		pace = 2 * time.Second
	}
	var group sync.WaitGroup
	defer group.Wait()
	if !pooled {
		group.Go(func() {
			for ctx.Err() == nil {
				err := c.store.Listen(ctx, []string{store.ChannelPlugin}, ring, func(_, _ string) { ring() })
				if ctx.Err() == nil {
					c.log.Warn("changes of plugins are not heard", "error", err)
				}
				if !pause(ctx, time.Second) {
					return
				}
			}
		})
	}
	for pause(ctx, pace) {
		ring()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
