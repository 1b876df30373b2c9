package innodb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/pkg/aria"
)

// checkAria looks at the files of the other engine: control file and log, and
// the tables with accounts and privileges; from level sample on at all tables of
// that engine.
func (v *verification) checkAria(ctx context.Context) error {
	if v.layout.mysql8 {
		return nil
	}
	v.checkAriaLog()
	pattern := filepath.Join("mysql", "*.MAI")
	if v.report.Level != Quick {
		pattern = filepath.Join("*", "*.MAI")
	}
	tables, err := filepath.Glob(filepath.Join(v.dir, pattern))
	if err != nil {
		return err
	}
	for _, path := range tables {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !strings.HasPrefix(filepath.Base(path), "#sql") {
			v.checkAriaTable(ctx, path)
		}
	}
	return ctx.Err()
}

// checkAriaLog looks at what the server reads before it starts. After an orderly
// shutdown nothing in these files is needed: the server makes missing ones anew,
// but does not start with damaged ones.
func (v *verification) checkAriaLog() {
	content, err := os.ReadFile(filepath.Join(v.dir, aria.ControlName))
	if err != nil {
		v.findAria(AriaControl, aria.ControlName, err)
		return
	}
	control, err := aria.ParseControl(content)
	if err != nil {
		v.findAria(AriaControl, aria.ControlName, err)
		return
	}
	if control.Log == 0 {
		return
	}
	name := aria.LogName(control.Log)
	file, err := openRegular(filepath.Join(v.dir, name))
	if err != nil {
		v.findAria(AriaLog, name, err)
		return
	}
	defer file.Close()
	if err := aria.CheckLog(v.buffered(file), control.Log); err != nil {
		v.findAria(AriaLog, name, err)
	}
}

// repairAria is what tables need that know another control file.
const repairAria = "then REPAIR TABLE on users' tables of Aria (error 1035)"

// findAria is a finding about the control file or the log.
func (v *verification) findAria(code Code, name string, err error) {
	f := Finding{Verdict: Fatal, Code: code, File: name, Page: -1, Expected: "a file", Found: "no such file", Do: rebuild}
	var damage *aria.Damage
	switch {
	case errors.As(err, &damage):
		f.Expected, f.Found = damage.Expected, damage.Found
		if v.report.Recovered {
			f.Verdict, f.Do = Repairable, "move aria_log_control and aria_log.* away: the server had stopped in order, and makes them anew; "+repairAria
		}
	case errors.Is(err, fs.ErrNotExist):
		switch {
		case !v.report.Recovered:
		case code == AriaControl:
			f.Verdict, f.Starts, f.Do = Repairable, true, "start the server, which had stopped in order and makes it anew; "+repairAria
		default:
			f.Verdict, f.Heals, f.Do = Repairable, true, "nothing: the server had stopped in order, and makes it anew"
		}
	default:
		f = unreadable(name, err)
	}
	v.find(f)
}

// checkAriaTable looks at both files of a table, of which path is the index.
func (v *verification) checkAriaTable(ctx context.Context, path string) {
	index := v.openAria(path)
	if index == nil {
		return
	}
	defer index.Close()
	start, err := v.buffered(index).Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		v.find(unreadable(v.relative(path), err))
		return
	}
	header, err := aria.ParseHeader(start)
	var damage *aria.Damage
	if errors.As(err, &damage) {
		v.findFile(Fatal, AriaPage, v.relative(path), damage.Expected, damage.Found)
		return
	}
	if header.Crashed {
		v.find(Finding{Verdict: Repairable, Heals: true, Code: AriaPage, File: v.relative(path), Page: -1, Expected: "a table that is not marked as crashed",
			Found: "the mark", Do: "nothing: the server repairs the table when it opens it (aria_recover_options)"})
	}
	v.checkAriaFile(ctx, path, index, header, header.IndexSize, func(r io.Reader) (aria.Pages, error) {
		if _, err := index.Seek(0, io.SeekStart); err != nil {
			return aria.Pages{}, err
		}
		return v.aria.Index(header, r)
	})
	path = strings.TrimSuffix(path, ".MAI") + ".MAD"
	if data := v.openAria(path); data != nil {
		defer data.Close()
		v.checkAriaFile(ctx, path, data, header, header.DataSize, func(r io.Reader) (aria.Pages, error) { return v.aria.Data(header, r) })
	}
}

// openAria opens a file of a table; what keeps it from being opened becomes a
// finding and the answer nil.
func (v *verification) openAria(path string) *os.File {
	file, err := openRegular(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Before recovery the table may be one that was just being dropped.
		if v.report.Recovered || strings.HasPrefix(v.relative(path), "mysql/") {
			v.findFile(Fatal, FileMissing, v.relative(path), "a file of a table that has its other one", "no such file")
		}
		return nil
	case err != nil:
		v.find(unreadable(v.relative(path), err))
		return nil
	}
	return file
}

// checkAriaFile looks at the pages of one file, and at its size where that is
// exact.
func (v *verification) checkAriaFile(ctx context.Context, path string, file *os.File, header aria.Header, size int64, check func(io.Reader) (aria.Pages, error)) {
	name := v.relative(path)
	info, err := file.Stat()
	if err != nil {
		v.find(unreadable(name, err))
		return
	}
	if v.report.Recovered && !header.Open && info.Size() < size {
		v.findFile(Fatal, AriaPage, name, fmt.Sprintf("%d bytes, as the table's header says", size), fmt.Sprintf("%d bytes", info.Size()))
	}
	r := &pacedReader{ctx: ctx, v: v, r: file}
	pages, err := check(v.buffered(r))
	v.report.Bytes += r.read
	v.report.Pages += pages.Checked
	if err != nil && ctx.Err() == nil {
		v.find(unreadable(name, err))
	}
	if err != nil {
		return
	}
	v.findAriaPages(name, pages.Bad, "a page whose checksum is that of its content", "another one")
	if v.report.Recovered && !header.Open {
		v.findAriaPages(name, pages.Blank, "rows, as the table's bitmap says", "zeros")
	}
}

// buffered reads through the one buffer of the steps, so one file at a time.
func (v *verification) buffered(r io.Reader) *bufio.Reader {
	if v.reader == nil {
		v.reader = bufio.NewReaderSize(nil, 32<<10)
	}
	v.reader.Reset(r)
	return v.reader
}

func (v *verification) findAriaPages(name string, pages []int64, expected, found string) {
	if len(pages) == 0 {
		return
	}
	if len(pages) > 1 {
		found = fmt.Sprintf("%s; %d pages of the file are like this", found, len(pages))
	}
	v.find(Finding{Verdict: Fatal, Code: AriaPage, File: name, Page: pages[0], Pages: int64(len(pages)), Expected: expected, Found: found, Do: rebuild})
}

// relative is a path as findings name it.
func (v *verification) relative(path string) string {
	if name, err := filepath.Rel(v.dir, path); err == nil {
		return name
	}
	return path
}

// pacedReader reads no faster than the rate, and not after the context's end.
type pacedReader struct {
	ctx  context.Context
	v    *verification
	r    io.Reader
	read int64
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if err := p.v.wait(p.ctx, len(b)); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.read += int64(n)
	return n, err
}
