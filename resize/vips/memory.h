#include <stdlib.h>

// tier_exit_at_memory_limit makes the process exit with this status when an allocation of at most
// limit bytes fails.
void tier_exit_at_memory_limit(size_t limit, int status);

// tier_zero_memory makes malloc return zeroed memory from now on.
void tier_zero_memory(void);
