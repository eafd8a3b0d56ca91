package admin

import (
	"net/http"
)

const eventsPath = "/v1/events"

// event answers POST /v1/events: 202 once the event is queued, or was queued before; 401 if its
// signature or timestamp is not valid; 413 if it is too large; 422 if it is not valid; 429 and
// 503 if it should be sent again.
//
// Of a body that is too large by its own word nothing is read, of any other at most one byte
// more than is allowed. Nothing that an event names is fetched before the answer.
func (p *api) event(w http.ResponseWriter, r *http.Request) error {
	leave, err := p.intakes.enter()
	if err != nil {
		p.count("", "full")
		return err
	}
	defer leave()
	kind, repeated, err := p.Operator.Event(r.Context(), r.Header, func() ([]byte, error) {
		return readBody(w, r, maxEventBody)
	})
	label, refusal := outcomeOf(err)
	if refusal == nil && repeated {
		label = "repeated"
	}
	p.count(kind, label)
	if refusal != nil {
		return refusal
	}
	n := 1
	if repeated {
		n = 0
	}
	return accepted(w, r, n)
}
