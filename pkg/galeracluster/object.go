package galeracluster

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Resource is the API resource of GaleraCluster objects.
var Resource = schema.GroupVersionResource{Group: "berth.dev", Version: "v1alpha1", Resource: "galeraclusters"}

// Object is a GaleraCluster. It has the name of its StatefulSet but no owner: it
// must outlive a StatefulSet that is deleted and made again.
type Object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Status            rebuild.Cluster `json:"status,omitzero"`
}

func newObject(namespace, name string) *Object {
	return &Object{
		TypeMeta:   metav1.TypeMeta{APIVersion: Resource.GroupVersion().String(), Kind: "GaleraCluster"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
}

func decode(u *unstructured.Unstructured) (*Object, error) {
	var o Object
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
		return nil, fmt.Errorf("decode GaleraCluster %s: %w", u.GetName(), err)
	}
	return &o, nil
}

func encode(o *Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode GaleraCluster %s: %w", o.Name, err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}

func toUnstructured(o runtime.Object) (*unstructured.Unstructured, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("decode GaleraCluster: unexpected %T", o)
	}
	return u, nil
}
