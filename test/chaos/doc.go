// Package chaos kills members of a Galera cluster at random moments, round
// after round, with real servers, the real galera-init and a real API server,
// under clients that write. It judges every round as the drill does its acts,
// and besides by what was seen of the processes from outside: no server may
// begin a group while another one of the cluster runs.
//
// A round follows from its seed: which disaster, who, when. What the processes
// make of it does not, so a seed repeats the attack and not always the outcome.
package chaos
