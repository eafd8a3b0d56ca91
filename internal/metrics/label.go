package metrics

import (
	"context"
	"errors"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// What an outcome label is of a thing that did not fail, and of an error of no known kind.
const (
	ok      = "ok"
	unknown = "error"
)

// outcome is a row of the one table error → label.
type outcome struct {
	err   error
	label string
}

// An error has the label of the first row that errors.Is finds in it, so what is more
// exact stands above what it is wrapped with: an origin that was too slow is unavailable
// too. Labels are told apart by what an operator would do about them.
var (
	originOutcomes = []outcome{
		{origin.ErrNotModified, "not_modified"},
		{origin.ErrNotFound, "not_found"},
		{origin.ErrChanged, "changed"},
		{origin.ErrDenied, "denied"},
		{origin.ErrName, "name"},
		{origin.ErrTooLarge, "too_large"},
		{errUnread, "unread"},
		{origin.ErrBusy, "busy"},
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

// errUnread: the reader of an original stopped before its end (it was too large, or no
// longer wanted).
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

// labelsOf returns every label that labelOf can return, each once.
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
