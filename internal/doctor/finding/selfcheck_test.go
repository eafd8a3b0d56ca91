package finding

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

func TestSelfCheck_LogsFindingsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		runs := 0
		err := SelfCheck(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) Report {
			runs++
			return Report{
				Good("codecs", "all there"),
				Bad("source posts", "check the bucket's name", "no such bucket"),
				Warn("settings", "use a longer one", "the token is short"),
			}
		})
		if err != nil {
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

func TestSelfCheck_EndsWithProgram(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := SelfCheck(ctx, slog.New(slog.DiscardHandler), nil); err != nil {
		t.Error(err)
	}
}
