package metrics

import "github.com/prometheus/client_golang/prometheus"

// FleetStats is the state of replication on a node. A node that is alone has only zeros.
type FleetStats struct {
	Unsent  int               // decisions that wait to be sent to the other nodes
	Owed    int               // purges that failed here and will be retried
	Applied map[string]uint64 // number of the last entry that was applied, by log
}

// Fleet exports the state of replication. stats is called for each scrape.
func (s *Set) Fleet(stats func() FleetStats) {
	unsent := sampledGauge("fleet_unsent_decisions",
		"Purges, takedowns and tags that wait to be sent to the other nodes.")
	owed := sampledGauge("fleet_failed_purges", "Purges of other nodes that failed here and will be retried.")
	applied := sampledGauge("fleet_applied_entries",
		"Number of the last entry of a replicated log that this node has applied.", "log")
	s.instruments.reg.MustRegister(collect(func(out chan<- prometheus.Metric) {
		now := stats()
		unsent.send(out, float64(now.Unsent))
		owed.send(out, float64(now.Owed))
		for log, number := range now.Applied {
			applied.send(out, float64(number), log)
		}
	}))
}
