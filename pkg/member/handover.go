package member

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// The hand-over is the report of the init container, with which the main
// container goes on. It is used once: a container that starts again looks at
// its volume again.

func handoverFile(runDir string) string { return filepath.Join(runDir, "handover.json") }

// UnreportedFile is where a member that started its server without an API server
// leaves its report, for the sidecar to make up for.
func UnreportedFile(runDir string) string { return filepath.Join(runDir, "unreported.json") }

// EndFile is how the sidecar asks for the end of a server that takes no
// connections: while it is there, the container's liveness probe fails.
func EndFile(runDir string) string { return filepath.Join(runDir, "end-server") }

// clearEnd takes the request away: it was for the run before this one.
func clearEnd(runDir string) error {
	if err := os.Remove(EndFile(runDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take away the request to end the server: %w", err)
	}
	return nil
}

func writeHandover(runDir string, report rebuild.Report) error {
	return writeReport(handoverFile(runDir), report)
}

func writeReport(path string, report rebuild.Report) error {
	content, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write hand-over: %w", err)
	}
	return datadir.WriteFile(path, append(content, '\n'), 0o660)
}

// takeHandover reads the hand-over and removes it. One of another pod does not count.
func takeHandover(runDir, podUID string) (rebuild.Report, bool, error) {
	content, err := os.ReadFile(handoverFile(runDir))
	if errors.Is(err, fs.ErrNotExist) {
		return rebuild.Report{}, false, nil
	}
	if err != nil {
		return rebuild.Report{}, false, fmt.Errorf("read hand-over: %w", err)
	}
	if err := os.Remove(handoverFile(runDir)); err != nil {
		return rebuild.Report{}, false, fmt.Errorf("use hand-over: %w", err)
	}
	var report rebuild.Report
	if err := json.Unmarshal(content, &report); err != nil || report.PodUID != podUID {
		return rebuild.Report{}, false, nil // useless, and gone: the volume is looked at again
	}
	return report, true, nil
}
