package galeracluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

var (
	statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	claims       = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	pods         = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	events       = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

// Shape is what a StatefulSet says about its members.
type Shape struct {
	Replicas     int
	FirstOrdinal int
	// OneByOne: each pod waits until the one before it is ready, which never
	// happens while the members wait for each other.
	OneByOne bool
}

// Workload reads the objects around one pod of a StatefulSet.
type Workload struct {
	client    dynamic.Interface
	namespace string
}

// NewWorkload makes a reader for a namespace.
func NewWorkload(client dynamic.Interface, namespace string) *Workload {
	return &Workload{client: client, namespace: namespace}
}

// Shape reads the StatefulSet of this name.
func (w *Workload) Shape(ctx context.Context, name string) (Shape, error) {
	u, err := w.client.Resource(statefulSets).Namespace(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Shape{}, fmt.Errorf("read StatefulSet %s/%s: %w", w.namespace, name, err)
	}
	var set appsv1.StatefulSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &set); err != nil {
		return Shape{}, fmt.Errorf("decode StatefulSet %s/%s: %w", w.namespace, name, err)
	}
	shape := Shape{Replicas: 1}
	if set.Spec.Replicas != nil {
		shape.Replicas = int(*set.Spec.Replicas)
	}
	if set.Spec.Ordinals != nil {
		shape.FirstOrdinal = int(set.Spec.Ordinals.Start)
	}
	shape.OneByOne = shape.Replicas > 1 && set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	return shape, nil
}

// VolumeName reads the name of the PersistentVolume to which a claim is bound.
func (w *Workload) VolumeName(ctx context.Context, claim string) (string, error) {
	u, err := w.client.Resource(claims).Namespace(w.namespace).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read claim %s/%s: %w", w.namespace, claim, err)
	}
	var c corev1.PersistentVolumeClaim
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c); err != nil {
		return "", fmt.Errorf("decode claim %s/%s: %w", w.namespace, claim, err)
	}
	if c.Spec.VolumeName == "" {
		return "", fmt.Errorf("claim %s/%s is not bound", w.namespace, claim)
	}
	return c.Spec.VolumeName, nil
}

// ReadyLabel says of a pod whether its server may serve clients.
const ReadyLabel = "berth.dev/ready"

// LabelReady keeps the label of a pod. A pod of the same name and another UID is
// left alone.
func (w *Workload) LabelReady(ctx context.Context, pod, podUID string, ready bool) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"labels":{%q:"%t"}}}`, podUID, ReadyLabel, ready)
	_, err := w.client.Resource(pods).Namespace(w.namespace).Patch(ctx, pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("label pod %s/%s: %w", w.namespace, pod, err)
	}
	return nil
}

// Event writes an event on a pod.
func (w *Workload) Event(ctx context.Context, pod, podUID, kind, code, text string) error {
	return w.event(ctx, corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: w.namespace, Name: pod, UID: types.UID(podUID)}, kind, code, text)
}

// ClusterEvent writes an event on the StatefulSet.
func (w *Workload) ClusterEvent(ctx context.Context, name, kind, code, text string) error {
	u, err := w.client.Resource(statefulSets).Namespace(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("write event on StatefulSet %s/%s: %w", w.namespace, name, err)
	}
	return w.event(ctx, corev1.ObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: w.namespace, Name: name, UID: u.GetUID()}, kind, code, text)
}

func (w *Workload) event(ctx context.Context, about corev1.ObjectReference, kind, code, text string) error {
	now := metav1.NewTime(time.Now())
	event := corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, GenerateName: about.Name + "."},
		InvolvedObject: about,
		Type:           kind, Reason: code, Message: limit(text, eventLimit), Count: 1,
		FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "galera-init"},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&event)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = w.client.Resource(events).Namespace(w.namespace).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("write event on %s %s/%s: %w", about.Kind, w.namespace, about.Name, err)
	}
	return nil
}

// eventLimit is what the API server takes as an event's message.
const eventLimit = 1024

func limit(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size-3], "") + "…"
}
