package galeracluster

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/rebuild"
)

// callTimeout bounds one request, so that a silent API server is an error like
// any other.
const callTimeout = 15 * time.Second

// Store keeps one GaleraCluster object.
type Store struct {
	client dynamic.ResourceInterface
	key    klog.ObjectRef
	// pause is the time between two tries after an error of the API.
	pause time.Duration
}

// NewStore makes a store for the object of this name.
func NewStore(client dynamic.Interface, namespace, name string) *Store {
	return &Store{
		client: client.Resource(Resource).Namespace(namespace),
		key:    klog.KRef(namespace, name),
		pause:  time.Second,
	}
}

// Get reads the object's state.
func (s *Store) Get(ctx context.Context) (rebuild.Cluster, error) {
	o, err := s.get(ctx)
	if err != nil {
		return rebuild.Cluster{}, err
	}
	return o.Status, nil
}

// Update applies a change by compare-and-swap and makes the object when there
// is none. The change is called again on the newer state when somebody else was
// faster; it says whether there is anything to write. The state that is
// answered is the one that the API server holds.
func (s *Store) Update(ctx context.Context, change func(*rebuild.Cluster) bool) (rebuild.Cluster, error) {
	for {
		o, err := s.get(ctx)
		if apierrors.IsNotFound(err) {
			o, err = s.create(ctx)
			if apierrors.IsAlreadyExists(err) {
				continue
			}
		}
		if err != nil {
			return rebuild.Cluster{}, fmt.Errorf("update GaleraCluster %s: %w", s.key, err)
		}
		if !change(&o.Status) {
			return o.Status, nil
		}
		o.Status.Conclude(time.Now())
		u, err := encode(o)
		if err != nil {
			return rebuild.Cluster{}, err
		}
		u, err = s.write(ctx, u)
		switch {
		case apierrors.IsConflict(err):
			continue
		case err != nil:
			return rebuild.Cluster{}, fmt.Errorf("update GaleraCluster %s: %w", s.key, err)
		}
		if o, err = decode(u); err != nil {
			return rebuild.Cluster{}, err
		}
		return o.Status, nil
	}
}

func (s *Store) get(ctx context.Context) (*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u, err := s.client.Get(ctx, s.key.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode(u)
}

func (s *Store) write(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.client.UpdateStatus(ctx, u, metav1.UpdateOptions{})
}

func (s *Store) create(ctx context.Context) (*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u, err := encode(newObject(s.key.Namespace, s.key.Name))
	if err != nil {
		return nil, err
	}
	if u, err = s.client.Create(ctx, u, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	return decode(u)
}

// Watch delivers the state now and after each change, until the context ends. A
// slow reader misses states in between but never the newest. An object that is
// gone is delivered as an empty state, so that its members report again.
func (s *Store) Watch(ctx context.Context) <-chan rebuild.Cluster {
	newest := make(chan rebuild.Cluster, 1)
	go func() {
		defer close(newest)
		for ctx.Err() == nil {
			if err := s.follow(ctx, newest); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Info("Cannot watch the GaleraCluster object; waiting and trying again", "object", s.key, "err", err)
				select {
				case <-ctx.Done():
				case <-time.After(s.pause):
				}
			}
		}
	}()
	return newest
}

// follow reads the object and delivers its changes until the watch ends.
func (s *Store) follow(ctx context.Context, newest chan rebuild.Cluster) error {
	list, err := s.client.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.key.Name})
	if err != nil {
		return err
	}
	var state rebuild.Cluster
	if len(list.Items) > 0 {
		o, err := decode(&list.Items[0])
		if err != nil {
			return err
		}
		state = o.Status
	}
	deliver(newest, state)
	w, err := s.client.Watch(ctx, metav1.ListOptions{
		FieldSelector:   "metadata.name=" + s.key.Name,
		ResourceVersion: list.GetResourceVersion(),
	})
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Error:
			return apierrors.FromObject(event.Object)
		case watch.Deleted:
			deliver(newest, rebuild.Cluster{})
		case watch.Added, watch.Modified:
			u, err := toUnstructured(event.Object)
			if err != nil {
				return err
			}
			o, err := decode(u)
			if err != nil {
				return err
			}
			deliver(newest, o.Status)
		}
	}
	return nil
}

// deliver replaces an undelivered state; there is one writer.
func deliver(newest chan rebuild.Cluster, state rebuild.Cluster) {
	select {
	case <-newest:
	default:
	}
	newest <- state
}
