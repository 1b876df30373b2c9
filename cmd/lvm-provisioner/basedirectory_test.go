package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// A directory is marked once, and shows in the inventory of a machine without lvm;
// one that is not marked, as when its disk is away, is not taken for one.
func TestBaseDirectory(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := command()
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	inventory := []string{"inventory", "--lvm=none", "--directory", dir}
	if out, err := run(inventory...); err != nil || !strings.Contains(out, "No volume groups") {
		t.Errorf("before it is marked: %q, %v", out, err)
	}
	if out, err := run("base-directory", dir); err != nil || !strings.Contains(out, dir+" is a base directory (UUID ") {
		t.Errorf("marked: %q, %v", out, err)
	}
	if _, err := run("base-directory", dir); err == nil || !strings.Contains(err.Error(), "is not empty, it holds berth-directory.json") {
		t.Errorf("marked again: %v", err)
	}
	if out, err := run(inventory...); err != nil || !strings.Contains(out, dir) {
		t.Errorf("inventory: %q, %v", out, err)
	}
	if _, err := run("base-directory", filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there was marked")
	}
}
