// The direct path: what a phone's JPEG goes through on its way to a small JPEG or WebP,
// without libvips. libjpeg decodes at an eighth, a quarter, a half or the whole of the
// size, straight into Lanczos (direct_scale.h), in brightness and colour difference as they
// are coded; the small result is turned, converted, and encoded.
//
// One decoding pass can serve several scales: of what a JPEG costs most is to read its
// codes, and that is done once. What comes out at one scale does not depend on the others.
//
// Every function that can fail returns 0, or one of these with the reason in libvips' error
// buffer.

#ifndef IMAGETIER_DIRECT_H
#define IMAGETIER_DIRECT_H

#include <lcms2.h>
#include <stddef.h>

enum tier_direct_fault {
	TIER_DIRECT_BROKEN = 1, // the original is broken or cut short
	TIER_DIRECT_OTHER,      // it is a JPEG of a kind that libvips must read
	TIER_DIRECT_FAILED,     // no memory, or a fault of our own
};

// TIER_MEZZANINE_ACROSS is how many pixels side by side share a colour in a mezzanine.
enum { TIER_MEZZANINE_ACROSS = 2 };

struct tier_direct;

// tier_direct_open reads the header of a JPEG. buf must stay until tier_direct_close,
// which is due whatever this returns, unless *out is NULL.
int tier_direct_open(const void *buf, size_t len, struct tier_direct **out);
void tier_direct_close(struct tier_direct *d);

// tier_direct_size tells width and height as stored, and 1 (grey) or 3 planes.
void tier_direct_size(const struct tier_direct *d, int *width, int *height, int *planes);

// tier_direct_profile lends the embedded ICC profile, NULL if there is none or it is cut.
int tier_direct_profile(struct tier_direct *d, const void **data, size_t *len);

// A tier_want is a view that is wanted: the picture made smaller by shrink (1, 2, 4, 8) in
// the decoder, then to width and height, and of that the part at left and top.
struct tier_want {
	int shrink;
	int width, height;
	int left, top, kept_width, kept_height;
};

// tier_direct_want adds a view. Views are numbered from 0 in the order of their wants.
int tier_direct_want(struct tier_direct *d, struct tier_want want);

// tier_direct_decode decodes the whole original, once, and makes all views. Where nothing
// is wanted it decodes at 1/shrink all the same, and at the size of the views otherwise.
int tier_direct_decode(struct tier_direct *d, int shrink);

// tier_direct_scales returns how many scales one pass can make: 1, or all of them.
int tier_direct_scales(void);

// tier_direct_finish turns a view by 0, 90, 180 or 270 degrees clockwise, then mirrors left
// and right, and converts its colours if transform is not NULL (RGB of eight bits).
int tier_direct_finish(struct tier_direct *d, int view, int degrees, int mirror, cmsHTRANSFORM transform);

// The encoders. *buf is freed with free.
int tier_direct_jpeg(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len);
int tier_direct_webp(struct tier_direct *d, int view, int quality, int effort, unsigned char **buf, size_t *len);

// tier_direct_mezzanine makes a JPEG that loses next to nothing and is decoded fast: not
// progressive, and with colours as fine as TIER_MEZZANINE_ACROSS by 1 pixels.
int tier_direct_mezzanine(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len);

// tier_direct_pixels lends packed RGB of a finished view, rows without gaps.
int tier_direct_pixels(struct tier_direct *d, int view, const unsigned char **rgb);

// tier_transform_moves returns by how much a transform of RGB of eight bits changes any of
// some hundred colours at most: 0 and 1 are rounding.
int tier_transform_moves(cmsHTRANSFORM transform);

#endif
