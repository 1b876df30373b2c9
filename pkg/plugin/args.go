package plugin

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// argsKind is the kind of the plugin's args. A configuration may leave it out, as
// it may for the plugins of Kubernetes.
func argsKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "scheduler.berth.dev", Version: "v1", Kind: "VolumeHomeArgs"}
}

// VolumeHomeArgs is what pluginConfig of a KubeSchedulerConfiguration may say to
// the plugin. Every field has a default.
type VolumeHomeArgs struct {
	metav1.TypeMeta `json:",inline"`
	// ConfirmTimeout is how long a pod with new volumes waits for the API server
	// to say that it is the one to which the nodes have reported. 15s by default.
	ConfirmTimeout *metav1.Duration `json:"confirmTimeout,omitempty"`
	// RetryDelay is how long a pod rests when the API server did not say so. 1s
	// by default.
	RetryDelay *metav1.Duration `json:"retryDelay,omitempty"`
	// NewVolumeEvents says on each pod that it gets a blank volume, and where,
	// so that nobody has to guess which members were new. true by default.
	NewVolumeEvents *bool `json:"newVolumeEvents,omitempty"`
}

// DeepCopyObject makes the args a runtime.Object.
func (a *VolumeHomeArgs) DeepCopyObject() runtime.Object {
	c := *a
	return &c // pointers are replaced and never written through
}

// withDefaults fills in what the configuration leaves out.
func (a VolumeHomeArgs) withDefaults() VolumeHomeArgs {
	if a.ConfirmTimeout == nil {
		a.ConfirmTimeout = &metav1.Duration{Duration: 15 * time.Second}
	}
	if a.RetryDelay == nil {
		a.RetryDelay = &metav1.Duration{Duration: time.Second}
	}
	if a.NewVolumeEvents == nil {
		yes := true
		a.NewVolumeEvents = &yes
	}
	return a
}

// Validate names all that is wrong with args that have their defaults.
func (a VolumeHomeArgs) Validate() error {
	var problems []error
	if d := a.ConfirmTimeout.Duration; d < time.Second || d > 10*time.Minute {
		problems = append(problems, fmt.Errorf("confirmTimeout %s: expected 1s to 10m", d))
	}
	if d := a.RetryDelay.Duration; d < 10*time.Millisecond || d > time.Minute {
		problems = append(problems, fmt.Errorf("retryDelay %s: expected 10ms to 1m", d))
	}
	return errors.Join(problems...)
}

// readArgs decodes what the scheduler hands over: nothing, or the text of the
// configuration, of which it does not know the kind.
func readArgs(o runtime.Object) (VolumeHomeArgs, error) {
	var args VolumeHomeArgs
	switch o := o.(type) {
	case nil:
	case *VolumeHomeArgs:
		args = *o
	case *runtime.Unknown:
		if err := decodeArgs(o.Raw, &args); err != nil {
			return VolumeHomeArgs{}, err
		}
	default:
		return VolumeHomeArgs{}, fmt.Errorf("expected %s, got %T", argsKind().Kind, o)
	}
	args = args.withDefaults()
	return args, args.Validate()
}

func decodeArgs(raw []byte, into *VolumeHomeArgs) error {
	if len(raw) == 0 {
		return nil
	}
	kind := argsKind()
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(kind, &VolumeHomeArgs{})
	strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	_, got, err := strict.Decode(raw, &kind, into)
	if err != nil {
		return err
	}
	if *got != kind {
		return fmt.Errorf("expected %s, got %s", kind, got)
	}
	return nil
}
