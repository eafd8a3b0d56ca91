// The direct path makes a small JPEG or WebP from a phone's JPEG without libvips. libjpeg
// decodes at an eighth, a quarter, a half or the whole of the size, straight into a Lanczos
// filter (direct_scale.h), and the planes stay YCbCr as they are coded. Only the small result
// is turned, converted and encoded.
//
// One decoding pass can serve several scales: entropy decoding is the most expensive part, and
// it is done once. The output at one scale does not depend on the others.
//
// Every function that can fail returns 0, or a tier_direct_fault with the reason in libvips'
// error buffer.

#ifndef IMAGETIER_DIRECT_H
#define IMAGETIER_DIRECT_H

#include <lcms2.h>
#include <stddef.h>
#include <stdint.h>

enum tier_direct_fault {
	TIER_DIRECT_BROKEN = 1, // the original is broken or cut short
	TIER_DIRECT_OTHER,      // a kind of JPEG that the direct path does not support; use libvips
	TIER_DIRECT_FAILED,     // out of memory, or an internal error
};

// TIER_MEZZANINE_ACROSS is the horizontal chroma subsampling of a mezzanine.
enum { TIER_MEZZANINE_ACROSS = 2 };

struct tier_direct;

// tierArrived waits until more than n bytes of an original have arrived, and returns how many have: n
// once no more will. early is that of tier_direct_open. It is in early.go.
extern size_t tierArrived(uintptr_t early, size_t n);

// tier_direct_open reads the header of a JPEG. buf must stay valid until tier_direct_close. If early is
// not 0, the len bytes are still arriving, and tierArrived tells how many are there.
// Call tier_direct_close even if this fails, unless *out is NULL.
int tier_direct_open(const void *buf, size_t len, uintptr_t early, struct tier_direct **out);
void tier_direct_close(struct tier_direct *d);

// tier_direct_size returns the width and height as stored, and the planes: 1 (grey) or 3.
void tier_direct_size(const struct tier_direct *d, int *width, int *height, int *planes);

// tier_direct_profile returns the embedded ICC profile, or NULL if it is missing or truncated.
// d owns the bytes.
int tier_direct_profile(struct tier_direct *d, const void **data, size_t *len);

// A tier_want describes a view: the decoder shrinks the picture by shrink (1, 2, 4, 8), the
// result is scaled to width and height, and then cropped to kept_width and kept_height at
// left and top.
struct tier_want {
	int shrink;
	int width, height;
	int left, top, kept_width, kept_height;
};

// tier_direct_want adds a view. Views are numbered from 0 in the order of the calls.
int tier_direct_want(struct tier_direct *d, struct tier_want want);

// tier_direct_decode decodes the whole original once and makes all views. Without views it
// still decodes, at 1/shrink; with views it ignores shrink.
int tier_direct_decode(struct tier_direct *d, int shrink);

// tier_direct_scales returns how many scales one pass can make: 1, or all of them.
int tier_direct_scales(void);

// tier_direct_finish turns a view by 0, 90, 180 or 270 degrees clockwise, then mirrors left
// and right if mirror is true, and converts its colours if transform (8-bit RGB) is not NULL.
int tier_direct_finish(struct tier_direct *d, int view, int degrees, int mirror, cmsHTRANSFORM transform);

// The encoders. Free *buf with free.
int tier_direct_jpeg(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len);
int tier_direct_webp(struct tier_direct *d, int view, int quality, int effort, unsigned char **buf, size_t *len);

// tier_direct_mezzanine makes a nearly lossless JPEG that decodes fast: baseline, with chroma
// subsampled by TIER_MEZZANINE_ACROSS horizontally and not vertically.
int tier_direct_mezzanine(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len);

// tier_direct_pixels returns the packed RGB of a finished view, with no padding between rows.
// d owns the pixels.
int tier_direct_pixels(struct tier_direct *d, int view, const unsigned char **rgb);

// tier_transform_moves returns the largest change that a transform of 8-bit RGB makes to a
// sample of some hundred colours: 0 and 1 are rounding.
int tier_transform_moves(cmsHTRANSFORM transform);

#endif
