package resize

import "time"

// EncodingCPU returns the CPU time that encoding takes per megapixel of output, on one core of the machine
// of the README's benchmarks. For photos it is right within a factor of about two.
func EncodingCPU(f Format) time.Duration {
	switch f {
	case JPEG:
		return 15 * time.Millisecond
	case AVIF, JXL:
		return 195 * time.Millisecond
	case HEIC: // 8.0 s for 2000 pixels, 26.8 s for 4032 of a 3:4 photo; libheif 1.15 leaves x265 at its preset "slow"
		return 2200 * time.Millisecond
	}
	return 80 * time.Millisecond
}

// DecodingCPU returns the CPU time of decoding one frame at the scale of a feed's thumbnail, on the same machine: that
// of a 640-pixel miss in the table of docs/benchmarks/costs.md, less its encoding. TIFF, GIF and JXL were not measured
// and count as the most expensive kind. For photos it is right within a factor of about two.
func DecodingCPU(h Header) time.Duration {
	megapixel := 40 * time.Millisecond // measured for HEIC
	switch h.Kind {
	case KindJPEG:
		megapixel = 4 * time.Millisecond // scaled down while decoding
		if h.Progressive {
			megapixel = 13 * time.Millisecond
		}
	case KindWebP:
		megapixel = 9 * time.Millisecond
	case KindPNG:
		megapixel = 30 * time.Millisecond
	case KindAVIF:
		megapixel = 24 * time.Millisecond
	}
	return time.Duration(float64(megapixel) * float64(h.LargestWidth) * float64(h.LargestHeight) / 1e6)
}
