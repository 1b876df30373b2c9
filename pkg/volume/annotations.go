package volume

import (
	"errors"
	"fmt"
	"strconv"
)

// Volume is a logical volume as the API shows it: identity and tags.
type Volume struct {
	VGUUID string
	VGName string
	// VGSeqno is the sequence number of the volume group's metadata when the
	// PV was published: free capacity published with this number or a higher
	// one has the volume already taken off.
	VGSeqno int
	LVUUID  string
	LVName  string
	Tags    Tags
}

// Annotations returns the annotations of the volume's PersistentVolume.
// Namespace, claim, class and file system type have fields of their own there.
func (v Volume) Annotations() map[string]string {
	a := map[string]string{
		AnnotationVGUUID:     v.VGUUID,
		AnnotationVGName:     v.VGName,
		AnnotationVGSeqno:    strconv.Itoa(v.VGSeqno),
		AnnotationLVUUID:     v.LVUUID,
		AnnotationLVName:     v.LVName,
		AnnotationFSUUID:     v.Tags.FSUUID,
		AnnotationGeneration: strconv.Itoa(v.Tags.Generation),
		AnnotationAPIServer:  v.Tags.APIServer,
	}
	if m := v.Tags.Member; !m.IsZero() {
		a[AnnotationStatefulSet] = m.StatefulSet
		a[AnnotationOrdinal] = strconv.Itoa(m.Ordinal)
		a[AnnotationReplicas] = strconv.Itoa(m.Replicas)
	}
	return a
}

// FromAnnotations is the inverse of Annotations. It leaves namespace, claim,
// class, file system type and state empty, and joins all problems it meets.
func FromAnnotations(a map[string]string) (Volume, error) {
	var problems []error
	text := func(key string) string {
		if a[key] == "" {
			problems = append(problems, fmt.Errorf("annotation %s is missing", key))
		}
		return a[key]
	}
	number := func(key string) int {
		n, err := parseDecimal(a[key])
		if err != nil {
			problems = append(problems, fmt.Errorf("annotation %s: %w", key, err))
		}
		return n
	}
	v := Volume{
		VGUUID:  text(AnnotationVGUUID),
		VGName:  text(AnnotationVGName),
		VGSeqno: number(AnnotationVGSeqno),
		LVUUID:  text(AnnotationLVUUID),
		LVName:  text(AnnotationLVName),
		Tags: Tags{
			FSUUID:     text(AnnotationFSUUID),
			Generation: number(AnnotationGeneration),
			APIServer:  text(AnnotationAPIServer),
		},
	}
	if set := a[AnnotationStatefulSet]; set != "" {
		v.Tags.Member = Member{StatefulSet: set, Ordinal: number(AnnotationOrdinal), Replicas: number(AnnotationReplicas)}
	}
	if err := errors.Join(problems...); err != nil {
		return Volume{}, err
	}
	return v, nil
}

// Abandoned reads AnnotationAbandoned: the highest generation that was given up,
// or 0. What cannot be read gives nothing up.
func Abandoned(annotations map[string]string) int {
	n, err := parseDecimal(annotations[AnnotationAbandoned])
	if err != nil {
		return 0
	}
	return n
}
