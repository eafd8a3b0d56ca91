package workers

// DefaultMemory is the default of Config.Memory: 1 GiB, which is what a 60-megapixel AVIF takes,
// the largest image that the default Limits admit.
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
// Trimming a 60-megapixel AVIF to a PNG of 2560 pixels takes 1.5 GiB and is refused.
const DefaultMemory = 1 << 30
