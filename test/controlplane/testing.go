package controlplane

import "testing"

// ForTest starts a control plane for a test and ends it with the test. An empty
// Dir means one of the test's own.
func ForTest(t testing.TB, config Config) *ControlPlane {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	c, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			t.Log(c.Logs())
		}
	})
	return c
}
