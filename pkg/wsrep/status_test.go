package wsrep

import (
	"strings"
	"testing"
)

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
