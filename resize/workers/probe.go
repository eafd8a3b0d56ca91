package workers

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"runtime"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// Probe starts a child as a Pool with this Config would, lets it make a tiny image in every
// format that it claims to support, and ends it. The Hello is valid even with an error if the
// child has sent its greeting.
func Probe(ctx context.Context, cfg Config) (wire.Hello, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return wire.Hello{}, err
	}
	runtime.LockOSThread() // see startChild
	defer runtime.UnlockOSThread()
	m, err := sealWatermarks(cfg.Watermarks)
	if err != nil {
		return wire.Hello{}, err
	}
	defer m.close()
	c, err := startChild(ctx, cfg, m)
	if err != nil {
		return wire.Hello{}, err
	}
	defer c.end()
	var specs []resize.Spec
	for _, name := range c.hello.Saves {
		format, err := resize.ParseFormat(name)
		if err != nil || !format.Concrete() || len(specs) == wire.MaxSpecs {
			return c.hello, fmt.Errorf("probe %s: unexpected formats in its greeting: %.40q",
				cfg.Command[0], c.hello.Saves)
		}
		specs = append(specs, resize.Spec{Width: 4, Height: 4, Format: format})
	}
	var original bytes.Buffer
	if err := png.Encode(&original, image.NewNRGBA(image.Rect(0, 0, 16, 16))); err != nil {
		return c.hello, err
	}
	defer time.AfterFunc(cfg.Timeout, c.kill).Stop()
	defer context.AfterFunc(ctx, c.kill)()
	j := jobOf(ctx, resize.Job{Original: original.Bytes(), Specs: specs, Made: func(int, resize.Image) {}})
	if err := c.exchange(j, nil); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return c.hello, fmt.Errorf("probe %s: make a tiny image: %w", cfg.Command[0], err)
	}
	return c.hello, nil
}
