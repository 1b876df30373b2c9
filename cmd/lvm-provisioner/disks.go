package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/directory"
)

// output is how a command prints.
type output struct{ format string }

// Flags declares the flags.
func (o *output) Flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "table for people, json for programs (sizes in bytes)")
}

// disks is what the commands share that work on this machine's disks.
type disks struct {
	place
	output
	metadataOnly bool
}

// place is where lvm runs, and the base directory beside it.
type place struct{ lvm, base string }

// Flags declares the flags.
func (p *place) Flags(f *pflag.FlagSet) {
	f.StringVar(&p.lvm, "lvm", string(lvm.InContainer), "where lvm runs: container is this program's own, which must have the host's /etc/lvm and /run/lock/lvm; "+
		"nsenter is the machine, whose own lvm is used (in a pod: hostPID and privileged); none is for machines without lvm, with --directory")
	f.StringVar(&p.base, "directory", "", "base directory of this machine for StorageClasses with backend dir, in a pod the host's under the same name (and hostPID); "+
		"lvm-provisioner base-directory marks it; empty is none")
}

// Validate tells what is wrong with the flags.
func (p *place) Validate() error {
	if p.base != "" && !filepath.IsAbs(p.base) {
		return fmt.Errorf("--directory is %q: use an absolute path", p.base)
	}
	if p.lvm == string(lvm.Nowhere) && p.base == "" {
		return errors.New("--lvm is none and --directory is not set: there would be nothing to serve, name the base directory")
	}
	if !slices.Contains(lvm.Places, lvm.Place(p.lvm)) {
		return fmt.Errorf("--lvm is %q: use container, nsenter or none", p.lvm)
	}
	return nil
}

// Runner runs the machine's commands.
func (p *place) Runner() lvm.Exec { return lvm.Exec{Place: lvm.Place(p.lvm)} }

// SelfTest is the one of this runner.
func (p *place) SelfTest() lvm.SelfTest {
	return lvm.SelfTest{Runner: p.Runner(), Place: lvm.Place(p.lvm), Base: p.base}
}

// Watch tells of changes that others make to volume groups, where there are any.
func (p *place) Watch() func(context.Context, func(vg string, seqno int)) error {
	if p.lvm == string(lvm.Nowhere) {
		return nil
	}
	return p.SelfTest().Watch
}

// Storage has what is beside lvm, or in its place.
func (p *place) Storage() (options []lvm.Option) {
	if p.base != "" {
		options = append(options, lvm.Beside(directory.New(p.base, p.SelfTest().Mounted)))
	}
	if p.lvm == string(lvm.Nowhere) {
		options = append(options, lvm.WithoutLVM())
	}
	return options
}

// Flags declares the flags.
func (d *disks) Flags(f *pflag.FlagSet) {
	d.place.Flags(f)
	d.output.Flags(f)
	f.BoolVar(&d.metadataOnly, "metadata-only", false, "use the metadata without device-mapper; no volume is then seen as active")
}

// Validate tells what is wrong with the flag.
func (o *output) Validate() error {
	if o.format != "table" && o.format != "json" {
		return fmt.Errorf("--output is %q: use table or json", o.format)
	}
	return nil
}

// Validate tells what is wrong with the flags.
func (d *disks) Validate() error { return errors.Join(d.output.Validate(), d.place.Validate()) }

// System is the machine's lvm.
func (d *disks) System(options ...lvm.Option) *lvm.System {
	if d.metadataOnly {
		options = append(options, lvm.MetadataOnly())
	}
	return lvm.New(d.Runner(), append(options, d.Storage()...)...)
}

// Print writes the JSON form where it is asked for, else what table writes.
func (o *output) Print(w io.Writer, v any, table func(io.Writer)) error {
	if o.format != "json" {
		table(w)
		return nil
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
