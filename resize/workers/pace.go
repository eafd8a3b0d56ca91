package workers

import "time"

// pace is how long jobs take on this machine as it is now, to what was predicted: a slower
// one, or one that others use too, is to refuse sooner what would have to wait too long. The
// zero value is as predicted.
type pace struct{ over float64 }

const (
	paceFrom = 10 * time.Millisecond // what is predicted to take less says little
	paceOf   = 16                    // jobs, about, that it is learnt from
	paceMost = 8                     // one odd job does not close the queue
)

// learn says that what was predicted to take that much CPU time took so long.
func (p *pace) learn(predicted, took time.Duration) {
	if predicted < paceFrom {
		return
	}
	ratio := min(max(float64(took)/float64(predicted), 1.0/paceMost), paceMost)
	p.over += (ratio - 1 - p.over) / paceOf
}

// of returns how long it takes to do what is predicted to take d of CPU time.
func (p *pace) of(d time.Duration) time.Duration { return times(d, 1+p.over) }
