package innodb

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// spaceOf makes the first pages, of 4 KiB, of a tablespace with given flags.
func spaceOf(flags, id uint32, pages int) []byte {
	p := make([]byte, pages*4096)
	binary.BigEndian.PutUint32(p[34:], id)
	binary.BigEndian.PutUint32(p[38:], id)
	binary.BigEndian.PutUint32(p[46:], uint32(pages))
	binary.BigEndian.PutUint32(p[50:], uint32(pages))
	binary.BigEndian.PutUint32(p[54:], flags)
	return p
}

// FuzzVerify gives directories of any content to the whole check: it ends
// without a panic and with a verdict.
func FuzzVerify(f *testing.F) {
	f.Add(spaceOf(0x13, 0, 8), spaceOf(0x13, 5, 2), []byte{0xfe, 1})
	f.Add(spaceOf(0x21|3<<6, 0, 8), spaceOf(0x21|3<<6|1<<16, 5, 2), []byte("TYPE=VIEW"))
	f.Add(spaceOf(0x4021|3<<6, 0, 1), spaceOf(0x25|3<<6, 5, 2), []byte{})
	f.Fuzz(func(t *testing.T, system, table, definition []byte) {
		if len(system)+len(table) > 1<<20 {
			return
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"ibdata1": system, "db/t.ibd": table, "db/t.frm": definition, "undo001": table} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Verify(context.Background(), dir, Options{Workers: 1})
		if err != nil || r.Verdict != Fatal { // there is no redo log
			t.Errorf("%s, %v", r.Verdict, err)
		}
	})
}
