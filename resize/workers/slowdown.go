package workers

import "time"

// slowdown is how much longer jobs take than predicted on this machine at the moment, as a moving
// average. On a slow or busy machine the queue must refuse jobs sooner to keep waits short. The
// zero value means that predictions are right.
type slowdown struct{ extra float64 } // measured / predicted - 1

const (
	minPredicted = 10 * time.Millisecond // shorter jobs are too noisy to count
	slowdownJobs = 16                    // approximate window of the average, in jobs
	maxSlowdown  = 8                     // so that one outlier does not close the queue
)

// observe records that a job with this predicted CPU time took this long.
func (s *slowdown) observe(predicted, took time.Duration) {
	if predicted < minPredicted {
		return
	}
	ratio := min(max(float64(took)/float64(predicted), 1.0/maxSlowdown), maxSlowdown)
	s.extra += (ratio - 1 - s.extra) / slowdownJobs
}

// scale returns how long a job with predicted CPU time d is expected to take.
func (s *slowdown) scale(d time.Duration) time.Duration { return times(d, 1+s.extra) }
