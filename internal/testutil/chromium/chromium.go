// Package chromium starts a real browser for tests. It is apart from testutil so that other tests
// do not link chromedp.
package chromium

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/novasocial/imagetier/internal/testutil"
)

// limit ends a browser whose test hangs.
const limit = 90 * time.Second

// Start starts Chromium with an empty profile and returns the chromedp context of a new tab. The
// browser ends with the test. With -short, and where no Chromium is installed, the test is skipped
// ([testutil.Command]).
func Start(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := testutil.Command(t, "apt-get install chromium", "chromium", "chromium-browser", "google-chrome")
	options := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return ctx
}
