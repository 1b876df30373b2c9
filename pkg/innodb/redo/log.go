package redo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is the one file of a log of MariaDB 10.5 and later.
const FileName = "ib_logfile0"

// Log is an open redo log.
type Log struct {
	Header
	// Size of the file in bytes.
	Size int64

	file io.ReaderAt
	name string
}

// Open opens the redo log in a directory and reads its header.
//
// The error is fs.ErrNotExist when there is no log, ErrFormat when there is one
// that is not read here (the log's Header then says what is known of it; the
// Log is not nil), *Damage when the log cannot be what a server left, and any
// other one when it could not be read.
func Open(dir string) (*Log, error) {
	if _, err := os.Stat(filepath.Join(dir, "#innodb_redo")); err == nil {
		return &Log{}, fmt.Errorf("%w: MySQL 8.0.30 or later", ErrFormat)
	}
	path := filepath.Join(dir, FileName)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open redo log: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open redo log: %s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open redo log: %w", err)
	}
	l, err := New(file, info.Size())
	if err == nil && l.Format == Format105 {
		err = alone(dir)
	}
	if err != nil {
		return l, errors.Join(fmt.Errorf("open redo log: %w", err), l.Close())
	}
	return l, nil
}

// alone wants the log to be one file. With more of them the log is that of
// 10.4 and earlier, whatever its first word says.
func alone(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "ib_logfile1"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: several files", ErrFormat)
	}
	return err
}

// New reads the header of a log of the given size in bytes. Errors are those of
// Open.
func New(file io.ReaderAt, size int64) (*Log, error) {
	l := &Log{Size: size, file: file}
	head := make([]byte, min(size, dataStart108))
	if n, err := file.ReadAt(head, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(head)) {
		return l, fmt.Errorf("read redo log header: %w", err)
	}
	var err error
	l.Header, err = parseHeader(head, size)
	return l, err
}

// Close closes the file.
func (l *Log) Close() error {
	if closer, ok := l.file.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Capacity is how many bytes of log fit into the file before it wraps around.
func (l *Log) Capacity() int64 {
	if l.Format == Format105 {
		return l.Size - dataStart105
	}
	return l.Size - dataStart108
}

// sequenceBit is the byte that ends a mini-transaction whose end marker lies at
// lsn. It changes each time the log wraps around, so that what an earlier round
// left behind is not taken for the newest.
func (l *Log) sequenceBit(lsn LSN) byte {
	return byte(1 - (uint64(lsn-l.First)/uint64(l.Capacity()))&1)
}

// offset is where in the file the byte at lsn lies (10.8).
func (l *Log) offset(lsn LSN) int64 {
	return dataStart108 + int64(uint64(lsn-l.First)%uint64(l.Capacity()))
}

// Interest says which mini-transactions a scan shows: those with at least one
// record that is wanted.
type Interest struct {
	// Pages are pages of which every record is wanted.
	Pages []Page
	// Headers are tablespaces of whose pages every record is wanted that makes a
	// page, or writes to its first HeaderSize bytes.
	Headers []uint32
	// Files wants all records about files.
	Files bool
	// Made, when not nil, receives all pages that the log initialises or frees.
	// They need no visit.
	Made *Pages
}

// HeaderSize is where the part of a page ends that Interest.Headers wants. It
// holds the header of an undo log with its state (trx0undo.h, TRX_UNDO_STATE).
const HeaderSize = 58

// Extent is how far a log goes, as a scan found it.
type Extent struct {
	Checkpoint LSN
	// End is the end of the last whole mini-transaction.
	End LSN
	// Confirmed is where the record that confirms the checkpoint ends; 0 when the
	// log ends before it (see Whole).
	Confirmed LSN
	// Changes counts mini-transactions that recovery would have to apply. It is 0
	// after an orderly shutdown.
	Changes int64
	// Beyond is where whole mini-transactions of the current round were found
	// behind End; 0 when there are none. Either something in the middle of the log
	// was damaged, or a power cut tore the last, unacknowledged write.
	Beyond LSN
}

// Whole says whether the log reaches to the record that confirms its checkpoint.
// The server refuses one that does not ("Missing FILE_CHECKPOINT", "only scanned
// up to").
func (l *Log) Whole(e Extent) bool { return e.Confirmed != 0 && e.End >= l.CheckpointEnd }

// Scan reads the log from its checkpoint to its end and shows the
// mini-transactions of interest in their order. It returns *Damage when a
// mini-transaction is whole and makes no sense, and the reader's errors. How the
// log ends is in the Extent: an end is where the next mini-transaction is not
// whole, in which a cut log does not differ from a complete one.
func (l *Log) Scan(ctx context.Context, want Interest, visit func(Mtr) error) (Extent, error) {
	s := newScanner(l, visit)
	s.filter = newFilter(want)
	err := s.run(ctx)
	switch {
	case err != nil:
	case l.Format == Format108:
		s.extent.Beyond, err = l.beyond(s.extent.End)
	case s.extent.End == l.Checkpoint && l.CheckpointEnd == l.Checkpoint:
		// A new log of format 10.5 has nothing to confirm.
		s.extent.Confirmed = l.Checkpoint
	}
	return s.extent, err
}
