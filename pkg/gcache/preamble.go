package gcache

import (
	"bytes"
	"strconv"
	"strings"
)

// preamble is the text at the beginning of the file.
type preamble struct {
	// uuid of the history; empty when there is none.
	uuid string
	// first and last are there after a clean close only, together with synced; a
	// running server takes them away.
	first, last int64
	synced      bool
	// encrypted: the buffers cannot be read here (Percona XtraDB Cluster 8).
	encrypted bool
}

// IsUUID says whether s is a uuid as Galera writes it: lower-case hexadecimal digits
// in groups of 8, 4, 4, 4 and 12.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

func parsePreamble(content []byte) preamble {
	var p preamble
	text, _, _ := bytes.Cut(content, []byte{0})
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "GID":
			p.uuid = ""
			if IsUUID(value) {
				p.uuid = value
			}
		case "seqno_min":
			p.first, _ = strconv.ParseInt(value, 10, 64)
		case "seqno_max":
			p.last, _ = strconv.ParseInt(value, 10, 64)
		case "synced":
			p.synced = value == "1"
		case "enc_encrypted":
			p.encrypted = value != "0"
		}
	}
	return p
}

// closed says whether the preamble alone tells the range: the server had closed
// the cache in order.
func (p preamble) closed() bool { return p.synced && p.first > 0 && p.first <= p.last }
