package workers

// DefaultMemory is Config.Memory where that is 0: 1 GiB, which is what a 60-megapixel AVIF
// takes, the most that the default Limits let in.
//
// RLIMIT_DATA counts what a process may touch and not what it has: stacks of threads and
// heaps that are reserved. So a child needs 160 MiB of it to start, with 45 MiB resident.
// Measured with libvips 8.14.1, each as the least of a row of limits that was enough:
//
//	to 640 or to 1440, 880 and 440       MiB
//	12 megapixels JPEG                   160-256
//	12 megapixels HEIC                   320-384
//	24 megapixels WebP, AVIF             256, 512
//	60 megapixels WebP, JPEG, AVIF       224, 384, 1024
//
// Trimming a 60-megapixel AVIF to a PNG of 2560 takes 1.5 GiB, and is refused.
const DefaultMemory = 1 << 30
