package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/resize/workers"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// Codecs without which URLs of the documented grammar fail.
var (
	requiredLoaders = []string{"jpeg", "png", "webp", "gif", "avif"}
	requiredSavers  = []string{"jpg", "png", "webp", "avif"}
)

// Codecs asks imagetier-resize for its codecs and its sandbox.
func Codecs(ctx context.Context, in Input) []Finding {
	const name = "codecs"
	command := in.Config.ResizeCommand
	stdout, stderr, err := capabilities(ctx, in)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return []Finding{fault(name, "run `make build`, which puts both programs into bin/, or give --resize-command",
			"%s does not exist", command)}
	case err != nil:
		return []Finding{fault(name, "run `"+command+" --capabilities`; is libvips installed (`make deps`)?",
			"%s does not start: %v: %s", command, err, strings.Join(strings.Fields(string(stderr)), " "))}
	}
	var hello wire.Hello
	if err := json.Unmarshal(stdout, &hello); err != nil {
		return []Finding{fault(name, "build both programs from the same source",
			"%s prints no valid capabilities: %v", command, err)}
	}
	return []Finding{codecs(name, hello), sandbox(hello)}
}

func capabilities(ctx context.Context, in Input) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	args := []string{"--capabilities"}
	for _, w := range in.Config.Watermarks {
		args = append(args, "--watermark", w.Name+"="+w.File) // one that does not load keeps the program from starting
	}
	cmd := exec.CommandContext(ctx, in.Config.ResizeCommand, args...)
	cmd.Env = workers.DefaultEnv()
	cmd.WaitDelay = time.Second
	var errors bytes.Buffer
	cmd.Stderr = &errors
	stdout, err = cmd.Output()
	return stdout, errors.Bytes()[:min(errors.Len(), 300)], err
}

func codecs(name string, hello wire.Hello) Finding {
	loaders, savers := lacking(requiredLoaders, hello.Loads), lacking(requiredSavers, hello.Saves)
	if len(loaders)+len(savers) > 0 {
		return fault(name, "install a libvips that has them (Debian: libvips42 and libheif1)",
			"libvips %s cannot read %s or write %s", hello.Libvips, list(loaders), list(savers))
	}
	return ok(name, "libvips %s reads %s and writes %s", hello.Libvips, list(hello.Loads), list(hello.Saves))
}

func sandbox(hello wire.Hello) Finding {
	if len(hello.Missing) > 0 {
		return warning("sandbox", "allow these to the container, or use a newer kernel",
			"resize processes run with %s, but without %s", list(hello.Sandbox), strings.Join(hello.Missing, "; "))
	}
	return ok("sandbox", "resize processes run with %s", list(hello.Sandbox))
}

func lacking(required, have []string) (lost []string) {
	for _, name := range required {
		if !slices.Contains(have, name) {
			lost = append(lost, name)
		}
	}
	return lost
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
