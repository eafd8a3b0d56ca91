package metrics

import "time"

// stage is a part of the way to an answer.
type stage uint8

const (
	stageLookup stage = iota // one tier's Get
	stageOrigin              // one request to an origin, body included
	stageQueue               // waiting for a resize process
	stageResize              // one job of the resizer
	stageStore               // one tier's Put
	numStages
)

var stageNames = [numStages]string{"lookup", "origin", "queue", "resize", "store"}

// String returns the label.
func (st stage) String() string { return stageNames[st] }

func (s *Set) newStages() {
	vec := s.auto.NewHistogramVec(
		histogram("stage_duration_seconds", "Time of the parts of answering: a tier's lookup, an origin's answer, waiting for a resize process, resizing, a tier's store."),
		[]string{"stage"})
	for st := range numStages {
		s.stages[st] = vec.WithLabelValues(st.String())
	}
}

// Waited tells how long a job waited for a resize process, which no wrapper sees.
func (s *Set) Waited(took time.Duration) { s.stages[stageQueue].Observe(took.Seconds()) }
