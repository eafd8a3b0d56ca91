package upstream

import (
	"cmp"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// State is where a breaker stands; its numbers are those of the metric.
type State int

const (
	Closed   State = 0 // all calls are let through
	HalfOpen State = 1 // one is, to see
	Open     State = 2 // none is
)

// String returns the state's name.
func (s State) String() string { return [...]string{"closed", "half-open", "open"}[s] }

// Breaker says when the breaker of a service opens. What counts as a failure: that the
// service did not answer in time, cannot be reached, or says that it is broken. What counts
// neither way: a caller that left, and answers about the request and not the service, as
// NOT_FOUND and INVALID_ARGUMENT.
type Breaker struct {
	// Failures in a row open it. 0 is 5.
	Failures int
	// So does the share Rate of the calls within Window that failed, if there were at
	// least Calls. 0 is 0.5, 10 s and 20.
	Rate   float64
	Window time.Duration
	Calls  int
	// Pause is how long it stays open. Then one call may try: if it succeeds the breaker
	// closes, if it fails it stays open for another Pause. 0 is 2 s: a try costs little.
	Pause time.Duration
	// Moved is called with every change of state, one at a time and with a lock held: it
	// must not ask this package anything. nil: none.
	Moved func(service string, to State)
}

func (b Breaker) withDefaults() Breaker {
	b.Failures = cmp.Or(b.Failures, 5)
	b.Rate = cmp.Or(b.Rate, 0.5)
	b.Window = cmp.Or(b.Window, 10*time.Second)
	b.Calls = cmp.Or(b.Calls, 20)
	b.Pause = cmp.Or(b.Pause, 2*time.Second)
	if b.Moved == nil {
		b.Moved = func(string, State) {}
	}
	return b
}

// of makes the breaker of a service. b has its defaults.
func (b Breaker) of(service string) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         service,
		MaxRequests:  1,
		Interval:     b.Window,
		BucketPeriod: max(b.Window/10, 1),
		Timeout:      b.Pause,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			ended := n.TotalSuccesses + n.TotalFailures
			return int(n.ConsecutiveFailures) >= b.Failures ||
				int(ended) >= b.Calls && float64(n.TotalFailures) >= b.Rate*float64(ended)
		},
		IsSuccessful:  func(err error) bool { return err == nil },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoSign) },
		OnStateChange: func(name string, _, to gobreaker.State) { b.Moved(name, stateOf(to)) },
	})
}

// State returns where the service's breaker stands.
func (s *service) State() State { return stateOf(s.breaker.State()) }

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}
