package provisioning

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/test/controlplane"
	"github.com/berth-dev/berth/test/mutant"
)

// within is how many sequences, from seed 1, have to find each mutant.
const within = "200"

// Mutants of the provisioner, and of what stands between it and a blank volume:
// each is the real source with one defence taken out. All are in one test binary,
// and the environment says which of them is awake: ON in the new text.
var mutants = []struct {
	name    string
	want    string // what the finding says
	changes []mutant.Mutation
}{
	{"a PV is named after its node", "no convergence", []mutant.Mutation{{File: "pkg/provisioner/persistentvolume.go",
		Old: "Name:        volume.PVName(v.LV.UUID),", New: "Name:        volume.PVName(v.LV.UUID) + map[bool]string{true: a.node}[ON],"}}},
	{"a file system does not grow with its volume", "no convergence", []mutant.Mutation{{File: "pkg/provisioner/grow.go",
		Old: "if v.Tags.FSType != filesystem.None &&", New: "if !(ON) && v.Tags.FSType != filesystem.None &&"}}},
	{"the trash has no deadline", "I2: ", []mutant.Mutation{{File: "pkg/provisioner/wipe.go",
		Old: "a.clock.Now().Unix() < v.Tags.Retirement.Deadline", New: "!(ON) && a.clock.Now().Unix() < v.Tags.Retirement.Deadline"}}},
	{"wiping begins without a mark", "wiped before it was marked", []mutant.Mutation{{File: "pkg/provisioner/wipe.go",
		Old: "if v.Tags.State == volume.Wiping {", New: "if v.Tags.State == volume.Wiping || ON && a.clock.Now().Unix() >= v.Tags.Retirement.Deadline {"}}},
	{"nodes that are silent hold nothing", "I3: ", []mutant.Mutation{{File: "pkg/placement/decide.go",
		Old: "\tif f.SilentCount > 0 {\n\t\treturn nodeNotReported(c, f)", New: "\tif !(ON) && f.SilentCount > 0 {\n\t\treturn nodeNotReported(c, f)"}}},
	{"neither scheduler nor agent looks for siblings", "I4: ", []mutant.Mutation{
		{File: "pkg/placement/judge.go", Old: "sibling, taken := v.taken[r.Node]; taken {", New: "sibling, taken := v.taken[r.Node]; taken && !(ON) {"},
		{File: "pkg/placement/judge.go", Old: "taken := v.takenGroups[p.VG]; taken {", New: "taken := v.takenGroups[p.VG]; taken && !(ON) {"},
		{File: "pkg/provisioner/blank.go", Old: "o.Tags.State == volume.Ready &&", New: "o.Tags.State == volume.Ready && !(ON) &&"},
	}},
	{"room is not looked at", "I5: ", []mutant.Mutation{{File: "pkg/placement/judge.go",
		Old: "if need > free {", New: "if need > free && !(ON) {"}}},
	{"free space is published beside a hidden volume", "I3: ", []mutant.Mutation{{File: "pkg/provisioner/pass.go",
		Old: "if !hidden.Has(s.vg.UUID) {", New: "if ON || !hidden.Has(s.vg.UUID) {"}}},
	{"free space is published when a volume could not be", "I3: ", []mutant.Mutation{{File: "pkg/provisioner/pass.go",
		Old: "return err // what is published of the capacity stays as it is", New: "if !(ON) {\n\t\t\treturn err\n\t\t}"}}},
	{"a report counts without being compared with the API server", "I3: ", []mutant.Mutation{{File: "pkg/inventory/report.go",
		Old: "return c.shown[uid]", New: "return ON || c.shown[uid]"}}},
	{"agents of one machine do not take turns", "I2: ", []mutant.Mutation{{File: "pkg/provisioner/alone.go",
		Old: "unlock, err := a.links.Lock()", New: "unlock, err := a.links.Lock()\n\tif ON {\n\t\tif err == nil {\n\t\t\tunlock()\n\t\t}\n\t\tunlock, err = func() {}, nil\n\t}"}}},
	{"promises of room are not kept", "I5: ", []mutant.Mutation{{File: "pkg/placement/judge.go",
		Old: "free := p.Free - p.Promised", New: "free := p.Free\n\tif !(ON) {\n\t\tfree -= p.Promised\n\t}"}}},
}

// TestMutantsAreFound shows that the random sequences of pkg/provisioner can fail.
func TestMutantsAreFound(t *testing.T) {
	binary := buildMutants(t)
	directory, err := controlplane.Repository("pkg/provisioner")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestRandomSequences$")
			cmd.Dir = directory
			cmd.Env = append(os.Environ(), "MUTANT="+m.name, "SEED=1", "SEQUENCES="+within, "SHRINK=0")
			out, err := cmd.CombinedOutput()
			finding := findingOf(string(out))
			if err == nil || !strings.Contains(finding, m.want) {
				t.Fatalf("not found (%v): %q", err, finding)
			}
			t.Log(finding)
		})
	}
}

// buildMutants builds the provisioner's tests with all mutants asleep in it.
func buildMutants(t *testing.T) string {
	var all []mutant.Mutation
	imported := map[string]bool{"pkg/provisioner/alone.go": true} // has package os
	for _, m := range mutants {
		for _, change := range m.changes {
			change.New = strings.ReplaceAll(change.New, "ON", `os.Getenv("MUTANT") == "`+m.name+`"`)
			if all = append(all, change); !imported[change.File] {
				all = append(all, mutant.Mutation{File: change.File, Old: "\nimport ", New: "\nimport \"os\"\nimport "})
			}
			imported[change.File] = true
		}
	}
	overlay, err := mutant.Overlay(t.TempDir(), all)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "provisioner.test")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary}, overlay...), "./pkg/provisioner")...)
	if cmd.Dir, err = controlplane.Repository("."); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the mutants: %v\n%s", err, out)
	}
	return binary
}

// findingOf is the line of the output that says which seed has a problem.
func findingOf(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, " seed ") {
			return strings.TrimSpace(line)
		}
	}
	return out[max(0, len(out)-1000):]
}
