package admin

import (
	"net/http"
)

const eventsPath = "/v1/events"

// event answers POST /v1/events: 202 once what the feed service says lies in the queue, and
// for what was taken before; 401 if it is not signed as it should be, or not now; 413 and 422
// for what is too large or no event; 429 and 503 for what should be sent again.
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
