package aria

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// ControlName is the name of the control file.
const ControlName = "aria_log_control"

// Damage is what no server leaves behind.
type Damage struct{ Expected, Found string }

func (d *Damage) Error() string { return fmt.Sprintf("expected %s, found %s", d.Expected, d.Found) }

// Control is the content of the control file.
type Control struct {
	UUID [16]byte
	// BlockSize is that of all tables, in bytes.
	BlockSize int
	// Log is the number of the newest log file; 0 when there is none.
	Log uint32
	// Failures counts recoveries in a row that did not end.
	Failures int
}

// Layout of the control file: a part that never changes and ends with its
// checksum, then one that begins with its checksum.
const (
	controlMax     = 512
	controlVersion = 3
	controlUUID    = 4
	controlSizes   = 20 // of both parts, 2 bytes each
	controlBlock   = 24
	controlFixed   = 30 // least size of the first part
	controlChanges = 15 // least size of the second
	changeLog      = 4 + 7
	changeFailures = 4 + 7 + 4 + 6
)

var controlMagic = []byte{0xfe, 0xfe, 0x0c}

// ParseControl reads the control file. The error is always *Damage.
func ParseControl(b []byte) (Control, error) {
	if len(b) < controlFixed+controlChanges || len(b) > controlMax {
		return Control{}, &Damage{fmt.Sprintf("%d to %d bytes", controlFixed+controlChanges, controlMax), fmt.Sprintf("%d bytes", len(b))}
	}
	if !bytes.HasPrefix(b, controlMagic) || b[controlVersion] != 1 {
		return Control{}, &Damage{"the magic of a control file of version 1", fmt.Sprintf("% x", b[:4])}
	}
	fixed, changes := int(binary.LittleEndian.Uint16(b[controlSizes:])), int(binary.LittleEndian.Uint16(b[controlSizes+2:]))
	if fixed < controlFixed || changes < controlChanges || fixed+changes > len(b) {
		return Control{}, &Damage{fmt.Sprintf("parts that fill %d bytes", len(b)), fmt.Sprintf("parts of %d and %d bytes", fixed, changes)}
	}
	if err := checkSum("the fixed part", b[:fixed-4], b[fixed-4:]); err != nil {
		return Control{}, err
	}
	second := b[fixed : fixed+changes]
	if err := checkSum("the changeable part", second[4:], second); err != nil {
		return Control{}, err
	}
	c := Control{UUID: [16]byte(b[controlUUID:]), BlockSize: int(binary.LittleEndian.Uint16(b[controlBlock:])),
		Log: binary.LittleEndian.Uint32(second[changeLog:])}
	if changes > changeFailures {
		c.Failures = int(second[changeFailures])
	}
	return c, nil
}

func checkSum(what string, content, stored []byte) error {
	if sum, found := crc32.ChecksumIEEE(content), binary.LittleEndian.Uint32(stored); sum != found {
		return &Damage{fmt.Sprintf("checksum %08x of %s", sum, what), fmt.Sprintf("%08x", found)}
	}
	return nil
}
