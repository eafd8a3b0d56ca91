package vips

// #include "memory.h"
import "C"

// ExitAtMemoryLimit makes the process exit with this status when an allocation of at most limit
// bytes fails, also in libraries. So a lack of memory differs from a damaged image.
func ExitAtMemoryLimit(limit int64, status int) {
	C.tier_exit_at_memory_limit(C.size_t(limit), C.int(status))
}

// zeroMemory makes the process allocate only zeroed memory from now on, also in libraries. libheif 1.15
// does not fill the parts of a picture that its tiles leave free; they would show earlier pictures.
func zeroMemory() { C.tier_zero_memory() }
