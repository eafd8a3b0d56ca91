package fleet

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
)

// Stats is the state of a node and of its fleet.
type Stats struct {
	Node    string // id of this node
	Alone   bool   // this node has no fleet; the rest is zero
	Ready   bool
	Waiting string // why decisions are not sent; "" if all are sent
	Unsent  int    // decisions that wait to be sent
	Pending int    // decisions with a pending receipt
	Owed    int    // purges that failed here and will be retried

	Logs    []LogStats
	Members []MemberStats // sorted by id
	Err     error         // why LogStats.Last, or Members, are unknown
}

// LogStats is how far a node has applied a log.
type LogStats struct {
	Name    string
	Applied uint64 // number of the last entry that this node has applied
	Last    uint64 // number of the log's last entry; 0 if it is not known
}

// MemberStats is a node of the fleet.
type MemberStats struct {
	ID string
	// Silent is how long it has not reported, compared with the node that reported last.
	Silent time.Duration
}

// followed are the logs that every node applies.
var followed = []jetstream.Log{jetstream.Purges, jetstream.Takedowns, jetstream.Tags}

// LocalStats returns what this node knows without asking the cluster: Members and the ends of Logs are
// not set.
func (n *Node) LocalStats() Stats {
	s := Stats{Node: n.id, Alone: n.alone(), Waiting: n.Waiting(), Unsent: n.state.outbox.len()}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Ready, s.Pending, s.Owed = n.ready, len(n.receipts), len(n.owed)
	for _, l := range followed {
		s.Logs = append(s.Logs, LogStats{Name: l.String(), Applied: n.applied[l]})
	}
	return s
}

// Stats asks the cluster for the ends of the logs and the nodes of the fleet.
func (n *Node) Stats(ctx context.Context) Stats {
	s := n.LocalStats()
	if s.Alone {
		return Stats{Node: s.Node, Alone: true}
	}
	for i, l := range followed {
		log, err := n.cfg.Cluster.State(ctx, l)
		if err != nil {
			s.Err = err
			return s
		}
		s.Logs[i].Last = log.Last
	}
	members, err := n.cfg.Cluster.Members(ctx)
	if err != nil {
		s.Err = err
		return s
	}
	var last time.Time // by the clock of the cluster, which is not this machine's
	for _, m := range members.Nodes {
		if m.Put.After(last) {
			last = m.Put
		}
	}
	for _, m := range members.Nodes {
		s.Members = append(s.Members, MemberStats{ID: m.ID, Silent: last.Sub(m.Put)})
	}
	slices.SortFunc(s.Members, func(a, b MemberStats) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// TakedownCount returns how many originals are taken down.
func (s *State) TakedownCount() int { return int(s.takedowns.down.Load()) }
