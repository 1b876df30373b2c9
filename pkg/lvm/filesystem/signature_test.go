package filesystem

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Scenario 24, on real devices and by real programs: what former owners leave is
// seen, at the start, in the middle and at the end of a device, also where nothing
// but a checksum tells it from noise; wiped by the library that lvcreate -W y
// wipes with (libblkid), the device takes a file system, and nothing ever asks.
func TestOldSignatures(t *testing.T) {
	run := lvm.Exec{Timeout: time.Minute}
	for name, c := range map[string]struct {
		// put writes the signature on a blank device of this size.
		put  func(t *testing.T, f *os.File, size int64)
		want string
	}{
		"ext4 by its superblock":      {program("mkfs.ext4", "-q"), "ext4"},
		"xfs":                         {program("mkfs.xfs", "-q"), "xfs"},
		"LUKS1":                       {luks, "crypto_LUKS"},
		"md raid, superblock at 4096": {mdRaid, "linux_raid_member"},
		"JMicron, the last sector":    {jmicron, "jmicron_raid_member"},
		"a physical volume of lvm":    {pvLabel, "LVM2_member"},
	} {
		t.Run(name, func(t *testing.T) {
			device, file := loop(t)
			f, err := os.OpenFile(device, os.O_RDWR|os.O_SYNC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.put(t, f, MinSize("xfs"))
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			found, err := Probe(t.Context(), run, device)
			if err != nil || found.IsEmpty() || found.Type != c.want && found.Other != c.want {
				t.Fatalf("a probe finds %s, %v; want %s", found, err, c.want)
			}
			if err := Wipe(t.Context(), run, device, false, false, 0, 0); err != nil {
				t.Fatal(err)
			}
			if found, err = Probe(t.Context(), run, device); err != nil || !found.IsEmpty() {
				t.Fatalf("wiped, a probe of %s finds %s, %v", file, found, err)
			}
			if err := Make(t.Context(), run, device, "ext4", uuid); err != nil {
				t.Fatal(err)
			}
			if found, err = Probe(t.Context(), run, device); err != nil || found != (Content{Type: "ext4", UUID: uuid}) {
				t.Errorf("at last a probe finds %s, %v", found, err)
			}
		})
	}
}

func program(name string, args ...string) func(*testing.T, *os.File, int64) {
	return func(t *testing.T, f *os.File, _ int64) {
		if _, err := (lvm.Exec{}).Run(t.Context(), "test", name, append(args, f.Name())...); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, f *os.File, at int64, raw []byte) {
	t.Helper()
	if _, err := f.WriteAt(raw, at); err != nil {
		t.Fatal(err)
	}
}

// luks is a header of LUKS version 1: cryptsetup's docs/on-disk-format.
func luks(t *testing.T, f *os.File, _ int64) {
	raw := make([]byte, 592)
	copy(raw, "LUKS\xba\xbe\x00\x01aes")
	copy(raw[168:], uuid)
	write(t, f, 0, raw)
}

// mdRaid is a superblock of md's version 1.2, with its checksum: Linux,
// include/uapi/linux/raid/md_p.h and calc_sb_1_csum of drivers/md/md.c.
func mdRaid(t *testing.T, f *os.File, size int64) {
	raw := make([]byte, 256)
	le := binary.LittleEndian
	le.PutUint32(raw, 0xa92b4efc)
	le.PutUint32(raw[4:], 1) // major version
	copy(raw[16:], uuid[:16])
	le.PutUint64(raw[80:], uint64(size/512-2048)) // data size
	le.PutUint64(raw[128:], 2048)                 // data offset
	le.PutUint64(raw[136:], uint64(size/512-2048))
	le.PutUint64(raw[144:], 8) // where this is, in sectors
	var sum uint64
	for i := 0; i < len(raw); i += 4 {
		sum += uint64(le.Uint32(raw[i:]))
	}
	le.PutUint32(raw[216:], uint32(sum)+uint32(sum>>32))
	write(t, f, 4096, raw)
}

// jmicron is the last sector as controllers of JMicron leave it, of which the
// words add up to 1: util-linux, libblkid/src/superblocks/jmicron_raid.c.
func jmicron(t *testing.T, f *os.File, size int64) {
	raw := make([]byte, 512)
	copy(raw, "JM")
	raw[2], raw[3] = 0, 1 // version
	raw[0x20] = 1         // mode
	le := binary.LittleEndian
	var sum uint16
	for i := 0; i < 128; i += 2 {
		sum += le.Uint16(raw[i:])
	}
	le.PutUint16(raw[4:], 1-sum)
	write(t, f, size-512, raw)
}

// pvLabel is lvm's label in sector 1, without a CRC, which libblkid checks last.
func pvLabel(t *testing.T, f *os.File, _ int64) {
	program("pvcreate", "--driverloaded", "n", "--config", `devices{use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none"}`, "-q", "-y")(t, f, 0)
}
