// Package circuit is the circuit breaker of everything that calls another service: origins, the
// shared store, Redis and the services behind the gateway. It wraps sony/gobreaker, which uses
// the time package, so that tests run it under testing/synctest.
package circuit

import (
	"cmp"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// State is the state of a Breaker. The numbers are those of the metrics.
type State int

const (
	Closed   State = 0 // all calls pass
	HalfOpen State = 1 // Config.Probes calls pass
	Open     State = 2 // no call passes
)

// String returns the state's name.
func (s State) String() string { return [...]string{"closed", "half-open", "open"}[s] }

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}

// Config says when a Breaker opens and closes.
type Config struct {
	// Name is passed to Changed.
	Name string
	// Failures in a row open the breaker. 0 is 5; a negative number never opens it.
	Failures int
	// The breaker also opens if at least Calls calls ended within Window and the share Rate of
	// them failed. 0 is 0.5, 20 and 10 s.
	Rate   float64
	Calls  int
	Window time.Duration
	// Pause is how long the breaker stays open before it lets Probes calls try. 0 is 2 s: an
	// attempt costs the service little, an outage that has ended costs users much.
	Pause time.Duration
	// Probes is how many calls may try at once, and how many must succeed in a row to close the
	// breaker. One failure opens it again. 0 is 1.
	Probes int
	// Changed, if not nil, is called with every change of state, one at a time and with a lock
	// held: it must not call the Breaker.
	Changed func(name string, to State)
}

// Result is the result of a call, as far as it concerns the service.
type Result int

const (
	Success Result = iota
	Failure
	Ignored // nothing: the caller left, or the answer is about the request
)

var (
	errFailure = errors.New("failed")
	errIgnored = errors.New("ignored")
)

// ErrOpen is the error of calls that the breaker does not let pass.
var ErrOpen = errors.New("circuit breaker open")

// Breaker is a circuit breaker. It is safe for concurrent use.
type Breaker struct {
	steps *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// New returns a closed Breaker.
func New(cfg Config) *Breaker {
	cfg.Failures = cmp.Or(cfg.Failures, 5)
	cfg.Rate = cmp.Or(cfg.Rate, 0.5)
	cfg.Calls = cmp.Or(cfg.Calls, 20)
	cfg.Window = cmp.Or(cfg.Window, 10*time.Second)
	settings := gobreaker.Settings{
		Name:         cfg.Name,
		MaxRequests:  uint32(cmp.Or(cfg.Probes, 1)),
		Interval:     cfg.Window,
		BucketPeriod: max(cfg.Window/10, 1),
		Timeout:      cmp.Or(cfg.Pause, 2*time.Second),
		ReadyToTrip: func(n gobreaker.Counts) bool {
			ended := n.TotalSuccesses + n.TotalFailures
			return cfg.Failures > 0 && int(n.ConsecutiveFailures) >= cfg.Failures ||
				int(ended) >= cfg.Calls && float64(n.TotalFailures) >= cfg.Rate*float64(ended)
		},
		IsExcluded: func(err error) bool { return err == errIgnored },
	}
	if cfg.Changed != nil {
		settings.OnStateChange = func(name string, _, to gobreaker.State) { cfg.Changed(name, stateOf(to)) }
	}
	return &Breaker{gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)}
}

// State returns the current state.
func (b *Breaker) State() State { return stateOf(b.steps.State()) }

// Allow returns ErrOpen if the service must not be called. Otherwise the caller calls it, and then
// done exactly once, also after a panic.
func (b *Breaker) Allow() (done func(Result), err error) {
	report, err := b.steps.Allow()
	if err != nil {
		return nil, ErrOpen
	}
	return func(r Result) { report([...]error{nil, errFailure, errIgnored}[r]) }, nil
}
