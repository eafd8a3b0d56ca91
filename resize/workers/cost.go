package workers

import (
	"time"

	"github.com/novasocial/imagetier/resize"
)

// cost is what a job is expected to take. It is a guess by header and Specs, right within
// a factor of two or so for what comes from cameras: enough to let short jobs go first.
type cost struct {
	cpu    time.Duration // of one core
	memory int64         // bytes that decoding needs beyond what an idle child has
	avif   bool          // an AVIF is encoded
}

// dearFrom is the CPU time from which on a job is dear: it runs niced, on a child that does
// nothing else. A 12-megapixel HEIC is, a 24-megapixel WebP is not.
const dearFrom = 300 * time.Millisecond

func (c cost) dear() bool { return c.cpu >= dearFrom }

// class is 0 for what is cheap and 1 for what is dear.
func (c cost) class() int {
	if c.dear() {
		return 1
	}
	return 0
}

// within returns c with no more CPU time than a job is given: headers lie.
func (c cost) within(timeout time.Duration) cost {
	c.cpu = min(c.cpu, timeout)
	return c
}

// largeFrom is the memory from which on a job is large: it is admitted by what all large
// jobs need together. The others are what a child is reckoned at anyway.
const largeFrom = 128 << 20

func (c cost) large() bool { return c.memory >= largeFrom }

// rate is what decoding costs.
type rate struct {
	cpu    time.Duration // a megapixel
	memory int64         // bytes a pixel
}

// Decoding, by kind. CPU is the time of a miss at 640 in the README's table, less its
// encoding, by megapixels; memory is what the table at DefaultMemory says beyond the 160 MiB
// that a child takes to start. TIFF, GIF and JXL were not measured, and are taken for the
// dearest.
func decoding(h resize.Header) rate {
	switch h.Kind {
	case resize.KindJPEG:
		if h.Progressive {
			return rate{13 * time.Millisecond, 4}
		}
		return rate{4 * time.Millisecond, 1} // it is shrunk while it is decoded
	case resize.KindWebP:
		return rate{9 * time.Millisecond, 4}
	case resize.KindPNG:
		return rate{30 * time.Millisecond, 4}
	case resize.KindAVIF:
		return rate{24 * time.Millisecond, 16}
	}
	return rate{40 * time.Millisecond, 19} // HEIC's
}

// encoding is the CPU time a megapixel of output.
func encoding(f resize.Format) time.Duration {
	switch f {
	case resize.JPEG:
		return 15 * time.Millisecond
	case resize.AVIF, resize.HEIC, resize.JXL:
		return 195 * time.Millisecond
	}
	return 80 * time.Millisecond
}

// costOf predicts what it takes to make specs of original. One that is not understood
// costs nothing: it is refused before it is decoded.
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
		c.cpu += times(encoding(s.Format), each*outputMegapixels(h, s))
		c.avif = c.avif || s.Format == resize.AVIF
	}
	if still {
		frames = 1
	}
	pixels := float64(h.LargestWidth) * float64(h.LargestHeight)
	r := decoding(h)
	c.cpu += times(r.cpu, frames*pixels/1e6)
	c.memory = int64(float64(r.memory) * pixels)
	return c
}

func times(d time.Duration, n float64) time.Duration { return time.Duration(float64(d) * n) }

// outputMegapixels is about how large the image of s gets. What info is told from has some
// hundred pixels a side, which costs nothing beside the decode.
func outputMegapixels(h resize.Header, s resize.Spec) float64 {
	if s.Shape == resize.ShapeInfo {
		return 0.01
	}
	w, hi := h.Upright()
	width, height := float64(w), float64(hi)
	scale := 1.0
	if s.Width > 0 {
		scale = min(scale, float64(s.Width)/width)
	}
	if s.Height > 0 {
		scale = min(scale, float64(s.Height)/height)
	}
	if s.Up && (s.Width > 0 || s.Height > 0) {
		width, height = float64(max(s.Width, s.Height)), float64(max(s.Width, s.Height))
		scale = 1
	}
	return width * scale * height * scale / 1e6
}
