package measure

import (
	"time"
)

// Stage is a part of the way to an answer.
type Stage uint8

const (
	Lookup Stage = iota // one tier's Get
	Origin              // one request to an origin, body included
	Queue               // waiting for a resize process
	Resize              // one job of the resizer
	Store               // one tier's Put
	numStages
)

var stageNames = [numStages]string{"lookup", "origin", "queue", "resize", "store"}

// String returns the label.
func (st Stage) String() string { return stageNames[st] }

func (s *Set) newStages() {
	vec := s.auto.NewHistogramVec(
		histogram("stage_duration_seconds", "Time of the parts of answering: a tier's lookup, an origin's answer, waiting for a resize process, resizing, a tier's store."),
		[]string{"stage"})
	for st := range numStages {
		s.stages[st] = vec.WithLabelValues(st.String())
	}
}

// Stage tells how long something took that no wrapper sees: Queue, of the pool of
// resize processes. It may be given away as a func.
func (s *Set) Stage(stage Stage, took time.Duration) {
	s.stages[stage].Observe(took.Seconds())
}
