package galeracluster

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// Resource is the API resource of GaleraCluster objects.
var Resource = schema.GroupVersionResource{Group: "berth.dev", Version: "v1alpha1", Resource: "galeraclusters"}

// Object is a GaleraCluster. It has the name of its StatefulSet but no owner: it
// must outlive a StatefulSet that is deleted and made again.
type Object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              rebuild.Spec    `json:"spec,omitzero"`
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
	c := &o.Status
	c.Namespace, c.Name, c.Generation, c.Spec = o.Namespace, o.Name, o.Generation, o.Spec
	return &o, nil
}

// Decode reads a saved object, in YAML or JSON, as the state that it was.
func Decode(content []byte) (rebuild.Cluster, error) {
	var u unstructured.Unstructured
	if err := yaml.UnmarshalStrict(content, &u.Object); err != nil {
		return rebuild.Cluster{}, fmt.Errorf("decode GaleraCluster: %w", err)
	}
	if kind := u.GroupVersionKind(); kind != Resource.GroupVersion().WithKind("GaleraCluster") {
		return rebuild.Cluster{}, fmt.Errorf("decode GaleraCluster: the file holds a %s", kind)
	}
	o, err := decode(&u)
	if err != nil {
		return rebuild.Cluster{}, err
	}
	return o.Status, nil
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
