package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A JPEG that arrives slowly is decoded meanwhile, and gives the same bytes as one that arrives at once. How
// early its job begins depends on how fast the machine receives and decodes, so several are tried.
func TestTier_Early_DecodesWhileOriginalArrives(t *testing.T) {
	t.Parallel()
	const (
		name     = "phone-android.jpg"
		pieces   = 100
		download = 300 * time.Millisecond
		tries    = 20
	)
	body, err := os.ReadFile(filepath.Join(photos(t), name))
	if err != nil {
		t.Fatal(err)
	}
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		tick := time.NewTicker(download / pieces)
		defer tick.Stop()
		for i := range pieces {
			_, _ = w.Write(body[len(body)*i/pieces : len(body)*(i+1)/pieces])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}))
	x := start(t, warmFlags(origin+"/", "--source", "photos=dir://"+photos(t), "--cache-dir", t.TempDir())...)
	complete := x.get(signedPath(t, "/640x/v.1/photos/"+name+".jpg"))
	complete.want(t, 200, "origin")
	const made = `imagetier_early_jobs_total{event="made"}`
	for i := 0; i < tries && metric(t, x, made) == "0"; i++ {
		got := x.get(signedPath(t, fmt.Sprintf("/640x/v.1/posts/%d.jpg.jpg", i)))
		got.want(t, 200, "origin")
		if !bytes.Equal(got.body, complete.body) {
			t.Errorf("try %d: %d bytes, want the %d of the complete original", i, len(got.body), len(complete.body))
		}
	}
	if metric(t, x, made) == "0" {
		t.Errorf("no early job was made in %d tries\n%s", tries, x.get("/metrics").body)
	}
}
