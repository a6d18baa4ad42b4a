package profiles

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nobody must have written to a file before it is read, and brief is that of a module that looks whole.
	quiet = 50 * time.Millisecond
	brief = 10 * time.Millisecond
	// glance is how often the folder is looked at where the system does not tell of changes, and stare where it does:
	// some file systems tell of some changes only.
	glance = time.Second
	stare  = 10 * time.Second
	// again is the pause after a scan that failed.
	again = time.Second
)

// Watch scans whenever a file in the folder changes or wake is told of a change in the catalog, until ctx ends. Files that
// are being written wait until they are quiet. Scan once before it.
func (r *Registry) Watch(ctx context.Context, dir string, wake <-chan struct{}) {
	if dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
	}
	w := &watcher{dir: dir, touched: map[string]time.Time{}, known: look(dir)}
	events, stop := w.subscribe(r)
	defer stop()
	pace := glance
	if events != nil {
		pace = stare
	}
	poll := time.NewTicker(pace)
	defer poll.Stop()
	next := time.NewTimer(quiet) // what changed between the first scan and now
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				poll.Reset(glance)
				continue
			}
			if filepath.Dir(e.Name) == dir {
				next.Reset(w.touch(e.Name))
			}
		case <-poll.C:
			if w.changed() {
				next.Reset(quiet)
			}
		case <-wake:
			next.Reset(0)
		case <-next.C:
			writing := w.writing()
			err := r.scan(ctx, dir, func(path string) bool { return writing[path] })
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				r.log.Warn("the plugins are not looked at", "error", err)
				next.Reset(again)
			case len(writing) > 0:
				next.Reset(quiet)
			}
		}
	}
}

// watcher knows what was written to in a folder.
type watcher struct {
	dir     string
	touched map[string]time.Time // by path: until when it is left alone
	known   map[string]glimpse
}

// glimpse tells a changed file without reading it.
type glimpse struct {
	size     int64
	modified time.Time
}

// subscribe asks the system to tell of changes; without its help the folder is looked at often.
func (w *watcher) subscribe(r *Registry) (events <-chan fsnotify.Event, stop func()) {
	if w.dir == "" {
		return nil, func() {}
	}
	source, err := fsnotify.NewWatcher()
	if err == nil {
		if err = source.Add(w.dir); err != nil {
			source.Close()
		}
	}
	if err != nil {
		r.log.Warn("the system does not tell of changes in the plugins folder; it is looked at every second", "folder", w.dir, "error", err)
		return nil, func() {}
	}
	lost := make(chan struct{})
	go func() { // an event that was lost is seen by the next poll
		defer close(lost)
		for range source.Errors {
		}
	}()
	return source.Events, func() { source.Close(); <-lost }
}

// touch notes that a file was written to, and for how long it is to be left alone.
func (w *watcher) touch(path string) time.Duration {
	pause := quiet
	if strings.HasSuffix(path, wasmSuffix) && looksWhole(path) {
		pause = brief
	}
	w.touched[path] = time.Now().Add(pause)
	return pause
}

// look reads what there is in a folder: nothing, when it cannot.
func look(dir string) map[string]glimpse {
	all := map[string]glimpse{}
	if dir == "" {
		return all
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return all
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeType == 0 {
			all[path] = glimpse{info.Size(), info.ModTime()}
		}
	}
	return all
}

// changed looks at the folder and notes what is not as it was.
func (w *watcher) changed() bool {
	now, changed := look(w.dir), false
	for path, g := range now {
		if before, ok := w.known[path]; !ok || before != g {
			w.touch(path)
			changed = true
		}
	}
	changed = changed || len(now) != len(w.known)
	w.known = now
	return changed
}

// writing lists the files that are not quiet yet, and forgets the others.
func (w *watcher) writing() map[string]bool {
	list := map[string]bool{}
	for path, until := range w.touched {
		if time.Now().Before(until) {
			list[path] = true
		} else {
			delete(w.touched, path)
		}
	}
	return list
}
