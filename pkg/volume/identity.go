package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// LVName is the name of the logical volume of a claim. It is a hash, so it is
// legal whatever the claim is called, avoids LVM's reserved words, and makes a
// second volume for one claim collide with the first in the same volume group.
// A slash cannot be part of a namespace or a claim name, so no two claims share
// the text that is hashed.
func LVName(namespace, claim string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + claim))
	return "berth-" + hex.EncodeToString(sum[:16])
}

// TrashName is the name of a logical volume in state trash: out of the way of
// its claim's next one, and with the identity in it, so that a command on this
// name cannot hit another volume.
func TrashName(lvUUID string) string { return "trash-" + lvUUID }

// SupersededName is the name of a logical volume in state superseded.
func SupersededName(lvUUID string) string { return "superseded-" + lvUUID }

// PVName is the name of the one PersistentVolume of a logical volume. Because
// it derives from the LV UUID alone, the API server itself refuses a second PV
// for the same volume (invariant I1). LVM's UUIDs mix upper and lower case and
// Kubernetes names do not; what is lost by folding is one bit a letter.
func PVName(lvUUID string) string {
	return "lv-" + strings.ToLower(lvUUID)
}

// NodeLabel is the label key that the agent sets on the node that holds a
// volume group.
func NodeLabel(vgUUID string) string {
	return NodeLabelPrefix + strings.ReplaceAll(vgUUID, "-", "")
}
