package worker

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/storage"
	"github.com/towpath/towpath/worker/storage/pvc"
	"github.com/towpath/towpath/worker/storage/pvc/pvctest"
)

// stored is what is known of a session's storage.
func (c *cellar) stored(session string) (v struct {
	State, Kind, Name, Trouble string
	Bytes, Quota               int64
	Files                      *int64
}) {
	c.t.Helper()
	raw, err := c.store.StorageSummary(c.t.Context(), session)
	c.ok(err)
	c.ok(json.Unmarshal(raw, &v))
	return v
}

// A session on a volume of a cluster goes through the same states as one with a directory, by the same functions. The worker
// makes, measures and removes the claim; it mounts nothing, so that the session's children work in folders that go with them.
//
// feature: C31 C33
func TestAVolumeIsProvisionedAndEvicted(t *testing.T) {
	t.Parallel()
	c, cluster := newCellar(t), pvctest.New(t)
	claims := pvc.New(cluster.API, "u", pvc.Config{Namespace: pvctest.Namespace, Size: 1 << 30, Most: 2 << 30})
	p := newPlaces(c.store, Config{Storage: c.root, Claims: claims})
	c.collector.roots = p.all
	c.exec("select towpath.session_put('s', 'p'), towpath.session_put('kept', 'p')")
	for _, s := range []string{"s", "kept"} {
		c.ok(p.make(t.Context(), claims, s, 9<<30, 0))
		c.ok(p.make(t.Context(), claims, s, 9<<30, 0))
	}
	at := c.stored("s")
	if at.State != "provisioned" || at.Kind != "pvc" || at.Quota != 2<<30 || cluster.Claim(at.Name) == nil {
		t.Errorf("storage is %+v", at)
	}
	cluster.Bind(at.Name, 2<<30)
	c.ok(p.refresh(t.Context(), "s"))
	if at = c.stored("s"); at.Bytes != 2<<30 || at.Files != nil {
		t.Errorf("storage is %+v", at)
	}
	if dir, err := p.dir(t.Context(), "s"); dir != "" || err != nil {
		t.Errorf("its children work in %q, %v", dir, err)
	}
	if err := p.make(t.Context(), c.root, "s", 0, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a directory beside the claim: %v", err)
	}

	// Deleted while a pod uses it: evicted once the cluster has let it go.
	cluster.Protect()
	_, err := c.store.DeleteStorage(t.Context(), "s", "enough")
	c.ok(err)
	for range 2 {
		done, err := c.collect(t.Context())
		if c.ok(err); done.any() {
			t.Errorf("collected %+v", done)
		}
		if at = c.stored("s"); at.State != "evicting" || !strings.Contains(at.Trouble, "is being removed") {
			t.Errorf("storage is %+v", at)
		}
	}
	cluster.Free(at.Name)
	done, err := c.collect(t.Context())
	if c.ok(err); done.Evicted != 1 || len(done.Trouble) > 0 || c.stored("s").State != "evicted" {
		t.Errorf("collected %+v", done)
	}
	if at = c.stored("kept"); at.State != "provisioned" || cluster.Claim(at.Name) == nil {
		t.Errorf("the other is %+v", at)
	}
	c.sound()
}

// What the cluster refuses stays due, and is told; directories are collected all the same.
func TestAClusterThatIsAway(t *testing.T) {
	t.Parallel()
	c, cluster := newCellar(t), pvctest.New(t)
	claims := pvc.New(cluster.API, "u", pvc.Config{Namespace: pvctest.Namespace, Size: 1})
	c.collector.roots = []storage.Place{claims, c.root}
	dir := c.session("d")
	c.exec("select towpath.session_put('s', 'p')")
	c.ok(newPlaces(c.store, Config{Claims: claims}).make(t.Context(), claims, "s", 0, 0))
	c.exec("insert into towpath.clock (shift) values ('31 days')")
	for _, verb := range []string{"get", "list"} {
		cluster.Refuse(verb, errors.New("no route to the cluster"))
	}
	done, err := c.collect(t.Context())
	if c.ok(err); done.Evicted != 1 || len(done.Trouble) != 2 || exists(dir) {
		t.Errorf("collected %+v", done)
	}
	if at := c.stored("s"); at.State != "evicting" || !strings.Contains(at.Trouble, "no route to the cluster") {
		t.Errorf("storage is %+v", at)
	}
	c.sound()
}

// The quota that a session was given holds, up to the node's; one that was given none has the node's.
func TestASessionHasItsOwnQuota(t *testing.T) {
	t.Parallel()
	c := newCellar(t)
	root, err := storage.Open(c.path, false, 100)
	c.ok(err)
	defer root.Close()
	p := newPlaces(c.store, Config{Storage: root})
	for session, q := range map[string]struct {
		asked, recorded, most int64
		way                   string
	}{
		"small":   {10, 10, 10, "remove some, that is the session's own quota"},
		"greedy":  {1000, 100, 100, "remove some, or raise TOWPATH_STORAGE_QUOTA"},
		"nothing": {0, 0, 100, "remove some, or raise TOWPATH_STORAGE_QUOTA"},
	} {
		c.exec("select towpath.session_put($1, 'p')", session)
		if q.asked > 0 {
			c.ok(p.make(t.Context(), root, session, q.asked, 0))
		}
		dir, err := p.dir(t.Context(), session)
		c.ok(err)
		if at := c.stored(session); at.Quota != q.recorded || filepath.Base(dir) != at.Name {
			t.Errorf("%s: storage is %+v", session, at)
		}
		c.ok(os.WriteFile(filepath.Join(dir, "a"), make([]byte, q.most-1), 0o600))
		if _, err := p.dir(t.Context(), session); err != nil {
			t.Errorf("%s: %v", session, err)
		}
		c.ok(os.WriteFile(filepath.Join(dir, "b"), []byte("x"), 0o600))
		_, err = p.dir(t.Context(), session)
		var told *hostabi.Error
		if !errors.As(err, &told) || told.Code != hostabi.EQUOTA || !strings.Contains(err.Error(), q.way) {
			t.Errorf("%s: got %v", session, err)
		}
	}
}
