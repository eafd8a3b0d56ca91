package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/internal/httpapi/problem"
)

const noticesPath = "/v1/events/s3"

var errNoNotifier = problem.Errorf(
	problem.ErrToken,
	"This needs a webhook secret or the admin token, as Authorization: Bearer or as the password of Authorization: Basic (http://any:PASSWORD@host/v1/events/s3).",
)

// notifier returns why r may not tell what happens in buckets. S3 servers cannot sign as feed
// services do: MinIO sends a token (Authorization: Bearer), versitygw and SNS send what
// stands in the URL that they are given (Authorization: Basic; the name does not matter). A
// webhook secret is enough for them, so that none needs the admin token, which can do more.
func (p *api) notifier(r *http.Request) error {
	if len(p.notifiers) == 0 && p.AdminToken == "" {
		if p.Dev {
			return nil
		}
		return problem.Errorf(
			problem.ErrTokenUnset,
			"Neither webhook secrets nor an admin token are configured (--webhook-secrets, --admin-token), so nothing is taken in here.",
		)
	}
	given := ""
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimLeft(token, " ")
	}
	sum := sha256.Sum256([]byte(given))
	good := 0
	if p.AdminToken != "" {
		good |= subtle.ConstantTimeCompare(sum[:], p.token[:])
	}
	for i := range p.notifiers {
		good |= subtle.ConstantTimeCompare(sum[:], p.notifiers[i][:])
	}
	if good == 0 {
		return errNoNotifier
	}
	return nil
}

// notice answers POST /v1/events/s3: 202 once the notification is queued.
// What is about no source of ours, like the test that a server sends when it starts, is 202
// too: a server that is refused would send it for ever.
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
