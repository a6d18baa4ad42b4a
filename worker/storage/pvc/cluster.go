package pvc

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long one request to the cluster may take.
const patience = 30 * time.Second

// Open finds the cluster as kubectl does, by KUBECONFIG or the file in the home folder, or else as a pod of it, and takes the
// claims of a namespace there.
func Open(ctx context.Context, cfg Config) (*Claims, error) {
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("storage: claims of namespace %s: %w", cfg.Namespace, err)
	}
	return c, nil
}

func open(ctx context.Context, cfg Config) (*Claims, error) {
	found, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	// Only the core group is known to this client: the whole clientset is 14 MB more.
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	found.GroupVersion, found.APIPath = &corev1.SchemeGroupVersion, "/api"
	found.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	found.Timeout, found.QPS, found.Burst = patience, 50, 100
	core, err := rest.RESTClientFor(found)
	if err != nil {
		return nil, err
	}
	var namespace corev1.Namespace
	if err := core.Get().Resource("namespaces").Name(cfg.Namespace).Do(ctx).Into(&namespace); err != nil {
		return nil, err
	}
	claims := gentype.NewClientWithList[*corev1.PersistentVolumeClaim, *corev1.PersistentVolumeClaimList](
		"persistentvolumeclaims", core, runtime.NewParameterCodec(scheme), cfg.Namespace,
		func() *corev1.PersistentVolumeClaim { return new(corev1.PersistentVolumeClaim) },
		func() *corev1.PersistentVolumeClaimList { return new(corev1.PersistentVolumeClaimList) })
	return New(claims, string(namespace.UID), cfg), nil
}
