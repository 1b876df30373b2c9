package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestArgs(t *testing.T) {
	defaults := VolumeHomeArgs{}.withDefaults()
	for _, x := range []struct {
		name, text string
		want       func(*VolumeHomeArgs)
		problems   []string
	}{
		{name: "nothing", text: ``, want: func(*VolumeHomeArgs) {}},
		{name: "no fields", text: `{}`, want: func(*VolumeHomeArgs) {}},
		{name: "kind and one field", text: `{"apiVersion": "scheduler.berth.dev/v1", "kind": "VolumeHomeArgs", "retryDelay": "2s"}`,
			want: func(a *VolumeHomeArgs) { a.RetryDelay = &metav1.Duration{Duration: 2 * time.Second} }},
		{name: "off stays off", text: `{"newVolumeEvents": false}`,
			want: func(a *VolumeHomeArgs) { *a.NewVolumeEvents = false }},
		{name: "unknown field", text: `{"retryDelays": "2s"}`, problems: []string{`unknown field "retryDelays"`}},
		{name: "field given twice", text: `{"retryDelay": "2s", "retryDelay": "3s"}`, problems: []string{"retryDelay"}},
		{name: "another kind", text: `{"apiVersion": "scheduler.berth.dev/v2", "kind": "VolumeHomeArgs"}`, problems: []string{"scheduler.berth.dev/v2"}},
		{name: "all problems at once", text: `{"confirmTimeout": "1ms", "retryDelay": "1h"}`, problems: []string{"confirmTimeout 1ms", "retryDelay 1h"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			got, err := readArgs(&runtime.Unknown{Raw: []byte(x.text), ContentType: runtime.ContentTypeJSON})
			for _, problem := range x.problems {
				if err == nil || !strings.Contains(err.Error(), problem) {
					t.Errorf("error %v, want one that says %s", err, problem)
				}
			}
			if len(x.problems) > 0 {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := VolumeHomeArgs{}.withDefaults()
			x.want(&want)
			got.TypeMeta = metav1.TypeMeta{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("args (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		got, err := readArgs(nil)
		if diff := cmp.Diff(defaults, got); err != nil || diff != "" {
			t.Errorf("error %v, args (-want +got):\n%s", err, diff)
		}
	})
}
