package provisioner

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// apiServer is an API server in memory that, other than the fake's own, gives
// objects a UID and a version and refuses writes to another object or version.
type apiServer struct {
	tracker clienttesting.ObjectTracker
	base    clienttesting.ReactionFunc
	count   int
}

// The resources that the tests wipe.
var (
	pvResource       = corev1.SchemeGroupVersion.WithResource("persistentvolumes")
	claimResource    = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	nodeResource     = corev1.SchemeGroupVersion.WithResource("nodes")
	namespaces       = corev1.SchemeGroupVersion.WithResource("namespaces")
	capacityResource = storagev1.SchemeGroupVersion.WithResource("csistoragecapacities")
)

func newAPIServer() *apiServer {
	s := &apiServer{tracker: clienttesting.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder())}
	s.base = clienttesting.ObjectReaction(s.tracker)
	return s
}

// client is a connection; before sees each call first and may answer it.
func (s *apiServer) client(before clienttesting.ReactionFunc) *fake.Clientset {
	c := &fake.Clientset{}
	c.AddReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if before != nil {
			if handled, o, err := before(a); handled {
				return true, o, err
			}
		}
		return s.react(a)
	})
	return c
}

func (s *apiServer) next() string {
	s.count++
	return strconv.Itoa(s.count)
}

func (s *apiServer) react(a clienttesting.Action) (bool, runtime.Object, error) {
	switch a := a.(type) {
	case clienttesting.CreateActionImpl:
		o, err := meta.Accessor(a.GetObject())
		if err != nil {
			return true, nil, err
		}
		if o.GetUID() == "" {
			o.SetUID(types.UID("uid-" + s.next()))
		}
		o.SetResourceVersion(s.next())
	case clienttesting.UpdateActionImpl:
		o, err := meta.Accessor(a.GetObject())
		if err != nil {
			return true, nil, err
		}
		if err := s.same(a.GetResource(), a.GetNamespace(), o.GetName(), o.GetUID(), o.GetResourceVersion()); err != nil {
			return true, nil, err
		}
		o.SetResourceVersion(s.next())
	case clienttesting.PatchActionImpl:
		var patch struct{ Metadata metav1.ObjectMeta }
		if err := json.Unmarshal(a.GetPatch(), &patch); err != nil {
			return true, nil, err
		}
		if err := s.same(a.GetResource(), a.GetNamespace(), a.GetName(), patch.Metadata.UID, patch.Metadata.ResourceVersion); err != nil {
			return true, nil, err
		}
		handled, got, err := s.base(a)
		if err == nil {
			o, _ := meta.Accessor(got)
			o.SetResourceVersion(s.next())
			err = s.tracker.Update(a.GetResource(), got, a.GetNamespace())
		}
		return handled, got, err
	case clienttesting.DeleteActionImpl:
		if p := a.GetDeleteOptions().Preconditions; p != nil && p.UID != nil {
			if err := s.same(a.GetResource(), a.GetNamespace(), a.GetName(), *p.UID, ""); err != nil {
				return true, nil, err
			}
		}
	}
	return s.base(a)
}

// same fails unless the object is there, and is the one that is meant.
func (s *apiServer) same(r schema.GroupVersionResource, namespace, name string, uid types.UID, version string) error {
	got, err := s.tracker.Get(r, namespace, name)
	if err != nil {
		return err
	}
	o, err := meta.Accessor(got)
	if err != nil {
		return err
	}
	if uid != "" && o.GetUID() != uid || version != "" && o.GetResourceVersion() != version {
		return apierrors.NewConflict(r.GroupResource(), name, fmt.Errorf("version %s is asked for, %s is there", version, o.GetResourceVersion()))
	}
	return nil
}

// errCut is what a call returns that was cut off.
var errCut = errors.New("injected: no answer")

// errRefused is what an agent is told whose write is not taken.
var errRefused = errors.New("injected: failed calling webhook")
