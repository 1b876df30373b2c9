package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/pkg/lvm"
)

// disks is what the commands share that work on this machine's disks alone.
type disks struct {
	output       string
	metadataOnly bool
}

// Flags declares the flags.
func (d *disks) Flags(f *pflag.FlagSet) {
	f.StringVarP(&d.output, "output", "o", "table", "table for people, json for programs (sizes in bytes)")
	f.BoolVar(&d.metadataOnly, "metadata-only", false, "use the metadata without device-mapper; no volume is then seen as active")
}

// Validate tells what is wrong with the flags.
func (d *disks) Validate() error {
	if d.output != "table" && d.output != "json" {
		return fmt.Errorf("--output is %q: use table or json", d.output)
	}
	return nil
}

// System is the machine's lvm.
func (d *disks) System() *lvm.System {
	var options []lvm.Option
	if d.metadataOnly {
		options = append(options, lvm.MetadataOnly())
	}
	return lvm.New(lvm.Exec{}, options...)
}

// Print writes the JSON form where it is asked for, else what table writes.
func (d *disks) Print(w io.Writer, v any, table func(io.Writer)) error {
	if d.output != "json" {
		table(w)
		return nil
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
