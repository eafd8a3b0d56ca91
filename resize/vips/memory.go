package vips

// #include "memory.h"
import "C"

// ExitAtMemoryLimit makes the process exit with this status when an allocation of at most limit
// bytes fails, also in libraries. So a lack of memory differs from a damaged image.
func ExitAtMemoryLimit(limit int64, status int) {
	C.tier_exit_at_memory_limit(C.size_t(limit), C.int(status))
}
