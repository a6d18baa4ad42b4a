package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// cache is a directory with one entry for each loaded module: the program and its compiled code. Entries belong to
// one version of this engine; those of others are deleted when it is opened.
type cache struct {
	dir   string
	limit int64
	log   *slog.Logger
}

const (
	// layout changes with the form of entries and whenever the same program would be made differently.
	layout      = 1
	cachePrefix = "towpath-engine-"
	tempPrefix  = "tmp-"
	staleTemp   = time.Hour
)

// version names all that decides whether compiled code fits this process.
func version() string {
	wazero := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/tetratelabs/wazero" {
				wazero = d.Version
			}
		}
	}
	return fmt.Sprintf("%s%d-rewrite%d-wazero%s-%s-%s", cachePrefix, layout, rewrite.Version, wazero, runtime.GOOS, runtime.GOARCH)
}

// openCache makes or checks root and removes what other versions left in it.
func openCache(root string, limit int64, log *slog.Logger) (*cache, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("engine: cache directory %q is not an absolute path", root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("engine: cache directory: %w", err)
	}
	if err := private(root); err != nil {
		return nil, err
	}
	c := &cache{dir: filepath.Join(root, version()), limit: limit, log: log}
	others, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("engine: cache directory: %w", err)
	}
	for _, other := range others {
		path := filepath.Join(root, other.Name())
		if path != c.dir && strings.HasPrefix(other.Name(), cachePrefix) {
			if err := os.RemoveAll(path); err != nil {
				return nil, fmt.Errorf("engine: remove the cache of another version: %w", err)
			}
		}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine: cache directory: %w", err)
	}
	c.clean()
	return c, nil
}

// key names an entry: two orders with the same key make the same program.
func (o order) key() string {
	o.Dir = ""
	h := sha256.New()
	if err := gob.NewEncoder(h).Encode(o); err != nil {
		panic(err) // an order has encodable fields only
	}
	return hex.EncodeToString(h.Sum(nil))
}

// get returns an entry's program and directory. An entry that cannot be read is as good as absent.
func (c *cache) get(key string) (*program, string, bool) {
	entry := filepath.Join(c.dir, key)
	p, err := readProgram(entry)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("compiled module is unusable and is made again", "entry", entry, "error", err)
		}
		return nil, "", false
	}
	now := time.Now()
	if err := os.Chtimes(entry, now, now); err != nil {
		c.log.Warn("cannot mark compiled module as used", "entry", entry, "error", err)
	}
	return p, entry, true
}

// begin makes a directory to fill; commit makes it the entry of key.
func (c *cache) begin() (string, error) {
	dir, err := os.MkdirTemp(c.dir, tempPrefix)
	if err != nil {
		return "", fmt.Errorf("engine: cache: %w", err)
	}
	return dir, nil
}

func (c *cache) commit(dir, key string) (string, error) {
	entry := filepath.Join(c.dir, key)
	if err := os.Rename(dir, entry); err != nil {
		// A damaged entry, or that of another process which was faster, stands in the way.
		if err := os.RemoveAll(entry); err != nil {
			return "", fmt.Errorf("engine: cache: %w", err)
		}
		if err := os.Rename(dir, entry); err != nil {
			return "", fmt.Errorf("engine: cache: %w", err)
		}
	}
	c.clean()
	return entry, nil
}

// clean removes the longest unused entries beyond the limit, and what interrupted loads left. An entry that is removed
// under a module in use does it no harm: its code was read at load.
func (c *cache) clean() (removed int) {
	type entry struct {
		path string
		used time.Time
		size int64
	}
	var entries []entry
	total := int64(0)
	found, err := os.ReadDir(c.dir)
	if err != nil {
		c.log.Warn("cannot read the cache of compiled modules", "error", err)
		return 0
	}
	for _, f := range found {
		info, err := f.Info()
		if err != nil {
			continue // removed by another process
		}
		e := entry{filepath.Join(c.dir, f.Name()), info.ModTime(), size(filepath.Join(c.dir, f.Name()))}
		if strings.HasPrefix(f.Name(), tempPrefix) {
			if time.Since(e.used) > staleTemp && c.remove(e.path) {
				removed++
			}
			continue
		}
		entries, total = append(entries, e), total+e.size
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for len(entries) > 1 && total > c.limit {
		if c.remove(entries[0].path) {
			removed++
		}
		total -= entries[0].size
		entries = entries[1:]
	}
	return removed
}

func (c *cache) remove(path string) bool {
	err := os.RemoveAll(path)
	if err != nil {
		c.log.Warn("cannot remove a compiled module", "path", path, "error", err)
	}
	return err == nil
}

func size(dir string) int64 {
	total := int64(0)
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}
