package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/pkg/innodb"
	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/test/corpus"
)

// Flips is what came of bit flips in the directories of one format.
type Flips struct {
	Format   string
	Pages    int // that are used
	Done     int
	Detected int
	// Missed counts, by the reason, flips that no check without keys can see or that
	// change nothing that is ever read.
	Missed map[string]int
	// Unexplained are misses without a reason.
	Unexplained []string
}

// RunFlips turns over n bits, one at a time, at places that the seed chooses among
// the used pages of a clean directory, and judges the directory after each. The
// directory is afterwards as it was.
func RunFlips(ctx context.Context, d corpus.Directory, n int, seed uint64, done func()) (Flips, error) {
	f := Flips{Format: d.Format.Name, Missed: map[string]int{}}
	pages, err := usedPages(d)
	if err != nil {
		return f, err
	}
	f.Pages = len(pages)
	r := rand.New(rand.NewPCG(seed, 0))
	for range n {
		p := pages[r.IntN(len(pages))]
		if err := f.one(ctx, d, p, r.IntN(p.space.Size), r.IntN(8)); err != nil {
			return f, err
		}
		done()
	}
	return f, nil
}

// one turns over a bit, verifies, and turns it back.
func (f *Flips) one(ctx context.Context, d corpus.Directory, p usedPage, offset, bit int) error {
	file, err := os.OpenFile(p.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	content := make([]byte, p.space.Size)
	if _, err := file.ReadAt(content, p.at); err != nil {
		return err
	}
	if _, err := file.WriteAt([]byte{content[offset] ^ 1<<bit}, p.at+int64(offset)); err != nil {
		return err
	}
	j, err := Judge(ctx, d, false)
	if err != nil {
		return err
	}
	report := j.Report
	if _, err := file.WriteAt(content[offset:offset+1], p.at+int64(offset)); err != nil {
		return err
	}
	f.Done++
	if report.Damaged() || d.Format.EncryptedRedo && suspects(report, p) {
		f.Detected++
		return nil
	}
	if why := unprotected(p.space, content, offset); why != "" {
		f.Missed[why]++
		return nil
	}
	f.Unexplained = append(f.Unexplained, fmt.Sprintf("%s: byte %d of page %d of %d bytes, bit %d, type %d: %s %s", strings.TrimPrefix(p.path, d.Root+string(filepath.Separator)),
		offset, p.at/int64(p.space.Size), p.space.Size, bit, page.Type(content), report.Summary(), strings.Join(sentences(report), "; ")))
	return nil
}

// suspects says whether the report names the page. While the log cannot be read,
// for it may mend the page, that is all that can be said.
func suspects(r innodb.Report, p usedPage) bool {
	return slices.ContainsFunc(r.Findings, func(f innodb.Finding) bool {
		return f.Verdict != innodb.Fine && strings.HasSuffix(p.path, f.File) && f.Page == p.at/int64(p.space.Size)
	})
}

// Page types of page compression before full_crc32 (fil0fil.h).
const (
	typeCompressed          = 34354
	typeCompressedEncrypted = 37401
)

// unprotected says why nothing can tell that a byte of a sound page was changed,
// after section 1 of the reference; it is empty for bytes that a checksum, the
// place or the log protects.
func unprotected(s *page.Space, p []byte, offset int) string {
	kind := binary.BigEndian.Uint16(p[24:])
	encrypted := s.Encrypted && binary.BigEndian.Uint32(p[26:]) != 0
	switch {
	case s.Full && kind&0x8000 != 0 && offset >= int(kind&0x7fff)<<8:
		return "behind the compressed data, never read"
	case s.Full:
		return ""
	case kind == typeCompressedEncrypted:
		return "compressed and encrypted before full_crc32: no checksum"
	case kind == typeCompressed:
		return unprotectedCompressed(p, offset)
	case encrypted && offset < 4, encrypted && !s.Zip && offset >= s.Size-8:
		return "checksum of the content under the encryption: needs the key"
	case s.Zip && offset >= 16 && offset < 24:
		return "LSN, not covered by the checksum of ROW_FORMAT=COMPRESSED"
	case offset >= 26 && offset < 34:
		return "unused header field, not covered by the checksum"
	}
	return ""
}

// unprotectedCompressed is about a page whose content is a compressed page with
// a header and checksums of its own (fil0pagecompress.cc).
func unprotectedCompressed(p []byte, offset int) string {
	length := int(binary.BigEndian.Uint16(p[38:]))
	switch {
	case offset >= 40+length:
		return "behind the compressed data, never read"
	case offset < 26:
		return "header outside the compressed data, replaced by the one inside"
	}
	return ""
}
