package workers

import (
	"time"

	"github.com/novasocial/imagetier/resize"
)

// cost is the predicted cost of a job, from the header of its original and its Specs. For photos
// it is right within a factor of about two: good enough to run short jobs first.
type cost struct {
	cpu    time.Duration // of one core
	memory int64         // bytes that decoding needs beyond those of an idle child
	output int64         // bytes that the most demanding encoder needs beyond those of an idle child
	avif   bool          // encodes an AVIF

	encoding time.Duration // CPU time of the slowest encoder, not capped
	first    time.Duration // CPU time of decoding and of the slowest encoder, not capped
}

// A job counts as expensive, so that it runs niced on a child reserved for such jobs, if decoding and its slowest
// encoder take expensiveCPU, or all of it takes longCPU. A 12-megapixel HEIC is expensive; a 24-megapixel WebP is not,
// nor are all sizes of a post with a 12-megapixel JPEG.
const (
	expensiveCPU = 300 * time.Millisecond
	longCPU      = 600 * time.Millisecond
)

func (c cost) expensive() bool { return c.first >= expensiveCPU || c.cpu >= longCPU }

// class returns 0 for a cheap job and 1 for an expensive one.
func (c cost) class() int {
	if c.expensive() {
		return 1
	}
	return 0
}

// within caps the CPU time at the timeout of a job, because headers can lie.
func (c cost) within(timeout time.Duration) cost {
	c.cpu = min(c.cpu, timeout)
	return c
}

// largeFrom is the memory, in bytes, from which a job counts as large. Large jobs are admitted by
// the memory that they need together; smaller ones fit in the budget of their child.
const largeFrom = 128 << 20

func (c cost) large() bool { return c.peak() >= largeFrom }

// peak returns the memory, in bytes, that the job needs beyond that of an idle child. Its parts
// are seldom needed at once.
func (c cost) peak() int64 { return max(c.memory, c.output) }

// decodingMemory returns how many bytes decoding needs for each pixel: the table at DefaultMemory, less the 160 MiB
// that a child takes to start. TIFF, GIF and JXL were not measured and count as the most expensive kind.
func decodingMemory(h resize.Header) float64 {
	switch h.Kind {
	case resize.KindJPEG:
		if h.Progressive {
			return 4
		}
		return 1
	case resize.KindWebP, resize.KindPNG:
		return 4
	case resize.KindAVIF:
		return 16
	}
	return 19 // measured for HEIC
}

// encoderMemory returns how many bytes an encoder needs for each pixel of output: 95 % of what was
// measured for 3 and 12 megapixels of a JPEG with libvips 8.14.1, so that no job is refused that
// could succeed.
func encoderMemory(f resize.Format) float64 {
	switch f {
	case resize.JXL:
		return 74
	case resize.AVIF:
		return 40
	case resize.HEIC:
		return 33
	}
	return 7 // JPEG; WebP and PNG need 10
}

// costOf predicts the cost of making specs from original. An original whose header is invalid
// costs nothing, because it is refused before it is decoded.
func costOf(original []byte, specs []resize.Spec) cost {
	h, err := resize.ReadHeader(original)
	if err != nil {
		return cost{}
	}
	frames := float64(max(1, h.Frames))
	still := true
	var c cost
	for _, s := range specs {
		each := 1.0
		if h.Animated && !s.Still && (s.Format == resize.GIF || s.Format == resize.WebP) {
			each, still = frames, false
		}
		megapixels := outputMegapixels(h, s)
		encoding := times(resize.EncodingCPU(s.Format), each*megapixels)
		c.cpu += encoding
		c.encoding = max(c.encoding, encoding)
		c.output = max(c.output, int64(encoderMemory(s.Format)*megapixels*1e6))
		c.avif = c.avif || s.Format == resize.AVIF
	}
	if still {
		frames = 1
	}
	decoding := times(resize.DecodingCPU(h), frames)
	c.cpu += decoding
	c.first = decoding + c.encoding
	c.memory = int64(decodingMemory(h) * float64(h.LargestWidth) * float64(h.LargestHeight))
	return c
}

func times(d time.Duration, n float64) time.Duration { return time.Duration(float64(d) * n) }

// outputMegapixels estimates the size of the image of s. The small image behind an info costs
// almost nothing compared with decoding.
func outputMegapixels(h resize.Header, s resize.Spec) float64 {
	if s.Shape == resize.ShapeInfo {
		return 0.01
	}
	width, height := s.OutputSize(h.Upright())
	return float64(width) * float64(height) / 1e6
}
