package inventory

// Sizes tells how much the inventory holds.
type Sizes struct {
	Nodes, Silent      int
	Reports, Unchecked int
	Volumes, Groups    int
	Making             int // volumes that are being made
	Promises           int // of these, the ones that only this scheduler knows of
	PromisedBytes      int64
}

// Sizes counts what the inventory holds.
func (i *Inventory) Sizes() Sizes {
	i.catchUp()
	i.mu.RLock()
	defer i.mu.RUnlock()
	l := i.ledger
	s := Sizes{
		Nodes: len(l.nodes), Silent: len(l.silent),
		Reports: len(l.capacities), Unchecked: len(l.checks.open),
		Volumes: len(l.volumes), Groups: len(l.groups),
		Making: len(l.making.births), Promises: len(l.making.promises),
	}
	for _, g := range l.groups {
		s.PromisedBytes += g.promised
	}
	return s
}
