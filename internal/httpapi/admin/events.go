package admin

import (
	"net/http"

	"github.com/novasocial/imagetier/prefetch/service"
)

const eventsPath = "/v1/events"

// event answers POST /v1/events: 202 once the event is queued, or was queued before; 401 if its
// signature or timestamp is not valid; 413 if it is too large; 422 if it is not valid; 429 and
// 503 if it should be sent again. The answer to a published post says what is made of it, or why nothing is.
//
// A body whose Content-Length is too large is not read at all; of any other at most one byte more
// than the limit is read. Originals that an event names are fetched after the response.
func (p *api) event(w http.ResponseWriter, r *http.Request) error {
	leave, err := p.intakes.enter()
	if err != nil {
		p.count("", "full")
		return err
	}
	defer leave()
	taken, err := p.Operator.Event(r.Context(), r.Header, func() ([]byte, error) {
		return readBody(w, r, maxEventBody)
	})
	label, refusal := outcomeOf(err)
	if refusal == nil && taken.Repeated {
		label = "repeated"
	}
	p.count(taken.Kind, label)
	if refusal != nil {
		return refusal
	}
	answer := struct {
		Accepted int               `json:"accepted"`
		Posts    []service.Planned `json:"posts,omitempty"`
	}{1, taken.Posts}
	if taken.Repeated {
		answer.Accepted = 0
	}
	return writeJSON(w, r, http.StatusAccepted, answer)
}
