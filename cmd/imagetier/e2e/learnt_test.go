package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// It takes hours to learn what phones request, so a restart must not lose it.
func TestTier_Warming_LearnedStateSurvivesRestart(t *testing.T) {
	_, origin := newCountingOrigin(t, "phone-android.jpg")
	dir := t.TempDir()
	flags := warmFlags(origin, "--warm", "adaptive", "--wasted-after", "4s", "--cache-dir", dir)
	x := start(t, flags...)
	const posts = 25 // 20 are enough to learn from
	for i := range posts {
		id := fmt.Sprint("p", i)
		x.mustPostEvent("msg_"+id, published(id, id+".jpg", "v.1"))
		x.waitWarm(i + 1)
		x.get(signedPath(t, "/880x/v.1/posts/"+id+".jpg.webp")).want(t, 200, "memory")
	}
	last := time.Now()
	eventually(t, 30*time.Second, "all watches have ended", func() bool {
		used := metric(t, x, "imagetier_prefetch_used_total") // reading it ends expired watches
		n, err := strconv.Atoi(used)
		return time.Since(last) > 5*time.Second && err == nil && n >= posts // mezzanines count, too
	})
	x.stop()

	x = start(t, flags...)
	x.mustPostEvent("msg_new", published("new", "new.jpg", "v.1"))
	x.waitWarm(1)
	x.get(signedPath(t, "/880x/v.1/posts/new.jpg.webp")).want(t, 200, "memory")
	// Not requested before, so not made early.
	x.get(signedPath(t, "/1320x/v.1/posts/new.jpg.jpg")).want(t, 200, "original")
	x.stop()

	// A damaged file is renamed, and learning starts over.
	file := filepath.Join(dir, "warming.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	x = start(t, flags...)
	if log := x.log.String(); !strings.Contains(log, "warming statistics unreadable") {
		t.Errorf("the log does not mention the damaged file:\n%s", log)
	}
	if aside, err := os.ReadFile(file + ".damaged"); err != nil || string(aside) != string(text[:len(text)/2]) {
		t.Errorf("the damaged file was not set aside: %v", err)
	}
	x.mustPostEvent("msg_last", published("last", "last.jpg", "v.1"))
	x.waitWarm(1)
	x.get(signedPath(t, "/1320x/v.1/posts/last.jpg.jpg")).want(t, 200, "memory")
	x.stop()
}
