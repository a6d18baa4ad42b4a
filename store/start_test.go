package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

func raw(text string) json.RawMessage { return json.RawMessage(text) }

// operation is a process that anybody may claim and run again.
func operation() store.Start {
	return store.Start{Class: "operation", Disposition: "rerunnable", Options: store.StartOptions{Env: raw(`{"image": "tools"}`)}}
}

// external is a process that somebody else runs.
func external() store.Start {
	return store.Start{Class: "external", Disposition: "externally_owned"}
}

func (w *world) launch(p store.Start) string {
	w.Helper()
	id, err := w.store.Start(w.Context(), p)
	w.ok(err)
	return id
}

// claimed is the lease of a process that must be free.
func (w *world) claimed(id string, n store.Node) store.Owner {
	w.Helper()
	l, err := w.store.ClaimProcess(w.Context(), id, n, ttl, ttl/3)
	w.ok(err)
	if l.Action != store.ActionRun {
		w.Fatalf("claim of %s: %s, %s", id, l.Action, *l.Detail)
	}
	return l.Owner()
}

// feature: D1 D6 D7
func TestAStartIsStoredBeforeAnybodyExecutesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	p := operation()
	p.Spec = raw(`{"tool": "grep"}`)
	p.Options.Share = []string{"session:s", "session:s/frame:f"}
	p.Options.EventTypes = map[string]json.RawMessage{"line": raw(`{"type": "object"}`)}
	id := w.launch(p)
	w.status(id, "queued")
	w.log(id, "process.queued")
	if scopes := get[[]string](w, "select array_agg(s.scope order by s.scope) from towpath.share s join towpath.process p on p.no = s.process_no where p.id = $1", id); !slices.Equal(scopes, p.Options.Share) {
		t.Errorf("shared with %v", scopes)
	}
	l, err := w.store.ClaimProcess(t.Context(), id, node("n"), ttl, 0)
	w.ok(err)
	if string(l.Spec) != `{"tool": "grep"}` || string(l.Env) != `{"image": "tools"}` {
		t.Errorf("claim %+v", l)
	}
	// A share that cannot be written leaves no process, and the other way round.
	p.Options.ID, p.Options.Share = "whole", []string{"session:s", "session:nobody"}
	_, err = w.store.Start(t.Context(), p)
	w.refused(err, store.ErrNotFound, `scope "session:nobody" is of no session`)
	if n := get[int](w, "select count(*) from towpath.process where id = 'whole'"); n != 0 {
		t.Error("a process without its shares")
	}
	w.status(w.launch(external()), "running")
	w.sound()
}

