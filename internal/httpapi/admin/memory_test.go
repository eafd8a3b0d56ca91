package admin

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Bodies within the limit of bytes that would take far more memory once decoded are refused before that. (The
// decoder copies the body to its buffer, which grows by doubling.)
func TestPrivate_Post_BoundsMemory(t *testing.T) {
	repeated := func(before, item string, most int) string {
		return before + strings.Repeat(item+",", (most-len(before)-3)/(len(item)+1)-1) + item + "]}"
	}
	var names strings.Builder
	names.WriteByte('{')
	for names.Len() < maxWarmBody-20 {
		fmt.Fprintf(&names, `"%s":0,`, strconv.FormatUint(rand.Uint64N(1<<32), 36))
	}
	names.WriteString(`"":0}`)
	h := (&intake{}).handler(t, nil)
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/v1/warm", repeated(`{"images":[`, `{}`, maxWarmBody), 413},
		{"/v1/warm", repeated(`{"IMAGES":[`, `{}`, maxWarmBody), 413},
		{"/v1/warm", repeated(`{"paths":[`, `""`, maxWarmBody), 413},
		{"/v1/warm", repeated(`{"images":[{"tags":[`, `""`, maxWarmBody), 413},
		{"/v1/warm", repeated(`{"unknown":[`, `{}`, maxWarmBody), 400},
		{"/v1/warm", names.String(), 400},
		{"/v1/info", repeated(`{"images":[`, `{}`, maxInfoBody), 413},
		{"/v1/warm/dead", repeated(`{"ids":[`, `1`, maxEventBody), 413},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost"+c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+adminToken)
		w := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		bytes := int(after.TotalAlloc - before.TotalAlloc)
		t.Logf("%s %.30s: %d, %d KiB allocated for %d KiB of body", c.path, c.body, w.Code, bytes>>10, len(c.body)>>10)
		if w.Code != c.status {
			t.Errorf("%s %.30s: %d %s, want %d", c.path, c.body, w.Code, w.Body, c.status)
		}
		if most := 8*len(c.body) + 8<<20; bytes > most { // the race detector takes half of it
			t.Errorf("%s %.30s: %d bytes were allocated, want at most %d", c.path, c.body, bytes, most)
		}
	}
}
