package gcache

import (
	"bytes"
	"regexp"
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

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func parsePreamble(content []byte) preamble {
	var p preamble
	text, _, _ := bytes.Cut(content, []byte{0})
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "GID":
			p.uuid = ""
			if uuidPattern.MatchString(value) {
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
