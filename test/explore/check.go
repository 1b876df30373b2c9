package explore

// judge checks a bootstrap at the moment when its grant is consumed: I6, I7, I9.
func (s *step) judge(i int, before object, g grant) {
	w := &s.w
	chosen := w.volumes[i]
	person := rules[g.rule] == "override"
	for _, id := range w.spent {
		if id == g.id {
			s.fail("I6: grant %d is consumed twice", g.attempt)
		}
	}
	for k := range w.spent {
		if w.spent[k] == 0 {
			w.spent[k] = g.id
			break
		}
	}
	if w.primary != 0 {
		s.fail("I6: volume %d bootstraps while volumes %b form a Primary component", i, w.primary)
	}
	for j, v := range w.volumes {
		if j == i || v.gone {
			continue
		}
		started := v.who == running || v.who == consumed
		if started && g.without&bit(int(v.member)) == 0 && v.member < w.size && w.volumeOf(int(v.member)) == j {
			s.fail("I6: volume %d bootstraps while a server runs on volume %d, whose member is not excused", i, j)
		}
		if v.who == consumed {
			s.fail("I6: volume %d bootstraps while volume %d is about to", i, j)
		}
	}
	s.judgeData(i, before, g, chosen, person)
}

func (s *step) judgeData(i int, before object, g grant, chosen volume, person bool) {
	w := &s.w
	install := rules[g.rule] == "first-install"
	if !person && chosen.class != clean && chosen.class != crashed {
		s.fail("I7: volume %d bootstraps and is %s", i, classes[chosen.class])
	}
	if !install && (g.at != position{chosen.data.uuid, chosen.data.n}) {
		s.fail("I7: the grant names another position than the data of volume %d", i)
	}
	for _, p := range before.observed {
		if !person && p.uuid != 0 && p.uuid == g.at.uuid && p.n > g.at.n {
			s.fail("I7: volume %d bootstraps at %d, and %d was observed", i, g.at.n, p.n)
		}
	}
	for j, v := range w.volumes {
		if !v.exists || v.gone || v.class == victim || w.volumeOf(int(v.member)) != j {
			continue // destroyed, or given up by a person for a blank one
		}
		if install && j != i && v.data.uuid != 0 {
			s.fail("I9: a first installation while volume %d holds data", j)
		}
		if !person && v.data.uuid != 0 && chosen.data.uuid != v.data.uuid && (v.class == clean || v.class == crashed) {
			s.fail("I7: volume %d bootstraps while volume %d holds another history", i, j)
		}
		for tx := range uint8(maxWrites) {
			if w.acked&bit(int(tx)) != 0 && v.data.has(tx+1) && !chosen.data.has(tx+1) {
				if person || proofs[g.proof] == "majority" || proofs[g.proof] == "declared-lost" {
					w.forgave = true
					w.acked &^= bit(int(tx))
				} else {
					s.fail("I9: volume %d bootstraps without transaction %d, which was acknowledged and is on volume %d", i, tx+1, j)
				}
			}
		}
	}
}

// overwritten checks data that a full transfer replaces.
func (s *step) overwritten(i int, by content) {
	v := &s.w.volumes[i]
	for tx := range uint8(maxWrites) {
		if s.w.acked&bit(int(tx)) != 0 && v.class != victim && v.data.has(tx+1) && !by.has(tx+1) {
			s.fail("I9: a full transfer overwrites transaction %d on volume %d, which was acknowledged", tx+1, i)
		}
	}
}
