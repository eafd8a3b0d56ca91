package resize

import "time"

// EncodingCPU returns the CPU time that encoding takes per megapixel of output, on one core of the machine
// of the README's benchmarks. For photos it is right within a factor of about two.
func EncodingCPU(f Format) time.Duration {
	switch f {
	case JPEG:
		return 15 * time.Millisecond
	case AVIF, HEIC, JXL:
		return 195 * time.Millisecond
	}
	return 80 * time.Millisecond
}
