// malloc and its relatives for this process and every library in it. They are those of glibc,
// except that an allocation which the memory limit refuses ends the process: codecs report such
// a failure as a damaged image, crash on it, or abort, and none of that tells the parent whose
// fault it was. A request for more than the whole limit still returns NULL: only a damaged file
// asks for that much at once, and its decoder refuses it. After tier_zero_memory all memory is zeroed.
//
// The sanitizers bring a malloc of their own.

#include "memory.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

static size_t memory_limit; // bytes; 0: no limit
static int exit_status;
static int zeroed; // only ever set

void
tier_zero_memory(void)
{
	zeroed = 1;
}

void
tier_exit_at_memory_limit(size_t limit, int status)
{
	exit_status = status;
	memory_limit = limit;
}

static void *
checked(void *p, size_t n)
{
	static const char text[] = "imagetier-resize: memory limit reached\n";

	if (!p && n && n <= memory_limit) {
		ssize_t ignored = write(2, text, sizeof text - 1);

		(void) ignored;
		_exit(exit_status);
	}
	return p;
}

void *
malloc(size_t n)
{
	return checked(zeroed ? __libc_calloc(1, n) : __libc_malloc(n), n);
}

void *
calloc(size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n))
		n = SIZE_MAX;
	return checked(__libc_calloc(count, size), n);
}

void *
realloc(void *old, size_t n)
{
	return checked(__libc_realloc(old, n), n);
}

void *
memalign(size_t alignment, size_t n)
{
	void *p = checked(__libc_memalign(alignment, n), n);

	if (zeroed && p)
		memset(p, 0, n);
	return p;
}

void *
aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

int
posix_memalign(void **to, size_t alignment, size_t n)
{
	void *p;

	if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1))
		return EINVAL;
	if (!(p = memalign(alignment, n)))
		return ENOMEM;
	*to = p;
	return 0;
}

#else

void
tier_zero_memory(void)
{
}

void
tier_exit_at_memory_limit(size_t limit, int status)
{
}

#endif
