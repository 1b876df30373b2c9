package innodb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mandatory are files without which MariaDB 10.4 and later does not come up, or
// comes up with an empty database in place of the lost one.
var mandatory = []string{"ib_logfile0", "mysql/global_priv.frm", "mysql/global_priv.MAI", "mysql/global_priv.MAD"}

func (v *verification) checkMandatory() {
	if v.layout.mysql8 {
		return
	}
	names := []string{"ibdata1"}
	if v.opt.SystemFiles != nil {
		names = v.opt.SystemFiles
	}
	for _, name := range append(names[:len(names):len(names)], mandatory...) {
		info, err := os.Stat(filepath.Join(v.dir, name))
		if v.opt.LogDir != "" && name == "ib_logfile0" {
			info, err = os.Stat(filepath.Join(v.opt.LogDir, name))
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.findFile(Fatal, FileMissing, name, "a file that the server cannot do without", "no such file")
		case err != nil:
			v.find(unreadable(name, err))
		case !info.Mode().IsRegular() || info.Size() == 0:
			v.findFile(Fatal, FileMissing, name, "a file with content", fmt.Sprintf("%s of %d bytes", info.Mode().Type(), info.Size()))
		}
	}
}

// Table definitions (sql/table.cc): binary ones begin with 0xfe 0x01 and have
// their length at byte 10; views are text.
const (
	frmHeader = 64
	frmLength = 10
)

// checkDefinitions compares table definitions with tablespaces. Without its .frm
// the server does not know a table.
func (v *verification) checkDefinitions() {
	if v.layout.mysql8 {
		return
	}
	defined, ddl := map[string]bool{}, v.pendingDDL()
	for _, name := range v.layout.frms {
		defined[strings.TrimSuffix(name, ".frm")] = true
		if table := strings.TrimSuffix(filepath.Base(name), ".frm"); !bytes.Contains(ddl, []byte(table)) && !strings.HasPrefix(table, "#sql") {
			v.checkDefinition(name)
		}
	}
	for _, f := range v.layout.files {
		if f.kind != kindTable || isHidden(f.table) {
			continue
		}
		table, _, _ := strings.Cut(f.table, "#P#") // partitions share a definition
		table, _, _ = strings.Cut(table, "#p#")
		if !defined[table] && !v.excused(f.name, f.space.ID) && !bytes.Contains(ddl, []byte(filepath.Base(table))) {
			v.findFile(v.verdictOf(f), FrmMissing, f.name, "a table definition "+table+".frm", "no such file")
		}
	}
}

// isHidden tells tables that only InnoDB knows: those of full-text indexes.
func isHidden(table string) bool { return strings.HasPrefix(filepath.Base(table), "FTS_") }

// pendingDDL is the content of the server's log of statements that recovery
// finishes; the tables that it names may be in any state before that.
func (v *verification) pendingDDL() []byte {
	if v.report.Recovered {
		return nil
	}
	const limit = 16 << 20
	f, err := os.Open(filepath.Join(v.dir, "ddl_recovery.log"))
	if err != nil {
		return nil
	}
	defer f.Close()
	content, _ := io.ReadAll(io.LimitReader(f, limit))
	return content
}

func (v *verification) checkDefinition(name string) {
	f, err := openRegular(filepath.Join(v.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		v.find(unreadable(name, err))
		return
	}
	defer f.Close()
	head := make([]byte, frmHeader)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		v.find(unreadable(name, err))
		return
	}
	info, err := f.Stat()
	if err != nil {
		v.find(unreadable(name, err))
		return
	}
	if found := frmFault(head[:n], info.Size()); found != "" {
		verdict := Fatal
		if v.report.InUse {
			verdict = NotVerified
		}
		v.findFile(verdict, FrmDamaged, name, "a table definition", found)
	}
}

// frmFault says what is wrong with a definition, or nothing.
func frmFault(head []byte, size int64) string {
	switch {
	case size == 0:
		return "an empty file"
	case bytes.HasPrefix(head, []byte("TYPE=")):
		return ""
	case len(head) < frmHeader || head[0] != 0xfe || head[1] != 1:
		return "other content"
	}
	if want := int64(binary.LittleEndian.Uint32(head[frmLength:])); want > size {
		return fmt.Sprintf("%d bytes of %d", size, want)
	}
	return ""
}