// feature: D2
func TestFiftyStartsWithOneIDAreOneProcess(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*store.StartOptions){
		"id":              func(o *store.StartOptions) { o.ID = "one" },
		"idempotency key": func(o *store.StartOptions) { o.IdempotencyKey = strings.Repeat("k", 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.session("s")
			p := operation()
			p.Options.EventTypes = map[string]json.RawMessage{"line": raw("{}")}
			p.Options.Share = []string{"session:s"}
			change(&p.Options)
			ids := make([]string, 50)
			var wg sync.WaitGroup
			for i := range ids {
				wg.Go(func() {
					var err error
					if ids[i], err = w.store.Start(t.Context(), p); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if ids = slices.Compact(ids); len(ids) != 1 {
				t.Errorf("%d ids", len(ids))
			}
			if n := get[string](w, "select concat_ws(' ', (select count(*) from towpath.process), (select count(*) from towpath.event), (select count(*) from towpath.share), (select count(*) from towpath.env))"); n != "1 1 1 1" {
				t.Errorf("processes, events, shares, envs: %s", n)
			}
			w.sound()
		})
	}
}

// feature: D3
func TestAnIDStandsForOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := operation()
	first.Options.ID, first.Options.IdempotencyKey = "one", "k"
	w.launch(first)
	before := get[string](w, "select to_jsonb(p)::text from towpath.process p")
	// The env by its name is the env by its content.
	same := first
	same.Options.EnvID, same.Options.Env = get[string](w, "select id from towpath.env"), nil
	if id := w.launch(same); id != "one" {
		t.Errorf("the same request is %s", id)
	}
	for name, change := range map[string]func(*store.Start){
		"spec":        func(p *store.Start) { p.Spec = raw(`{"a": 1}`) },
		"disposition": func(p *store.Start) { p.Disposition = "owner_bound" },
		"env":         func(p *store.Start) { p.Options.Env = raw(`{"image": "other"}`) },
		"event types": func(p *store.Start) { p.Options.EventTypes = map[string]json.RawMessage{"x": raw("{}")} },
		"share":       func(p *store.Start) { p.Options.Share = []string{"session:s"} },
		"label":       func(p *store.Start) { p.Options.Label = "l" },
		"key":         func(p *store.Start) { p.Options.IdempotencyKey = "" },
		"id and spec": func(p *store.Start) { p.Options.ID, p.Spec = "two", raw(`{"a": 1}`) },
	} {
		p := first
		change(&p)
		_, err := w.store.Start(t.Context(), p)
		if !errors.Is(err, store.ErrIdempotency) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if after := get[string](w, "select to_jsonb(p)::text from towpath.process p"); after != before {
		t.Errorf("a refused start changed\n%s to\n%s", before, after)
	}
	if n := get[int](w, "select count(*) from towpath.env"); n != 1 {
		t.Errorf("%d envs", n)
	}
}

// feature: D4 D5 D6
func TestWhatCannotBeStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deep := strings.Repeat(`{"items": `, 20) + "{}" + strings.Repeat("}", 20)
	for name, c := range map[string]struct {
		change func(*store.Start)
		want   error
		text   string
	}{
		"D4 id with #":           {func(p *store.Start) { p.Options.ID = "a#b" }, store.ErrInvalid, "options.id"},
		"D4 id with a comma":     {func(p *store.Start) { p.Options.ID = "a,b" }, store.ErrInvalid, "options.id"},
		"D4 id with a newline":   {func(p *store.Start) { p.Options.ID = "a\nb" }, store.ErrInvalid, "options.id"},
		"D4 endless id":          {func(p *store.Start) { p.Options.ID = strings.Repeat("i", 1<<20) }, store.ErrInvalid, "options.id"},
		"no class":               {func(p *store.Start) { p.Class = "" }, store.ErrInvalid, "not operation or external"},
		"a turn":                 {func(p *store.Start) { p.Class = "turn" }, store.ErrInvalid, "submitted"},
		"a daemon":               {func(p *store.Start) { p.Class = "daemon" }, store.ErrInvalid, "not operation or external"},
		"D5 no disposition":      {func(p *store.Start) { p.Disposition = "" }, store.ErrInvalid, "there is no default"},
		"D5 unknown disposition": {func(p *store.Start) { p.Disposition = "maybe" }, store.ErrInvalid, `"maybe"`},
		"D5 operation of others": {func(p *store.Start) { p.Disposition = "externally_owned" }, store.ErrInvalid, "does not go with"},
		"D5 own external":        {func(p *store.Start) { *p = external(); p.Disposition = "rerunnable" }, store.ErrInvalid, "does not go with"},
		"D6 no env":              {func(p *store.Start) { p.Options.Env = nil }, store.ErrInvalid, "executed in an env"},
		"D6 two envs":            {func(p *store.Start) { p.Options.EnvID = "env:sha256:" }, store.ErrInvalid, "executed in an env"},
		"D6 unknown env":         {func(p *store.Start) { p.Options.Env, p.Options.EnvID = nil, "env:sha256:no" }, store.ErrNotFound, "pass its content"},
		"D6 external with env":   {func(p *store.Start) { *p = external(); p.Options.Env = raw("{}") }, store.ErrInvalid, "has no env"},
		"spec is a list":         {func(p *store.Start) { p.Spec = raw("[]") }, store.ErrInvalid, "spec is not"},
		"spec is null":           {func(p *store.Start) { p.Spec = raw("null") }, store.ErrInvalid, "spec is not"},
		"NUL in the spec":        {func(p *store.Start) { p.Spec = raw(`{"a": "\u0000"}`) }, store.ErrInvalid, ""},
		"huge spec":              {func(p *store.Start) { p.Spec = raw(`{"a": "` + strings.Repeat("x", 1<<20) + `"}`) }, store.ErrTooLarge, "1 MiB"},
		"deep spec": {func(p *store.Start) {
			p.Spec = raw(`{"a": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`)
		}, store.ErrTooLarge, "nested"},
		"priority 5":           {func(p *store.Start) { p.Options.Priority = 5 }, store.ErrInvalid, "options.priority is not one of"},
		"too many attempts":    {func(p *store.Start) { p.Options.MaxAttempts = 1001 }, store.ErrInvalid, "1 to 1000"},
		"unknown session":      {func(p *store.Start) { p.Options.Session = "none" }, store.ErrNotFound, `session "none"`},
		"unknown parent":       {func(p *store.Start) { p.Options.Parent = "none" }, store.ErrNotFound, `process "none"`},
		"a frame of nobody":    {func(p *store.Start) { p.Options.Originator = &store.Originator{Frame: "f"} }, store.ErrInvalid, "originator"},
		"a host's session":     {func(p *store.Start) { p.Options.Originator = &store.Originator{Host: "h", Session: "s"} }, store.ErrInvalid, "originator"},
		"share twice":          {func(p *store.Start) { p.Options.Share = []string{"host:h", "host:h"} }, store.ErrInvalid, "a scope twice"},
		"wake nobody":          {func(p *store.Start) { p.Options.Wake = "nobody" }, store.ErrNotFound, `unknown session "nobody"`},
		"share with nobody":    {func(p *store.Start) { p.Options.Share = []string{"me"} }, store.ErrInvalid, `"me" is not a scope`},
		"reserved event":       {declare("process.mine", "{}"), store.ErrInvalid, "cannot be declared"},
		"event with a space":   {declare("my event", "{}"), store.ErrInvalid, "cannot be declared"},
		"schema with a format": {declare("e", `{"properties": {"a": {"pattern": "x"}}}`), store.ErrInvalid, "schema of e.a: pattern is not supported"},
		"schema of type date":  {declare("e", `{"type": "date"}`), store.ErrInvalid, "unknown type"},
		"schema of types 1":    {declare("e", `{"type": ["string", 1]}`), store.ErrInvalid, "unknown type"},
		"deep schema":          {declare("e", deep), store.ErrInvalid, "16 levels"},
		"required is a text":   {declare("e", `{"required": "a"}`), store.ErrInvalid, "required"},
		"enum is a text":       {declare("e", `{"enum": "a"}`), store.ErrInvalid, "enum is not an array"},
	} {
		t.Run(name, func(t *testing.T) {
			p := operation()
			c.change(&p)
			_, err := w.store.Start(t.Context(), p)
			(&world{TB: t}).refused(err, c.want, c.text)
		})
	}
	// What Go cannot express.
	for _, options := range []string{`[]`, `null`, `{"id": ""}`, `{"id": 1}`, `{"colour": "red"}`, `{"max_attempts": 1.5}`, `{"priority": "2"}`, `{"share": [{"with": "host"}]}`,
		`{"share": [{"scope": "host", "descriptor": []}]}`, `{"event_types": {"a": []}}`, `{"env": []}`, `{"caused_by": {"who": "me"}}`, `{"idempotency_key": ""}`} {
		_, err := w.pool.Exec(t.Context(), "select towpath.start('external', 'externally_owned', '{}', $1)", raw(options))
		if err == nil || !strings.Contains(err.Error(), "TW400") {
			t.Errorf("options %s: %v", options, err)
		}
	}
	if n := get[string](w, "select (select count(*) from towpath.process) || ' ' || (select count(*) from towpath.env)"); n != "0 0" {
		t.Errorf("a refused start left processes, envs: %s", n)
	}
}

func declare(name, schema string) func(*store.Start) {
	return func(p *store.Start) { p.Options.EventTypes = map[string]json.RawMessage{name: raw(schema)} }
}

// feature: D6
func TestAnEnvIsNamedByItsContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two, other := operation(), operation(), operation()
	one.Options.Env = raw(`{"image": "a", "limits": {"cpu": 1.0, "ram": 2}}`)
	two.Options.Env = raw(`{"limits": {"ram": 2, "cpu": 1}, "image": "a"}`) // written otherwise
	other.Options.Env, other.Options.Definition = raw(`{"image": "b"}`), "d"
	ids := []string{w.launch(one), w.launch(two), w.launch(other)}
	use := "select string_agg(format('%s %s %s', e.body ->> 'image', u.definition, u.live), ', ' order by e.body ->> 'image') from towpath.env_use u join towpath.env e using (id)"
	if got := get[string](w, use); got != "a  2, b d 1" {
		t.Errorf("in use: %s", got)
	}
	w.ok(w.store.Complete(t.Context(), w.claimed(ids[0], node("n")), store.Completion{Status: "completed", Outcome: raw("{}"), Key: "k"}))
	_, err := w.store.Cancel(t.Context(), ids[2], "no more", 0)
	w.ok(err)
	if got := get[string](w, use); got != "a  1, b  0" {
		t.Errorf("in use after two have ended: %s", got)
	}
	if _, err := w.pool.Exec(t.Context(), "update towpath.env set body = '{}'"); err == nil {
		t.Error("an env was changed under its name")
	}
}

