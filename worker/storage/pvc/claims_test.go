package pvc

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/towpath/towpath/worker/storage"
	"github.com/towpath/towpath/worker/storage/pvc/pvctest"
)

var ours = "towpath-" + storage.Name("s")

// cluster has a namespace whose uid is u1.
type cluster struct {
	*pvctest.Cluster
	*Claims
	t *testing.T
}

func newCluster(t *testing.T, cfg Config) *cluster {
	t.Helper()
	cfg.Namespace = pvctest.Namespace
	c := &cluster{Cluster: pvctest.New(t), t: t}
	c.Claims = New(c.API, "u1", cfg)
	return c
}

func (c *cluster) make(session string, quota int64) string {
	c.t.Helper()
	name, err := c.Make(c.t.Context(), session, quota)
	if err != nil {
		c.t.Fatal(err)
	}
	return name
}

func none([]string) ([]string, error) { return nil, nil }

func TestASessionHasOneClaim(t *testing.T) {
	c := newCluster(t, Config{Class: "fast", Size: 1 << 30, Most: 4 << 30})
	if name := c.make("s", c.Quota(0)); name != ours || c.make("s", 5) != name {
		t.Errorf("the claim is %s", name)
	}
	p := c.Claim(ours)
	if p.Spec.Resources.Requests.Storage().Value() != 1<<30 || *p.Spec.StorageClassName != "fast" || p.Annotations["towpath/session"] != "s" {
		t.Errorf("the claim is %+v", p)
	}
	for asked, want := range map[int64]int64{0: 1 << 30, 3: 3, 8 << 30: 4 << 30} {
		if got := c.Quota(asked); got != want {
			t.Errorf("a quota of %d is %d, want %d", asked, got, want)
		}
	}
	if m, err := c.Measure(t.Context(), "s"); err != nil || m.Bytes != 0 || m.Files != -1 || m.SHA256 != nil {
		t.Errorf("%+v, %v", m, err)
	}
	c.Bind(ours, 2<<30)
	if m, err := c.Measure(t.Context(), "s"); err != nil || m.Bytes != 2<<30 {
		t.Errorf("%+v, %v", m, err)
	}
	c.Put(ours, func(p *corev1.PersistentVolumeClaim) { p.Status.Phase = corev1.ClaimLost })
	if _, err := c.Measure(t.Context(), "s"); err == nil || !strings.Contains(err.Error(), "its volume is lost") {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := c.Remove(t.Context(), ours); err != nil || c.Claim(ours) != nil {
			t.Errorf("not removed: %v", err)
		}
	}
	if _, err := c.Measure(t.Context(), "s"); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if at := c.At(); at != (storage.At{Kind: "pvc", Root: "pvc:u1", Shared: true}) {
		t.Errorf("it is at %+v", at)
	}
}

// A pod that uses a claim keeps it: it is gone when it is gone.
func TestAClaimInUseGoesLater(t *testing.T) {
	c := newCluster(t, Config{Size: 1})
	c.make("s", 1)
	c.Protect()
	for range 2 {
		if err := c.Remove(t.Context(), ours); !errors.Is(err, storage.ErrGoing) || c.Claim(ours) == nil {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Make(t.Context(), "s", 1); !errors.Is(err, storage.ErrGoing) {
		t.Errorf("a claim that goes was taken: %v", err)
	}
	if n, err := c.Orphans(t.Context(), 0, none); n != 0 || err != nil {
		t.Errorf("it was deleted again: %d, %v", n, err)
	}
	c.Free(ours)
	if err := c.Remove(t.Context(), ours); err != nil {
		t.Error(err)
	}
}

// A claim that has our name and not our label is somebody else's; so is one of a namespace that had this name before.
func TestAStrangersClaimIsLeftAlone(t *testing.T) {
	for _, root := range []string{"", "u0"} {
		c := newCluster(t, Config{Size: 1})
		c.Put(ours, func(p *corev1.PersistentVolumeClaim) { p.Labels = map[string]string{labelRoot: root} })
		_, made := c.Make(t.Context(), "s", 1)
		_, measured := c.Measure(t.Context(), "s")
		for what, err := range map[string]error{"make": made, "measure": measured, "remove": c.Remove(t.Context(), ours)} {
			if err == nil || !strings.Contains(err.Error(), "it is not ours") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n, err := c.Orphans(t.Context(), 0, none); n != 0 || err != nil || c.Claim(ours) == nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

func TestOrphansGoAndOthersStay(t *testing.T) {
	c := newCluster(t, Config{Size: 1})
	known, orphan, young := c.make("known", 1), c.make("orphan", 1), c.make("young", 1)
	for name, age := range map[string]time.Duration{known: 2 * time.Hour, orphan: 2 * time.Hour, young: 0} {
		c.Put(name, func(p *corev1.PersistentVolumeClaim) { p.CreationTimestamp = metav1.NewTime(time.Now().Add(-age)) })
	}
	var asked []string
	n, err := c.Orphans(t.Context(), time.Hour, func(names []string) ([]string, error) { asked = names; return []string{known}, nil })
	if slices.Sort(asked); err != nil || n != 1 || len(asked) != 2 || slices.Contains(asked, young) {
		t.Errorf("removed %d, asked for %v, %v", n, asked, err)
	}
	if c.Claim(known) == nil || c.Claim(young) == nil || c.Claim(orphan) != nil {
		t.Error("the wrong ones are gone")
	}
	down := errors.New("the database is away")
	if _, err := c.Orphans(t.Context(), 0, func([]string) ([]string, error) { return nil, down }); !errors.Is(err, down) || c.Claim(known) == nil || c.Claim(young) == nil {
		t.Errorf("without an answer: %v", err)
	}
}

// What the cluster refuses is told, by the name of what it was about.
func TestAClusterThatRefuses(t *testing.T) {
	for verb, try := range map[string]func(c *cluster) error{
		"create": func(c *cluster) error { _, err := c.Make(c.t.Context(), "t", 1); return err },
		"get":    func(c *cluster) error { _, err := c.Measure(c.t.Context(), "s"); return err },
		"delete": func(c *cluster) error { return c.Remove(c.t.Context(), ours) },
		"list":   func(c *cluster) error { _, err := c.Orphans(c.t.Context(), 0, none); return err },
	} {
		t.Run(verb, func(t *testing.T) {
			c := newCluster(t, Config{Size: 1})
			c.make("s", 1)
			no := apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), "", errors.New("no role allows it"))
			c.Refuse(verb, no)
			if err := try(c); !errors.Is(err, no) || !strings.HasPrefix(err.Error(), "storage: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
