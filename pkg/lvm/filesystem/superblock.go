package filesystem

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/berth-dev/berth/pkg/lvm"
)

// superblocks is how many bytes hold the superblocks of all Types.
const superblocks = 4096

// Superblock reads from the disk which file system Make has just made there. It knows
// Types only, and calls everything else Other: what was there before is for Probe to say.
func Superblock(ctx context.Context, run lvm.Runner, device string) (Content, error) {
	head, err := run.Run(ctx, "superblock", lvm.ReadDevice, device, strconv.Itoa(superblocks))
	if err != nil {
		return Content{}, fmt.Errorf("read superblock of %s: %w", device, err)
	}
	return parseSuperblock(head), nil
}

// parseSuperblock: ext4's lies at 1024, with s_magic at 0x38 in little endian and s_uuid
// at 0x68 (Linux, Documentation/filesystems/ext4/super.rst); xfs's lies at 0, with
// sb_magicnum first and sb_uuid at 32 (fs/xfs/libxfs/xfs_format.h).
func parseSuperblock(head []byte) Content {
	const ext4, ext4Magic = 1024, 0xEF53
	switch {
	case len(head) < superblocks:
		return Content{Other: fmt.Sprintf("a device of %d bytes", len(head))}
	case bytes.HasPrefix(head, []byte("XFSB")):
		return Content{Type: "xfs", UUID: formatUUID(head[32:48])}
	case binary.LittleEndian.Uint16(head[ext4+0x38:]) == ext4Magic:
		return Content{Type: "ext4", UUID: formatUUID(head[ext4+0x68 : ext4+0x78])}
	default:
		return Content{Other: "no superblock of ext4 or xfs"}
	}
}

func formatUUID(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
