package explore

// Scenarios are the explorations of `make explore`: each takes some kinds of
// fault as often as its budget allows, in every order.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "first install of three", Members: 3, Install: true, Budget: budget{Writes: 1, Kills: 2}},
		{Name: "first install, answers lost", Members: 2, Install: true, Budget: budget{Writes: 1, Kills: 2, Errors: 2}},
		{Name: "first install, donors lost", Members: 3, Install: true, Sidecar: true, Budget: budget{Writes: 1, Kills: 2, Isolations: 1}},
		{Name: "the donor of two is killed", Members: 3, Install: true, Sidecar: true, Budget: budget{Kills: 1}},
		{Name: "power cuts, kills", Members: 3, Budget: budget{Writes: 2, Kills: 2, Outages: 1}},
		{Name: "second power cut in a recovery", Members: 3, Budget: budget{Writes: 1, Kills: 1, Outages: 2}},
		{Name: "answers of the API lost", Members: 3, Budget: budget{Writes: 1, Kills: 1, Outages: 1, Errors: 2}},
		{Name: "stops in order", Members: 3, Sidecar: true, Budget: budget{Writes: 2, Kills: 1, Stops: 3}},
		{Name: "nodes cut off and back", Members: 3, Sidecar: true, Budget: budget{Writes: 2, Kills: 2, Isolations: 2, Outages: 1}},
		{Name: "a node stays away, policy AllowMajority", Members: 3, Sidecar: true, Majority: true, Budget: budget{Writes: 2, Kills: 1, Isolations: 1, Outages: 1}},
		{Name: "object lost", Members: 3, Budget: budget{Writes: 1, Kills: 2, Outages: 1, Losses: 1}},
		{Name: "object restored from before", Members: 3, Budget: budget{Writes: 1, Kills: 2, Outages: 1, Snapshots: 1, Restores: 1}},
		{Name: "disk lost, or given up with its server alive", Members: 3, Sidecar: true, Budget: budget{Writes: 1, Kills: 1, Isolations: 1, Outages: 1, DiskLosses: 1, Declares: 1}},
		{Name: "disk unreadable", Members: 3, Sidecar: true, Budget: budget{Writes: 2, Kills: 1, Outages: 1, Rots: 1}},
		{Name: "overrides", Members: 3, Budget: budget{Writes: 2, Kills: 2, Outages: 1, Isolations: 1, Overrides: 2}},
		{Name: "scaled from two to three and back", Members: 2, Sidecar: true, Sizes: []uint8{2, 3}, Budget: budget{Writes: 1, Kills: 1, Outages: 1, Scales: 2}},
		{Name: "scaled down", Members: 3, Sidecar: true, Sizes: []uint8{2, 3}, Budget: budget{Writes: 1, Kills: 1, Outages: 1, Scales: 2}},
		{Name: "two members", Members: 2, Sidecar: true, Budget: budget{Writes: 2, Kills: 3, Stops: 2, Isolations: 1, Outages: 2}},
		{Name: "a stranger's data", Members: 3, Stranger: true, Budget: budget{Kills: 2, Overrides: 1}},
		{Name: "four members", Members: 4, Budget: budget{Writes: 1, Kills: 1, Outages: 1}},
	}
}

// More lets every kind of fault that a scenario has happen more often.
func (s Scenario) More(more uint8) Scenario {
	b := &s.Budget
	for _, fault := range []*uint8{&b.Kills, &b.Stops, &b.Outages, &b.Isolations, &b.Snapshots, &b.Restores, &b.Losses, &b.Overrides, &b.Scales, &b.Errors} {
		if *fault > 0 {
			*fault += more
		}
	}
	return s
}
