package provisioner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// Parameters of a StorageClass.
const (
	paramVolumeGroup = "volumeGroup"
	paramFSType      = "fsType"
	paramWipe        = "wipe"
)

// class is what a StorageClass of ours says.
type class struct {
	Name        string
	VolumeGroup string
	FSType      string
	Wipe        volume.Wipe
}

// parseClass reads a StorageClass; its Reason names all problems at once.
func parseClass(sc *storagev1.StorageClass) (class, error) {
	c := class{Name: sc.Name, VolumeGroup: sc.Parameters[paramVolumeGroup], FSType: sc.Parameters[paramFSType], Wipe: volume.Wipe(sc.Parameters[paramWipe])}
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	if c.VolumeGroup == "" {
		complain("parameter %s is missing: name the LVM volume group to make volumes in", paramVolumeGroup)
	}
	if c.FSType == "" {
		c.FSType = filesystem.Types[0]
	}
	if !slices.Contains(filesystem.Types, c.FSType) {
		complain("parameter %s is %q: use one of %s", paramFSType, c.FSType, strings.Join(filesystem.Types, ", "))
	}
	if c.Wipe == "" {
		c.Wipe = volume.Wipes[0]
	}
	if !slices.Contains(volume.Wipes, c.Wipe) {
		complain("parameter %s is %q: use one of %v", paramWipe, c.Wipe, volume.Wipes)
	}
	for _, key := range slices.Sorted(maps.Keys(sc.Parameters)) {
		if key != paramVolumeGroup && key != paramFSType && key != paramWipe {
			complain("parameter %s is not known: remove it (known are %s, %s and %s)", key, paramVolumeGroup, paramFSType, paramWipe)
		}
	}
	// The API server's default for both is the other value.
	if sc.ReclaimPolicy == nil || *sc.ReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		complain("reclaimPolicy must be Retain: volumes are never deleted because a claim is")
	}
	if sc.VolumeBindingMode == nil || *sc.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		complain("volumeBindingMode must be WaitForFirstConsumer: the scheduler chooses the node that gets the volume")
	}
	if len(sc.MountOptions) > 0 {
		complain("mountOptions are not supported: remove them")
	}
	if len(problems) > 0 {
		return class{}, classInvalid(sc.Name, problems)
	}
	return c, nil
}

// checkClaim refuses what a volume of ours cannot be.
func checkClaim(claim *corev1.PersistentVolumeClaim) error {
	for _, mode := range claim.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce {
			return claimUnsupported("access mode "+string(mode), "use ReadWriteOnce")
		}
	}
	if claim.Spec.Selector != nil {
		return claimUnsupported("a selector", "remove spec.selector, volumes are found by the claim's name")
	}
	if claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil {
		return claimUnsupported("a data source", "remove spec.dataSource and spec.dataSourceRef")
	}
	return nil
}
