package admin

import (
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/internal/httpapi/problem"
)

const noticesPath = "/v1/events/s3"

var errNoNotifier = problem.Errorf(
	problem.ErrToken,
	"This needs the token of --s3-events-token, as Authorization: Bearer or as the password of Authorization: Basic "+
		"(http://any:TOKEN@host/v1/events/s3).",
)

// notifies returns an error if r may not send notifications of buckets. S3 servers cannot sign as
// feed services do: MinIO sends a token (Authorization: Bearer), versitygw and SNS send the
// credentials of the configured URL (Authorization: Basic; any user name), SNS only after a 401 that
// offers it. So the token travels in clear text, and permits nothing else.
func (p *api) notifies(r *http.Request) error {
	if !p.S3EventsToken.Set() {
		if p.Dev {
			return nil
		}
		return problem.Errorf(
			problem.ErrTokenUnset, "No token is configured (--s3-events-token), so notifications are refused.",
		)
	}
	given := ""
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimLeft(token, " ")
	}
	if !p.S3EventsToken.Matches(given) {
		return errNoNotifier
	}
	return nil
}

// notice answers POST /v1/events/s3: 202 once the notification is queued.
// Notifications about other buckets, and the test notification that a server sends when it starts,
// are 202 too: refused ones would be sent again forever. A request of SNS to confirm a subscription is
// 202 when it was confirmed or never will be.
func (p *api) notice(w http.ResponseWriter, r *http.Request) error {
	leave, err := p.intakes.enter()
	if err != nil {
		p.count("", "full")
		return err
	}
	defer leave()
	body, err := readBody(w, r, maxEventBody)
	if m, ok := snsConfirmation(body); ok && err == nil {
		if err := p.confirmSNS(r.Context(), m); err != nil {
			return err
		}
		return accepted(w, r, 0)
	}
	var kinds []string
	if err == nil {
		kinds, err = p.Operator.Notice(r.Context(), body)
	}
	label, refusal := outcomeOf(err)
	switch {
	case refusal != nil:
		p.count("", label)
		return refusal
	case len(kinds) == 0:
		p.count("", "ignored")
	}
	for _, kind := range kinds {
		p.count(kind, label)
	}
	return accepted(w, r, len(kinds))
}
