package provisioner

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// Parameters of a StorageClass.
const (
	paramBackend        = "backend"
	paramVolumeGroup    = "volumeGroup"
	paramVolumeGroupTag = "volumeGroupTag"
	paramType           = "type"
	paramStripes        = "stripes"
	paramFSType         = "fsType"
	paramMkfsOptions    = "mkfsOptions"
	paramWipe           = "wipe"
)

var parameters = []string{paramBackend, paramVolumeGroup, paramVolumeGroupTag, paramType, paramStripes, paramFSType, paramMkfsOptions, paramWipe}

// class is what a StorageClass of ours says.
type class struct {
	Name string
	// VolumeGroup is the name of the volume group; when it is empty,
	// VolumeGroupTag is the LVM tag that it carries.
	VolumeGroup, VolumeGroupTag string
	Layout                      lvm.Layout
	FSType                      string
	MkfsOptions                 []string
	Wipe                        volume.Wipe
	// Dir says that volumes are directories: no volume group is named.
	Dir bool
}

// backendDir is the backend, and stands for the file system of a volume that is a directory.
const backendDir = "dir"

// group names the volume group for people.
func (c class) group() string {
	if c.VolumeGroup == "" {
		return "@" + c.VolumeGroupTag
	}
	return c.VolumeGroup
}

// parseClass reads a StorageClass; its Reason names all problems at once.
func parseClass(sc *storagev1.StorageClass) (class, error) {
	p := sc.Parameters
	c := class{
		Name: sc.Name, VolumeGroup: p[paramVolumeGroup], VolumeGroupTag: p[paramVolumeGroupTag],
		Layout: lvm.Layout{Type: lvm.LayoutType(p[paramType])}, FSType: p[paramFSType],
		MkfsOptions: strings.Fields(p[paramMkfsOptions]), Wipe: volume.Wipe(p[paramWipe]),
	}
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	switch backend := p[paramBackend]; backend {
	case "", "lvm":
	case backendDir:
		c.Dir = true
	default:
		complain("parameter %s is %q: use lvm or dir", paramBackend, backend)
	}
	switch {
	case c.Dir:
	case c.VolumeGroup == "" && c.VolumeGroupTag == "":
		complain("parameter %s is missing: name the LVM volume group to make volumes in, or its tag with %s", paramVolumeGroup, paramVolumeGroupTag)
	case c.VolumeGroup != "" && c.VolumeGroupTag != "":
		complain("parameters %s and %s contradict each other: keep one of them", paramVolumeGroup, paramVolumeGroupTag)
	}
	if c.Dir {
		c.completeDir(sc, complain)
	} else {
		c.completeLayout(p[paramStripes], complain)
		c.completeContent(complain)
	}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(parameters, key) {
			complain("parameter %s is not known: remove it (known are %s)", key, strings.Join(parameters, ", "))
		}
	}
	// The API server's default for both is the other value.
	if sc.ReclaimPolicy == nil || *sc.ReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		complain("reclaimPolicy must be Retain: volumes are never deleted because a claim is")
	}
	if sc.VolumeBindingMode == nil || *sc.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		complain("volumeBindingMode must be WaitForFirstConsumer: the scheduler chooses the node that gets the volume")
	}
	if len(problems) > 0 {
		return class{}, classInvalid(sc.Name, problems)
	}
	return c, nil
}

// completeDir refuses what a directory cannot be. Nobody's blocks are seen in
// it, so that there is nothing to wipe.
func (c *class) completeDir(sc *storagev1.StorageClass, complain func(string, ...any)) {
	for _, key := range parameters {
		if _, set := sc.Parameters[key]; set && key != paramBackend {
			complain("parameter %s contradicts %s %s: remove it (volumes are directories in the base directory of their node, as they are in its file system)", key, paramBackend, backendDir)
		}
	}
	if len(sc.MountOptions) > 0 {
		complain("mountOptions contradict parameter %s %s: remove them (the file system is the node's)", paramBackend, backendDir)
	}
	c.Layout.Type, c.FSType, c.Wipe = lvm.Linear, backendDir, volume.WipeNone
}

// completeLayout reads type and stripes, which have to fit each other.
func (c *class) completeLayout(stripes string, complain func(string, ...any)) {
	if c.Layout.Type == "" {
		c.Layout.Type = lvm.LayoutTypes[0]
	}
	if !slices.Contains(lvm.LayoutTypes, c.Layout.Type) {
		complain("parameter %s is %q: use one of %v", paramType, c.Layout.Type, lvm.LayoutTypes)
	}
	if c.Layout.Type != lvm.Striped {
		if stripes != "" {
			complain("parameter %s is for %s %s only: remove it", paramStripes, paramType, lvm.Striped)
		}
		return
	}
	n, err := strconv.Atoi(stripes)
	if err != nil || n < 2 || n > maxStripes {
		complain("parameter %s is %q: give the number of physical volumes to stripe over, 2 to %d", paramStripes, stripes, maxStripes)
	}
	c.Layout.Stripes = n
}

// maxStripes is lvm's own limit.
const maxStripes = 128

// completeContent reads what is made on the volume, and unmade.
func (c *class) completeContent(complain func(string, ...any)) {
	if c.FSType == "" {
		c.FSType = filesystem.Types[0]
	}
	if !slices.Contains(filesystem.Types, c.FSType) {
		complain("parameter %s is %q: use one of %s", paramFSType, c.FSType, strings.Join(filesystem.Types, ", "))
	}
	if err := filesystem.CheckOptions(c.FSType, c.MkfsOptions); err != nil {
		complain("parameter %s: %v", paramMkfsOptions, err)
	}
	if c.Wipe == "" {
		c.Wipe = volume.Wipes[0]
	}
	if !slices.Contains(volume.Wipes, c.Wipe) {
		complain("parameter %s is %q: use one of %v", paramWipe, c.Wipe, volume.Wipes)
	}
}

// checkClaim refuses what a volume of ours cannot be.
func checkClaim(c class, claim *corev1.PersistentVolumeClaim) error {
	if c.Dir && isBlock(claim) {
		return claimUnsupported("volumeMode Block of a StorageClass with "+paramBackend+" "+backendDir, "use Filesystem, or a StorageClass with "+paramBackend+" lvm")
	}
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
