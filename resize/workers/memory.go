package workers

import (
	"fmt"

	"github.com/novasocial/imagetier/resize"
)

// DefaultMemory is the default of Config.Memory: 1.25 GiB. The largest AVIF that the default Limits
// admit takes 1 GiB, a JPEG XL of the 12.2 megapixels of a phone's photo 1.1 GiB.
//
// RLIMIT_DATA counts address space that a process may write to, including reserved stacks and
// heaps, not resident memory. So a child needs 160 MiB of it to start, with 45 MiB resident. Each
// number is the lowest of a series of limits that was enough with libvips 8.14.1:
//
//	to 640 or to 1440, 880 and 440       MiB
//	12 megapixels JPEG                   160-256
//	12 megapixels HEIC                   320-384
//	24 megapixels WebP, AVIF             256, 512
//	60 megapixels WebP, JPEG, AVIF       224, 384, 1024
//
// The peaks while a JPEG of 12 megapixels is encoded at full size:
//
//	JPEG, PNG, WebP, JPEG XL             271, 306, 320, 1084
//
// Trimming a 60-megapixel AVIF to a PNG of 2560 pixels takes 1.5 GiB: the child ends, and the
// error is resize.ErrFailed.
const DefaultMemory = 1280 << 20

// idleData is how much of Config.Memory an idle child takes, in bytes.
const idleData = 160 << 20

// memorySetting is the setting of the tier that is Config.Memory.
const memorySetting = "--resize-memory"

// timeoutSetting is the setting of the tier that is Config.Timeout.
const timeoutSetting = "--resize-timeout"

// checkEncoder refuses a job whose encoder needs more memory than a child has, or by its estimate more time than a
// job has: a HEIC of a phone's photo in full size takes 27 s.
func (p *Pool) checkEncoder(c cost) error {
	if c.encoding > p.cfg.Timeout {
		return &resize.LimitError{What: fmt.Sprintf("encoding it takes about %.0f s, the limit is %v (%s); "+
			"a smaller size or another format takes less", c.encoding.Seconds(), p.cfg.Timeout, timeoutSetting)}
	}
	if need := idleData + c.output; need > p.cfg.Memory {
		return &resize.LimitError{What: fmt.Sprintf("encoding it takes %d MiB of memory, the limit is %d MiB (%s); "+
			"a smaller size or another format takes less", need>>20, p.cfg.Memory>>20, memorySetting)}
	}
	return nil
}
