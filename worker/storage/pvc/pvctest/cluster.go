// Package pvctest is a cluster for tests of claims: client-go's fake, with the claims of one namespace. It is what the fake
// clientset of client-go is made of, without the hundreds of packages of all other kinds.
package pvctest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	clienttest "k8s.io/client-go/testing"
)

// Namespace is where the claims are.
const Namespace = "agents"

var resource = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")

// API is client-go's fake of the claims.
type API = *gentype.FakeClientWithList[*corev1.PersistentVolumeClaim, *corev1.PersistentVolumeClaimList]

// Cluster has claims, and does to them what only a cluster can.
type Cluster struct {
	clienttest.Fake
	API     API
	t       *testing.T
	tracker clienttest.ObjectTracker
}

// New is a cluster without claims.
func New(t *testing.T) *Cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, tracker: clienttest.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())}
	c.AddReactor("*", "*", clienttest.ObjectReaction(c.tracker))
	c.API = gentype.NewFakeClientWithList[*corev1.PersistentVolumeClaim, *corev1.PersistentVolumeClaimList](
		&c.Fake, Namespace, resource, corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
		func() *corev1.PersistentVolumeClaim { return new(corev1.PersistentVolumeClaim) },
		func() *corev1.PersistentVolumeClaimList { return new(corev1.PersistentVolumeClaimList) },
		func(to, from *corev1.PersistentVolumeClaimList) { to.ListMeta = from.ListMeta },
		func(l *corev1.PersistentVolumeClaimList) []*corev1.PersistentVolumeClaim {
			return gentype.ToPointerSlice(l.Items)
		},
		func(l *corev1.PersistentVolumeClaimList, items []*corev1.PersistentVolumeClaim) {
			l.Items = gentype.FromPointerSlice(items)
		})
	return c
}

// Claim is a claim as the cluster has it; nil: none.
func (c *Cluster) Claim(name string) *corev1.PersistentVolumeClaim {
	c.t.Helper()
	claim, err := c.API.Get(c.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return claim
}

// Put changes a claim behind the back of the worker, or makes it.
func (c *Cluster) Put(name string, change func(*corev1.PersistentVolumeClaim)) {
	c.t.Helper()
	claim := c.Claim(name)
	var err error
	if claim == nil {
		claim = &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace}}
		change(claim)
		err = c.tracker.Create(resource, claim, Namespace)
	} else {
		change(claim)
		err = c.tracker.Update(resource, claim, Namespace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Bind gives a claim a volume of so many bytes.
func (c *Cluster) Bind(name string, bytes int64) {
	c.t.Helper()
	c.Put(name, func(p *corev1.PersistentVolumeClaim) {
		p.Status.Phase, p.Status.Capacity = corev1.ClaimBound, corev1.ResourceList{corev1.ResourceStorage: *quantity.NewQuantity(bytes, quantity.BinarySI)}
	})
}

// Protect has the cluster keep claims that are deleted, as it does with those that a pod uses, until Free.
func (c *Cluster) Protect() {
	c.PrependReactor("delete", "persistentvolumeclaims", func(a clienttest.Action) (bool, runtime.Object, error) {
		claim, err := c.tracker.Get(resource, Namespace, a.(clienttest.DeleteAction).GetName())
		if err != nil {
			return true, nil, err
		}
		claim.(*corev1.PersistentVolumeClaim).DeletionTimestamp = new(metav1.Now())
		return true, nil, c.tracker.Update(resource, claim, Namespace)
	})
}

// Free ends the pod that used a claim which is deleted.
func (c *Cluster) Free(name string) {
	c.t.Helper()
	if err := c.tracker.Delete(resource, Namespace, name); err != nil {
		c.t.Fatal(err)
	}
}

// Refuse has the cluster answer a verb with an error.
func (c *Cluster) Refuse(verb string, err error) {
	c.PrependReactor(verb, "persistentvolumeclaims", func(clienttest.Action) (bool, runtime.Object, error) { return true, nil, err })
}
