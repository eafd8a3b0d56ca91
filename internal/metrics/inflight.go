package metrics

import "github.com/prometheus/client_golang/prometheus"

// InFlightStats are the statistics of the budget of originals in flight.
type InFlightStats struct {
	Bytes, Size     int64 // in flight, and the most of them
	Waits, Refusals int64 // since the start: bodies that waited for room, and those that got none
}

// InFlight exports the state of the budget of originals in flight. stats is called for each scrape.
func (s *Set) InFlight(stats func() InFlightStats) {
	bytes := sampledGauge("in_flight_bytes", "Originals that are being fetched, decoded or sent.")
	size := sampledGauge("in_flight_limit_bytes", "The most bytes of originals in flight.")
	waits := sampledCounter("in_flight_waits_total", "Originals that waited for room in memory.")
	refusals := sampledCounter("in_flight_refusals_total", "Originals for which there was no room in memory.")
	s.instruments.reg.MustRegister(collect(func(out chan<- prometheus.Metric) {
		now := stats()
		bytes.send(out, float64(now.Bytes))
		size.send(out, float64(now.Size))
		waits.send(out, float64(now.Waits))
		refusals.send(out, float64(now.Refusals))
	}))
}