// feature: D5 D8
func TestAStartAndItsJobAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := `select towpath.begin_process('daemon', 'rerunnable', '{"command": "x"}', '{"id": "d"}')`
	tx := w.begin()
	_, err := tx.Exec(t.Context(), begin)
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	if n := get[string](w, "select (select count(*) from towpath.process) || ' ' || (select count(*) from river_job)"); n != "0 0" {
		t.Errorf("processes and jobs of a start that was taken back: %s", n)
	}
	w.exec(begin)
	job := get[string](w, "select format('%s %s %s', kind, queue, args) from river_job")
	if job != `start lifecycle {"generation": 1, "process_id": "d"}` {
		t.Errorf("job %s", job)
	}
	if wish := get[string](w, "select desired_state from towpath.process"); wish != "up" {
		t.Errorf("a daemon is wanted %s", wish)
	}
	// Whoever comes and claims has no job.
	w.launch(operation())
	w.launch(external())
	if n := get[int](w, "select count(*) from river_job"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	for _, column := range []string{"disposition = 'owner_bound'", "class = 'operation'", "env_id = null", "originator = 'host:x'", "caused_by = '{}'", "label = 'x'"} {
		if _, err := w.pool.Exec(t.Context(), "update towpath.process set "+column); err == nil {
			t.Errorf("changed: %s", column)
		}
	}
	w.sound()
}

// What a process inherits, and what a start may not mix.
func TestAStartInASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: raw("{}"), Session: "s", Options: raw(`{"tenant": "t", "project": "j"}`)})
	w.ok(err)
	p := operation()
	p.Options.Session, p.Options.Originator, p.Options.CausedBy = "s", &store.Originator{Session: "s", Frame: "f"}, &store.Cause{Occurrence: "o"}
	parent := w.launch(p)
	child := operation()
	child.Options.Parent = parent
	for _, id := range []string{parent, w.launch(child)} {
		if got := get[string](w, "select tenant || ' ' || project from towpath.process where id = $1", id); got != "t j" {
			t.Errorf("%s belongs to %s", id, got)
		}
	}
	if got := get[string](w, "select format('%s %s %s %s', originator, originator_session, originator_frame, caused_by) from towpath.process where id = $1", parent); got != `session:s/frame:f s f {"occurrence": "o"}` {
		t.Errorf("lineage: %s", got)
	}
	p.Options.Tenant = "other"
	_, err = w.store.Start(t.Context(), p)
	w.refused(err, store.ErrConflict, fmt.Sprintf("session %q belongs to", "s"))
}
