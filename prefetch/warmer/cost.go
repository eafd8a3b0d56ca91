package warmer

import (
	"encoding/json"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// Amount is how much was made early: variants, the CPU time of resize processes, and bytes.
type Amount struct {
	Variants int64
	CPU      time.Duration
	Bytes    int64
}

func (a *Amount) add(c cost) {
	a.Variants++
	a.CPU += c.cpu
	a.Bytes += c.bytes
}

// cost is what one variant costs.
type cost struct {
	cpu   time.Duration
	bytes int64
}

// costs is the moving average of the cost of a variant of a Spec, over about the last learnOver of
// them.
type costs struct {
	seen       int
	cpu, bytes float64 // in nanoseconds, in bytes
}

func (c *costs) add(one cost) {
	c.seen = min(c.seen+1, learnOver)
	c.cpu += (float64(one.cpu) - c.cpu) / float64(c.seen)
	c.bytes += (float64(one.bytes) - c.bytes) / float64(c.seen)
}

// of returns the average, or the estimate for a Spec that was never made.
func (c *costs) of(spec resize.Spec) cost {
	if c.seen == 0 {
		return cost{cpu: estimate(spec, nil)}
	}
	return cost{time.Duration(c.cpu), int64(c.bytes)}
}

// overhead is the CPU time of a variant in addition to its encoding: decoding a mezzanine, and the
// pipes.
const overhead = 10 * time.Millisecond

// mezzanineCPU is the estimate for the mezzanine of a photo of 12 megapixels and its facts.
const mezzanineCPU = 80 * time.Millisecond

// estimate returns the estimated CPU time of a variant: that of body or, if body is nil, of a
// square image.
func estimate(spec resize.Spec, body []byte) time.Duration {
	if spec.Shape == resize.ShapeInfo {
		var info resize.Info
		if json.Unmarshal(body, &info) == nil && info.Width > 0 {
			pixels := float64(info.Width) * float64(info.Height)
			return mezzanineCPU/2 + time.Duration(pixels/12e6*float64(mezzanineCPU/2))
		}
		return mezzanineCPU
	}
	width, height := spec.Width, spec.Height
	if width == 0 {
		width = height
	}
	if height == 0 {
		height = width
	}
	if h, err := resize.ReadHeader(body); len(body) > 0 && err == nil {
		width, height = h.Width, h.Height
	}
	return overhead + time.Duration(float64(width)*float64(height)/1e6*float64(resize.EncodingCPU(spec.Format)))
}

// Split divides the CPU time spent among the variants that were made, in proportion to their
// estimates. If spent is 0, because the system does not report it, it uses the estimates.
func Split(spent time.Duration, specs []resize.Spec, outcomes []Outcome) {
	sum := time.Duration(0)
	for i := range outcomes {
		if out := &outcomes[i]; out.Err == nil && !out.Hit {
			out.CPU = estimate(specs[i], out.Body)
			sum += out.CPU
		}
	}
	if spent == 0 || sum == 0 {
		return
	}
	for i := range outcomes {
		outcomes[i].CPU = time.Duration(float64(spent) * float64(outcomes[i].CPU) / float64(sum))
	}
}
