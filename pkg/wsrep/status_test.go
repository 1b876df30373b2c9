package wsrep

import (
	"strings"
	"testing"
)

func TestLostApplier(t *testing.T) {
	lost := Status{State: "3", Cluster: "Primary", Queued: 1203, Appliers: 1, Wanted: 2}
	for name, c := range map[string]struct {
		change func(*Status)
		want   bool
	}{
		"one of two has ended":        {func(*Status) {}, true},
		"the only one has ended":      {func(s *Status) { s.Appliers, s.Wanted = 0, 1 }, true},
		"synced":                      {func(s *Status) { s.State = "4" }, true},
		"a joiner":                    {func(s *Status) { s.State = "1" }, false},
		"a donor":                     {func(s *Status) { s.State = "2" }, false},
		"unreadable":                  {func(s *Status) { s.Appliers = -1; s.set("wsrep_applier_thread_count", "two") }, false},
		"all are there":               {func(s *Status) { s.Appliers = 2 }, false},
		"more than there should be":   {func(s *Status) { s.Appliers = 4 }, false},
		"nothing waits":               {func(s *Status) { s.Queued = 0 }, false},
		"in no Primary component":     {func(s *Status) { s.Cluster = "non-Primary" }, false},
		"a server that does not tell": {func(s *Status) { s.Appliers = -1 }, false},
		"neither how many there are":  {func(s *Status) { s.Appliers, s.Wanted = -1, 0 }, false},
	} {
		s := lost
		c.change(&s)
		if got := s.LostApplier(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestUnfit(t *testing.T) {
	fit := Status{State: "4", Cluster: "Primary", Ready: "ON", Rejects: "NONE"}
	tests := []struct {
		name   string
		change func(*Status)
		want   string
	}{
		{"synced", func(*Status) {}, ""},
		{"donor or desynced", func(s *Status) { s.State = "2" }, "Donor or Desynced"},
		{"non-primary", func(s *Status) { s.Cluster = "non-Primary" }, "not in a Primary"},
		{"not ready", func(s *Status) { s.Ready = "OFF" }, "takes no queries"},
		{"rejecting", func(s *Status) { s.Rejects = "ALL" }, "told to reject"},
		{"silent", func(s *Status) { *s = Status{} }, "not in a Primary"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := fit
			test.change(&s)
			got := s.Unfit()
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("unfit %q, want %q", got, test.want)
			}
		})
	}
}
