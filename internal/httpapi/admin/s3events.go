package admin

import (
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/internal/httpapi/problem"
)

const noticesPath = "/v1/events/s3"

var errNoNotifier = problem.Errorf(
	problem.ErrToken,
	"This needs a webhook secret or the admin token, as Authorization: Bearer or as the password of Authorization: Basic (http://any:PASSWORD@host/v1/events/s3).",
)

// notifier returns an error if r may not send notifications of buckets. S3 servers cannot sign as
// feed services do: MinIO sends a token (Authorization: Bearer), versitygw and SNS send the
// credentials of the configured URL (Authorization: Basic; any user name). A webhook secret is
// accepted as the token or password, so that they do not need the admin token, which permits more.
func (p *api) notifier(r *http.Request) error {
	if len(p.notifiers) == 0 && p.AdminToken == "" {
		if p.Dev {
			return nil
		}
		return problem.Errorf(
			problem.ErrTokenUnset,
			"Neither webhook secrets nor an admin token are configured (--webhook-secrets, --admin-token), so notifications are refused.",
		)
	}
	given := ""
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimLeft(token, " ")
	}
	good := p.door.Token.Matches(given)
	for _, secret := range p.notifiers {
		good = secret.Matches(given) || good // all are compared
	}
	if !good {
		return errNoNotifier
	}
	return nil
}

// notice answers POST /v1/events/s3: 202 once the notification is queued.
// Notifications about other buckets, and the test notification that a server sends when it starts,
// are 202 too: refused ones would be sent again forever.
func (p *api) notice(w http.ResponseWriter, r *http.Request) error {
	leave, err := p.intakes.enter()
	if err != nil {
		p.count("", "full")
		return err
	}
	defer leave()
	body, err := readBody(w, r, maxEventBody)
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
