package explore

// Sizes of a world. Everything is a small number, so that a world is a
// comparable value.
const (
	maxMembers = 4
	maxVolumes = maxMembers + 1 // one member can get a second volume
	maxEpochs  = 5
	maxGrants  = 4
	maxWrites  = 3
)

// content is what a data directory holds: a history and its transactions. The
// position is the history's uuid and their number.
type content struct {
	uuid uint8
	n    uint8
	tx   [maxWrites]uint8
}

// includes says whether other is a beginning of c.
func (c content) includes(other content) bool {
	if other.uuid != c.uuid || other.n > c.n {
		return other.uuid == 0
	}
	for i := range other.n {
		if c.tx[i] != other.tx[i] {
			return false
		}
	}
	return true
}

func (c content) has(tx uint8) bool {
	for i := range c.n {
		if c.tx[i] == tx {
			return true
		}
	}
	return false
}

// epoch is a datadir.Epoch in small numbers.
type epoch struct{ id, attempt, uuid, begin uint8 }

// epochs are a lineage, oldest first.
type epochs struct {
	n   uint8
	all [maxEpochs]epoch
}

// Classes of a data directory.
const (
	empty uint8 = iota
	clean
	crashed
	victim
	corrupt
)

// What occupies a volume, in the order of a process's life.
const (
	nobody     uint8 = iota
	recovering       // has the lock and has reported its evidence
	waiting          // has reported its position
	granted          // has written the epoch to its volume and wants to consume
	consumed         // has consumed the grant
	entered          // may start its server as a joiner
	running          // has become the server
)

// volume is a disk, with the process that has its lock.
type volume struct {
	member uint8
	exists bool
	gone   bool // destroyed
	data   content
	class  uint8
	flag   bool  // safe_to_bootstrap
	view   uint8 // last Primary view that was saved; 0: none
	with   uint8 // its members, a bit for each volume
	past   epochs
	known  uint8 // members of the cluster, by the lineage: a bit for each ordinal
	vow    uint8 // promised attempt

	who      uint8
	me       report // what the process found and tells
	seen     uint8  // highest attempt in its memory
	grant    uint8  // attempt that it wants to consume
	isolated bool   // its node reaches nobody: no API, no peer
}

// world is one state of everything.
type world struct {
	object   uint32 // index of an interned object
	snapshot uint32 // an older object that can be restored; 0: none
	volumes  [maxVolumes]volume
	// primary are the volumes whose servers form the Primary component, and group
	// is what it has agreed on: its members have it or will apply it.
	primary uint8
	group   content
	acked   uint8            // transactions that a client was told are committed, a bit each
	spent   [maxGrants]uint8 // ids of consumed grants
	writes  uint8            // made so far
	forgave bool             // a person or a policy accepted a loss
	broken  bool             // a disk is lost or corrupt
	left    budget
	size    uint8 // the StatefulSet's replicas
}

// budget is how often each fault may still happen.
type budget struct {
	Writes, Kills, Stops, Outages, Isolations, Snapshots, Restores, Losses, DiskLosses, Rots, Overrides, Declares, Scales, Errors uint8
}

func (w *world) volumeOf(member int) (newest int) {
	newest = -1
	for i := range w.volumes {
		if v := &w.volumes[i]; v.exists && int(v.member) == member {
			newest = i
		}
	}
	return newest
}

func bit(i int) uint8 { return 1 << uint(i) }
