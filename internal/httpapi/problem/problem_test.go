package problem

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/objectname"
	"github.com/novasocial/imagetier/resize"
)

func TestTable_Codes_AreDistinctAndDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/api/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, row := range append(private, internal, clientGone) {
		if seen[row.Code] || !plain.MatchString(row.Code) {
			t.Errorf("code %q of %v is not distinct and plain", row.Code, row.Err)
		}
		seen[row.Code] = true
		line := fmt.Sprintf("| `%s` | %d |", row.Code, row.Status)
		if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(line)).Match(doc) {
			t.Errorf("docs/api/errors.md has no row %s", line)
		}
		if http.StatusText(row.Status) == "" && row.Status != StatusClientGone {
			t.Errorf("%s: status %d", row.Code, row.Status)
		}
	}
}

func TestTable_Of_PrefersSpecificRow(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		code string
	}{
		{t.Context(), fmt.Errorf("%w: %w", ErrPurge, context.DeadlineExceeded), "purge_incomplete"},
		{t.Context(), context.DeadlineExceeded, "timeout"},
		{t.Context(), context.Canceled, "shutting_down"},
		{canceled, fmt.Errorf("wait: %w", context.Canceled), "client_gone"},
		{t.Context(), errors.New("other"), "internal"},
	} {
		if row := private.Of(c.ctx, c.err); row.Code != c.code {
			t.Errorf("%v is %s, want %s", c.err, row.Code, c.code)
		}
	}
}

func TestRow_DetailOf_NamesLimit(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&resize.LimitError{What: "it has 40 frames, the limit is 30 (--max-frames)"},
			"The original or the image exceeds a limit: it has 40 frames, the limit is 30 (--max-frames)."},
		{&origin.SizeError{Max: 1000},
			"The original has more bytes than allowed: the limit is 1000 (--max-original-bytes)."},
	} {
		err := fmt.Errorf("fill: %w", c.err)
		row := New(0).Of(t.Context(), err)
		if got := row.DetailOf(err); row.Status != http.StatusRequestEntityTooLarge || got != c.want {
			t.Errorf("%d, %q, want 413, %q", row.Status, got, c.want)
		}
	}
}

func TestRow_DetailOf_NamesReason(t *testing.T) {
	_, unsupported := resize.ReadHeader([]byte("BM" + strings.Repeat("x", 60)))
	_, damaged := resize.ReadHeader([]byte("\xff\xd8\xff\xd9"))
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{unsupported, http.StatusUnsupportedMediaType, "Originals of this kind are not decoded: BMP."},
		{damaged, http.StatusUnprocessableEntity,
			"The original is broken or cut short: jpeg: it has no image before its end."},
		{objectname.HTTP.Check("a b.jpg"), http.StatusBadRequest,
			"The name is not valid in this source: ' ' must be percent-encoded."},
	} {
		err := fmt.Errorf("fill: %w", c.err)
		row := New(0).Of(t.Context(), err)
		if got := row.DetailOf(err); row.Status != c.status || got != c.want {
			t.Errorf("%d, %q, want %d, %q", row.Status, got, c.status, c.want)
		}
	}
}

func TestNew_NegativeTTL(t *testing.T) {
	for _, row := range New(90 * time.Second) {
		if row.CacheControl == "" || row.Status == http.StatusNotFound && row.CacheControl != "public, max-age=90" {
			t.Errorf("%s: Cache-Control %q", row.Code, row.CacheControl)
		}
	}
}
