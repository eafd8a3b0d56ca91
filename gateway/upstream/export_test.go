package upstream

import "github.com/novasocial/imagetier/internal/circuit"

// States returns the states of the breakers, by service.
func (s *Services) States() map[string]circuit.State {
	states := make(map[string]circuit.State, len(s.all))
	for _, one := range s.all {
		states[one.name] = one.breaker.State()
	}
	return states
}
