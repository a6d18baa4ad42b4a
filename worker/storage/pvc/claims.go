package pvc

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/towpath/towpath/worker/storage"
)

const (
	prefix       = "towpath-"
	labelManager = "app.kubernetes.io/managed-by"
	labelRoot    = "towpath/root"
	noteSession  = "towpath/session"
	page         = 500 // claims in one answer of the cluster
)

// API is what is asked of the claims of a namespace: the few methods of client-go's client that are needed.
type API interface {
	Create(context.Context, *corev1.PersistentVolumeClaim, metav1.CreateOptions) (*corev1.PersistentVolumeClaim, error)
	Get(context.Context, string, metav1.GetOptions) (*corev1.PersistentVolumeClaim, error)
	List(context.Context, metav1.ListOptions) (*corev1.PersistentVolumeClaimList, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// Config says what claims are like.
type Config struct {
	Namespace string
	Class     string // of storage; "": the cluster's default
	Size      int64  // bytes of a claim whose session asked for no quota
	Most      int64  // bytes of any claim, 0: no bound
}

// Claims are the claims of sessions in a namespace. It is a storage.Place, safe for concurrent use.
type Claims struct {
	cfg Config
	uid string // of the namespace
	api API
}

// New takes the claims of a namespace by its uid.
func New(api API, uid string, cfg Config) *Claims { return &Claims{cfg: cfg, uid: uid, api: api} }

// At says where this is. Every node may do the turns of its sessions, since none needs to reach the files.
func (c *Claims) At() storage.At { return storage.At{Kind: "pvc", Root: "pvc:" + c.uid, Shared: true} }

// Quota is the size of a claim.
func (c *Claims) Quota(asked int64) int64 {
	if asked == 0 {
		asked = c.cfg.Size
	}
	return storage.Least(asked, c.cfg.Most)
}

// Make makes a session's claim, or takes the one that is there. The volume may come later, when a pod wants it.
func (c *Claims) Make(ctx context.Context, session string, quota int64) (string, error) {
	name := prefix + storage.Name(session)
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{labelManager: "towpath", labelRoot: c.uid},
			Annotations: map[string]string{noteSession: session},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(quota, resource.BinarySI)},
			},
		},
	}
	if c.cfg.Class != "" {
		claim.Spec.StorageClassName = &c.cfg.Class
	}
	_, err := c.api.Create(ctx, claim, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = c.get(ctx, name)
	}
	if err != nil {
		return "", fmt.Errorf("storage: session %s: claim %s: %w", session, name, err)
	}
	return name, nil
}

// get returns a claim that is ours and stays.
func (c *Claims) get(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := c.api.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, err
	case claim.Labels[labelRoot] != c.uid:
		return nil, fmt.Errorf("it is not ours: it has no label %s=%s", labelRoot, c.uid)
	case claim.DeletionTimestamp != nil:
		return claim, storage.ErrGoing
	}
	return claim, nil
}

// Measure says how large the volume is, 0 as long as there is none. Nobody here sees its files.
func (c *Claims) Measure(ctx context.Context, session string) (storage.Measure, error) {
	claim, err := c.get(ctx, prefix+storage.Name(session))
	if err == nil && claim.Status.Phase == corev1.ClaimLost {
		err = errors.New("its volume is lost")
	}
	if err != nil {
		return storage.Measure{}, fmt.Errorf("storage: session %s: measure: %w", session, err)
	}
	return storage.Measure{Bytes: claim.Status.Capacity.Storage().Value(), Files: -1}, nil
}

// Remove deletes a claim by its name. ErrGoing: the cluster has been told, and a pod may still use it.
func (c *Claims) Remove(ctx context.Context, name string) error {
	if err := c.remove(ctx, name); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("storage: remove claim %s: %w", name, err)
	}
	return nil
}

func (c *Claims) remove(ctx context.Context, name string) error {
	claim, err := c.get(ctx, name)
	if err != nil {
		return err
	}
	// Not another one that has got the name meanwhile.
	err = c.api.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &claim.UID}})
	if err != nil {
		return err
	}
	_, err = c.get(ctx, name)
	return err // not found: it is gone
}

// Orphans deletes the claims that belong to no session and are older than age.
func (c *Claims) Orphans(ctx context.Context, age time.Duration, known func([]string) ([]string, error)) (removed int, err error) {
	wish := metav1.ListOptions{LabelSelector: labelRoot + "=" + c.uid, Limit: page}
	var errs []error
	for {
		list, err := c.api.List(ctx, wish)
		if err != nil {
			return removed, errors.Join(append(errs, fmt.Errorf("storage: claims of namespace %s: %w", c.cfg.Namespace, err))...)
		}
		var old []string
		for _, claim := range list.Items {
			if claim.DeletionTimestamp == nil && time.Since(claim.CreationTimestamp.Time) >= age {
				old = append(old, claim.Name)
			}
		}
		if len(old) > 0 {
			strangers, err := storage.Unknown(old, known)
			if err != nil {
				return removed, errors.Join(append(errs, err)...)
			}
			for _, name := range strangers {
				if err := c.Remove(ctx, name); err != nil && !errors.Is(err, storage.ErrGoing) {
					errs = append(errs, err)
				} else {
					removed++
				}
			}
		}
		if wish.Continue = list.Continue; wish.Continue == "" {
			return removed, errors.Join(errs...)
		}
	}
}
