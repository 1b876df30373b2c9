package plugin

import (
	"strings"
	"testing"

	"k8s.io/kubernetes/pkg/scheduler/apis/config"
)

// listed is a profile that tells of these plugins.
type listed config.Plugins

func (l listed) ListPlugins() *config.Plugins { p := config.Plugins(l); return &p }

// TestProfile refuses a profile in which somebody may be evicted for a pod that has
// a place elsewhere, and one without what the plugin needs, and says what to change.
func TestProfile(t *testing.T) {
	set := func(names ...string) config.PluginSet {
		var s config.PluginSet
		for _, name := range names {
			s.Enabled = append(s.Enabled, config.Plugin{Name: name})
		}
		return s
	}
	whole := func(postFilter ...string) listed {
		return listed{
			PreEnqueue: set(Name), PreFilter: set("A", Name), PostFilter: set(postFilter...), Reserve: set("A", Name), Permit: set(Name),
		}
	}
	ungated := whole(Name)
	ungated.PreEnqueue = set("A")
	for _, x := range []struct {
		name    string
		profile profile
		want    []string // in the error; none for no error
	}{
		{"ours first", whole(Name, "DefaultPreemption"), nil},
		{"ours alone", whole(Name), nil},
		{"preemption first", whole("DefaultPreemption", Name), []string{"DefaultPreemption comes before", "plugins.postFilter.enabled, as the first"}},
		{"no wider look", whole("DefaultPreemption"), []string{"not enabled at postFilter", "multiPoint"}},
		{"no gate", ungated, []string{"not enabled at preEnqueue"}},
		{"nobody tells", nil, []string{"v1.37"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			err := checkProfile(x.profile)
			if (err != nil) != (x.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, words := range x.want {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("the error does not say %q: %v", words, err)
				}
			}
		})
	}
}
