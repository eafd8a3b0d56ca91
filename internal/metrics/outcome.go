package metrics

import (
	"context"
	"errors"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// Outcome labels of success, and of an error that is in no table.
const (
	ok      = "ok"
	unknown = "error"
)

// outcome is a row of a table from error to label.
type outcome struct {
	err   error
	label string
}

// An error has the label of the first row that errors.Is finds in it, so an exact error stands
// above what it is wrapped with: an origin that was too slow is unavailable too. Two errors have
// different labels if an operator would react to them differently.
var (
	originOutcomes = []outcome{
		{origin.ErrNotModified, "not_modified"},
		{origin.ErrNotFound, "not_found"},
		{origin.ErrChanged, "changed"},
		{origin.ErrNoCredentials, "no_credentials"},
		{origin.ErrExpired, "credentials_expired"},
		{origin.ErrCredentials, "credentials_not_accepted"},
		{origin.ErrClock, "clock"},
		{origin.ErrDenied, "denied"},
		{origin.ErrRejected, "rejected"},
		{origin.ErrName, "name"},
		{origin.ErrTooLarge, "too_large"},
		{errUnread, "unread"},
		{origin.ErrBusy, "busy"},
		{origin.ErrConnRefused, "connection_refused"},
		{origin.ErrConnReset, "connection_closed"},
		{origin.ErrNoHost, "no_such_host"},
		{origin.ErrTLS, "tls"},
		{origin.ErrRegion, "wrong_region"},
		{origin.ErrNoBucket, "no_such_bucket"},
		{origin.ErrDigest, "digest"},
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
		{origin.ErrUnavailable, "unavailable"},
	}
	resizeOutcomes = []outcome{
		{resize.ErrSpec, "spec"},
		{resize.ErrUnsupported, "unsupported"},
		{resize.ErrTooLarge, "too_large"},
		{resize.ErrCorrupt, "corrupt"},
		{resize.ErrBusy, "busy"},
		{resize.ErrTimeout, "timeout"},
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
		{resize.ErrFailed, "failed"},
	}
)

// errUnread is the end of a request whose body was closed before its end: it was too large, or no longer needed.
var errUnread = errors.New("body not read to its end")

// labelOf returns ok, the label of err, or unknown.
func labelOf(rows []outcome, err error) string {
	if err == nil {
		return ok
	}
	for _, row := range rows {
		if errors.Is(err, row.err) {
			return row.label
		}
	}
	return unknown
}

// labelsOf returns each label that labelOf can return, once.
func labelsOf(rows []outcome) []string {
	labels := []string{ok, unknown}
	seen := map[string]bool{ok: true, unknown: true}
	for _, row := range rows {
		if !seen[row.label] {
			seen[row.label] = true
			labels = append(labels, row.label)
		}
	}
	return labels
}
