package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/novasocial/imagetier/internal/doctor"
)

func TestSelfCheck_LogsFindingsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		runs := 0
		check := func(context.Context, doctor.Input) []doctor.Finding {
			runs++
			return []doctor.Finding{
				{Name: "codecs", Level: doctor.OK, Text: "all there"},
				{Name: "source posts", Level: doctor.Fault, Text: "no such bucket", Fix: "check the bucket's name"},
				{Name: "settings", Level: doctor.Warning, Text: "the token is short", Fix: "use a longer one"},
			}
		}
		if err := selfCheck(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), doctor.Input{}, check); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			`level=ERROR msg=self-check subject="source posts" finding="no such bucket" fix="check the bucket's name"`,
			`level=WARN msg=self-check subject=settings`, `faults=1 warnings=1`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s is not in:\n%s", want, &log)
			}
		}
		if strings.Contains(log.String(), "codecs") || runs != 1 {
			t.Errorf("%d runs:\n%s", runs, &log)
		}
	})
}

func TestSelfCheck_EndsWithServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := selfCheck(ctx, slog.New(slog.DiscardHandler), doctor.Input{}); err != nil {
		t.Error(err)
	}
}
