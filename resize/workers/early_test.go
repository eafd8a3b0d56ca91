package workers_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

// whenIdle calls Resize with an early job once a child is idle.
func whenIdle(ctx context.Context, p *workers.Pool, job resize.Job) error {
	for {
		err := p.Resize(ctx, job)
		if err == nil || !strings.Contains(err.Error(), "no child is idle") {
			return err
		}
		runtime.Gosched()
	}
}

// early begins a job for the original that is arriving.
func early(ctx context.Context, p *workers.Pool, a *resize.Arriving) (ended chan error, made chan resize.Image) {
	ended, made = make(chan error, 1), make(chan resize.Image, 1)
	go func() {
		ended <- whenIdle(ctx, p, resize.Job{
			Early: a, Specs: []resize.Spec{small}, Made: func(_ int, img resize.Image) { made <- img },
		})
	}()
	return ended, made
}

// arriving returns an original of which the first piece has arrived, and all of its bytes.
func arriving(text string) (a *resize.Arriving, whole []byte) {
	whole = append([]byte(text), make([]byte, 200<<10)...)
	a = resize.NewArriving(len(whole))
	a.Add(whole[:100<<10])
	return a, whole
}

func TestPool_Resize_EarlyIsMadeOnceUsable(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, EarlyPatience: time.Hour}))
	child := pid(t, p, "ok")
	a, whole := arriving("ok")
	ended, made := early(t.Context(), p, a)
	until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
	a.Add(whole)
	select {
	case <-made:
		t.Error("an image was made before the original was verified")
	default:
	}
	a.End(true)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if img := <-made; string(img.Body) != jpegMagic+child {
		t.Errorf("image %q was made by another child than %s", img.Body, child)
	}
}

func TestPool_Resize_EarlyIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration
		then     func(a *resize.Arriving)
		late     bool
	}{
		"unusable": {time.Hour, func(a *resize.Arriving) { a.End(false) }, false},
		"too few":  {time.Hour, func(a *resize.Arriving) { a.End(true) }, false},
		"late":     {time.Millisecond, func(*resize.Arriving) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := running(t, fake(workers.Config{Workers: 1, EarlyPatience: c.patience}))
			child := pid(t, p, "ok")
			a, _ := arriving("ok")
			ended, made := early(t.Context(), p, a)
			until(t, "one busy child", func() bool { return p.Stats().Busy == 1 || c.late })
			c.then(a)
			err := <-ended
			if !errors.Is(err, resize.ErrNotEarly) || errors.Is(err, context.DeadlineExceeded) != c.late {
				t.Errorf("%v, want ErrNotEarly, late %v", err, c.late)
			}
			if len(made) > 0 {
				t.Error("an image was made")
			}
			if again := pid(t, p, "ok"); again != child {
				t.Error("the child was replaced")
			}
		})
	}
}

// The requests of an early job that is given up wait for another job, and not for a new child.
func TestPool_Resize_EarlyEndsBeforeItsChildIsRenewed(t *testing.T) {
	cfg := fake(workers.Config{Workers: 1, EarlyPatience: time.Hour, MaxJobs: 2})
	cfg.Env = fakeEnv("once " + filepath.Join(t.TempDir(), "started"))
	p := running(t, cfg)
	pid(t, p, "ok")
	a, _ := arriving("ok")
	ended, _ := early(t.Context(), p, a)
	until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
	a.End(false)
	select {
	case err := <-ended:
		if !errors.Is(err, resize.ErrNotEarly) {
			t.Errorf("%v, want ErrNotEarly", err)
		}
	case <-time.After(5 * time.Second): // a start may take 10 s
		t.Error("the job waits for the new child, which does not start")
	}
}

func TestPool_Resize_EarlyCallerLeaves(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, EarlyPatience: time.Hour}))
	pid(t, p, "ok")
	a, _ := arriving("ok")
	ctx, leave := context.WithCancel(t.Context())
	ended, _ := early(ctx, p, a)
	until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's own reason", err)
	}
	pid(t, p, "ok")
}

func TestPool_Resize_EarlyCrashIsNotTriedAgain(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, EarlyPatience: time.Hour}))
	pid(t, p, "ok")
	a, _ := arriving("crash")
	ended, _ := early(t.Context(), p, a)
	if err := <-ended; !errors.Is(err, resize.ErrNotEarly) || errors.Is(err, resize.ErrCorrupt) {
		t.Errorf("%v, want ErrNotEarly", err)
	}
	pid(t, p, "ok")
	if n := p.Stats().Restarts[workers.Crashed]; n != 1 {
		t.Errorf("%d crashes, want 1", n)
	}
}

func TestPool_Resize_EarlyNeedsIdleChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, EarlyPatience: time.Hour}))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	hang(t, p, ctx)
	a, _ := arriving("ok")
	err := p.Resize(t.Context(), resize.Job{Early: a, Specs: []resize.Spec{small}})
	if !errors.Is(err, resize.ErrNotEarly) || p.Stats().Live != 0 {
		t.Errorf("%v and %d jobs wait, want ErrNotEarly and none", err, p.Stats().Live)
	}
}

// The bytes are those of a job with the complete original, for a JPEG that is decoded while it arrives and for a PNG
// that is not.
func TestRealChild_EarlyEqualsWhole(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, EarlyPatience: time.Hour})
	specs := []resize.Spec{spec("300x.jpg"), spec("100x100-cover.webp"), spec("80x.png")}
	for name, original := range map[string][]byte{"JPEG": photo(t, 1600, 1200), "PNG": graphic(t)} {
		want, err := resize.Make(t.Context(), p, original, specs...)
		if err != nil {
			t.Fatal(err)
		}
		a := resize.NewArriving(len(original))
		a.Add(original[:1<<10])
		got, ended := make([]resize.Image, len(specs)), make(chan error)
		go func() {
			ended <- whenIdle(t.Context(), p, resize.Job{
				Early: a, Specs: specs, Made: func(i int, img resize.Image) { got[i] = img },
			})
		}()
		until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
		for n := 2 << 10; n < len(original); n += 50_000 {
			a.Add(original[:n])
		}
		a.Add(original)
		a.End(true)
		if err := <-ended; err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range specs {
			if !bytes.Equal(got[i].Body, want[i].Body) {
				t.Errorf("%s: %s differs", name, specs[i].Name())
			}
		}
	}
}

func graphic(t *testing.T) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 400, 300))
	for i := range img.Pix {
		img.Pix[i] = byte(i * i >> 7)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
