package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"

	"github.com/towpath/towpath/hostabi/guest"
)

// The thread of a session: key `thread` names it, its file stands in parts under `rollout/n`. Codex only appends to the
// file, so that a turn writes the parts that it changed.
type threadKey struct {
	ID    string `json:"id"`
	File  string `json:"file"` // of its file, below CODEX_HOME
	Bytes int    `json:"bytes"`
}

const (
	threadName = "thread"
	partSize   = 512 << 10
	// maxThread is how big a thread's file may be, so that as base64 it fits into a line.
	maxThread = maxLine/4*3 - 1<<10
)

func partName(n int) string { return fmt.Sprintf("rollout/%06d", n) }

// rollout is a thread as the session has it.
type rollout struct {
	threadKey
	content []byte
}

// load reads the session's thread; nil when it has none yet.
func load(t *guest.Turn) (*rollout, error) {
	value, found, err := t.Get(threadName)
	if err != nil || !found {
		return nil, err
	}
	r := &rollout{}
	if err := json.Unmarshal(value, &r.threadKey); err != nil {
		return nil, fmt.Errorf("session key %s: %w", threadName, err)
	}
	for n := 0; len(r.content) < r.Bytes; n++ {
		part, found, err := t.Get(partName(n))
		switch {
		case err != nil:
			return nil, err
		case !found:
			return nil, fmt.Errorf("session key %s is missing", partName(n))
		}
		r.content = append(r.content, part...)
	}
	if len(r.content) != r.Bytes {
		return nil, fmt.Errorf("the session's thread has %d bytes, not %d", len(r.content), r.Bytes)
	}
	return r, nil
}

// save makes content the session's thread.
func (c *conversation) save(r rollout) error {
	same := 0
	if c.stored != nil {
		for same < min(len(c.stored.content), len(r.content)) && c.stored.content[same] == r.content[same] {
			same++
		}
	}
	for n := same / partSize; n*partSize < len(r.content); n++ {
		if err := c.turn.Set(partName(n), r.content[n*partSize:min(len(r.content), (n+1)*partSize)]); err != nil {
			return err
		}
	}
	if c.stored != nil {
		for n := (len(r.content) + partSize - 1) / partSize; n*partSize < c.stored.Bytes; n++ {
			if err := c.turn.Set(partName(n), nil); err != nil {
				return err
			}
		}
	}
	r.Bytes = len(r.content)
	key, err := json.Marshal(r.threadKey)
	if err != nil {
		return err
	}
	return c.turn.Set(threadName, key)
}

// opened is what codex says of a thread that it has opened.
type opened struct {
	Thread struct {
		ID   string `json:"id"`
		Path string `json:"path"`
	} `json:"thread"`
	Model string `json:"model"`
}

// open starts the thread, or restores it and resumes it, and learns its names.
func (c *conversation) open(ctx context.Context, s *server, greeted func(context.Context) error) error {
	params := map[string]any{
		"model": c.settings.Model, "modelProvider": "towpath", "approvalPolicy": c.settings.asks(), "sandbox": c.settings.Sandbox,
	}
	if c.settings.Workspace != "" {
		params["cwd"] = c.settings.Workspace
	}
	var o opened
	if c.stored == nil {
		if c.settings.Instructions != "" {
			params["developerInstructions"] = c.settings.Instructions
		}
		if len(c.settings.Tools) > 0 {
			params["dynamicTools"] = c.settings.Tools
		}
		params["experimentalRawEvents"] = true
		// Asked for before the handshake is answered: codex takes one after the other.
		started := s.fill("thread/start", params, c.provider())
		if err := greeted(ctx); err != nil {
			return err
		}
		if err := started(ctx, &o); err != nil {
			return err
		}
	} else {
		if err := greeted(ctx); err != nil {
			return err
		}
		if err := s.restore(ctx, c.stored); err != nil {
			return err
		}
		params["threadId"], params["excludeTurns"] = c.stored.ID, true
		if params["cwd"] == nil {
			params["cwd"] = path.Dir(s.home) // not where it was then
		}
		if err := s.fill("thread/resume", params, c.provider())(ctx, &o); err != nil {
			return err
		}
	}
	if len(o.Thread.Path) <= len(s.home) || o.Thread.Path[:len(s.home)] != s.home {
		return guest.Fail(guest.KindProtocol, "codex keeps the thread at %q, not below %q", o.Thread.Path, s.home)
	}
	c.thread, c.model = o.Thread.ID, o.Model
	c.file = o.Thread.Path[len(s.home)+1:]
	return c.revert(ctx, s)
}

// restore puts the thread's file back.
func (s *server) restore(ctx context.Context, r *rollout) error {
	file := path.Join(s.home, r.File)
	if err := s.Call(ctx, "fs/createDirectory", map[string]any{"path": path.Dir(file), "recursive": true}, nil); err != nil {
		return err
	}
	return s.Call(ctx, "fs/writeFile", map[string]any{"path": file, "dataBase64": r.content}, nil)
}

// revert takes this very turn out of the thread, with all that followed, so that nothing is said twice.
func (c *conversation) revert(ctx context.Context, s *server) error {
	if c.stored == nil || !bytes.Contains(c.stored.content, []byte(c.turn.Request.Process)) {
		return nil
	}
	var whole struct {
		Thread struct {
			Turns []turn `json:"turns"`
		} `json:"thread"`
	}
	if err := s.Call(ctx, "thread/read", map[string]any{"threadId": c.thread, "includeTurns": true}, &whole); err != nil {
		return err
	}
	for _, old := range whole.Thread.Turns {
		for _, it := range old.Items {
			if it.Type == "userMessage" && it.ClientID == c.turn.Request.Process {
				c.turn.Log.Warn("the thread holds this turn: it is reverted", "turn", old.ID)
				return s.Call(ctx, "thread/revert", map[string]any{"threadId": c.thread, "beforeTurnId": old.ID}, nil)
			}
		}
	}
	return nil
}

// read reads the thread's file, and tells what this turn has added to it.
func (c *conversation) read(ctx context.Context, s *server) (r rollout, added []byte, err error) {
	var file struct {
		Data []byte `json:"dataBase64"`
	}
	if err := s.Call(ctx, "fs/readFile", map[string]any{"path": path.Join(s.home, c.file)}, &file); err != nil {
		return r, nil, err
	}
	r = rollout{threadKey{ID: c.thread, File: c.file}, file.Data}
	added = file.Data
	if c.stored != nil && bytes.HasPrefix(added, c.stored.content) {
		added = added[len(c.stored.content):]
	}
	return r, added, nil
}
