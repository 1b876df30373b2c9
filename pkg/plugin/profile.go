package plugin

import (
	"errors"
	"fmt"
	"slices"

	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
)

// profile tells which plugins a profile has at each extension point.
type profile interface {
	ListPlugins() *config.Plugins
}

// profileOf is the profile behind the handle. The interface of v1.37 does not show
// it, and every handle of its scheduler has it.
func profileOf(h fwk.Handle) profile {
	p, _ := h.(profile)
	return p
}

// checkProfile names all that is wrong with the profile that enables the plugin. A
// pod with new volumes is tried on the best nodes first: PostFilter has to ask for
// a wider look before any other plugin evicts somebody for it, or nobody would ever
// look wider.
func checkProfile(p profile) error {
	if p == nil {
		return fmt.Errorf("check the profile of %s: this scheduler does not tell its plugins; %s is made for v1.37", Name, Name)
	}
	plugins := p.ListPlugins()
	var problems []error
	for _, point := range []struct {
		name string
		set  config.PluginSet
	}{
		{"preEnqueue", plugins.PreEnqueue}, {"preFilter", plugins.PreFilter}, {"postFilter", plugins.PostFilter},
		{"reserve", plugins.Reserve}, {"permit", plugins.Permit},
	} {
		if position(point.set) < 0 {
			problems = append(problems, fmt.Errorf("%s is not enabled at %s, and cannot do without: add it to plugins.multiPoint.enabled", Name, point.name))
		}
	}
	if first := plugins.PostFilter.Enabled; position(plugins.PostFilter) > 0 {
		problems = append(problems, fmt.Errorf("%s comes before %s at postFilter and could evict pods for a member that has a place elsewhere:"+
			" add %s to plugins.postFilter.enabled, as the first", first[0].Name, Name, Name))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("check the profile: %w", err)
	}
	return nil
}

// position is the plugin's place in the set, or -1.
func position(set config.PluginSet) int {
	return slices.IndexFunc(set.Enabled, func(e config.Plugin) bool { return e.Name == Name })
}
