package workers_test

import (
	"testing"

	"github.com/novasocial/imagetier/resize/workers"
)

func TestPool_ReplaceWatermarks(t *testing.T) {
	cfg := fake(workers.Config{Workers: 1, Watermarks: map[string][]byte{"logo": []byte("a")}})
	cfg.Env = fakeEnv("decodes")
	p := running(t, cfg)
	want := func(picture string) {
		t.Helper()
		if got := pid(t, p, "watermark"); got != picture {
			t.Errorf("a job has watermark %q, want %q", got, picture)
		}
	}
	want("a")
	before := pid(t, p, "ok")
	if err := p.ReplaceWatermarks(t.Context(), map[string][]byte{"logo": []byte("broken")}); err == nil {
		t.Error("a watermark that cannot be decoded was accepted")
	}
	want("a")
	if after := pid(t, p, "ok"); after != before {
		t.Error("a failed change replaced the child")
	}
	if err := p.ReplaceWatermarks(t.Context(), map[string][]byte{"logo": []byte("b")}); err != nil {
		t.Fatal(err)
	}
	want("b")
	if err := p.ReplaceWatermarks(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want("none")
}
