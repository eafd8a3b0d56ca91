// The steps of a resize. Each one calls libvips with fixed options, because libvips' own
// functions are variadic and cgo cannot call those.
//
// Every step returns 0 and a new reference in *out, or -1 and text in libvips' error buffer.
// Images are lazy: a step that returns 0 has often computed nothing yet. Pixels, and the input
// buffer under them, are read when a later step needs them.

#ifndef IMAGETIER_VIPS_H
#define IMAGETIER_VIPS_H

#include <vips/vips.h>

enum tier_kind {
	TIER_JPEG,
	TIER_PNG,
	TIER_WEBP,
	TIER_GIF,
	TIER_HEIF, // AVIF and HEIC
	TIER_TIFF,
	TIER_JXL,
	TIER_JXL_ANIMATION,
};

// tier_start configures libvips for this process: only the loaders above are allowed, and
// warnings are not written to stderr.
void tier_start(void);

// A tier_original is an encoded image, which must be of that kind. skip is the number of frames at
// its beginning that are not part of the picture; it is 0 for all kinds but GIF.
struct tier_original {
	enum tier_kind kind;
	const void *buf;
	size_t len;
	int skip;
};

// tier_load opens the first frame of an image. shrink is the factor by which the decoder itself
// shrinks it: 1, 2, 4, 8 for JPEG, any for WebP, 1 for all others. It returns -1 if shrink is larger
// than a side. The pixels can be read once, in order from the top. No temporary file is used.
int tier_load(struct tier_original from, int shrink, VipsImage **out);

// tier_load_jxl_animation decodes the first frame of a JPEG XL, in which frames may follow.
int tier_load_jxl_animation(struct tier_original from, VipsImage **out);

// tier_load_frames opens all frames of a GIF or WebP, one below the other.
int tier_load_frames(struct tier_original from, VipsImage **out);

// tier_frames returns the number of frames in an image that tier_load_frames opened.
int tier_frames(VipsImage *in);

// tier_join stacks frames of one size vertically, to be saved as an animation with the delays
// and loop count of like, an image that tier_load_frames opened with that skip.
int tier_join(VipsImage **frames, int n, VipsImage *like, int skip, VipsImage **out);

// tier_bytes returns the size of the pixels of in, in bytes.
size_t tier_bytes(VipsImage *in);

// tier_profile returns the embedded ICC profile. The image owns its bytes.
int tier_profile(VipsImage *in, void **data, size_t *len);

// tier_memory computes the pixels of in and keeps them in memory.
int tier_memory(VipsImage *in, VipsImage **out);

// tier_drain decodes the rest of an image that tier_load opened.
int tier_drain(VipsImage *in);

// tier_scale resamples to exactly width and height, with premultiplied alpha.
int tier_scale(VipsImage *in, int width, int height, VipsImage **out);

int tier_crop(VipsImage *in, int left, int top, int width, int height, VipsImage **out);

// tier_extend repeats the last column and row up to width and height.
int tier_extend(VipsImage *in, int width, int height, VipsImage **out);

// tier_border finds the area inside a border that looks like the top left pixel, on black and on
// white, within a tolerance for noise. width is 0 if the whole image is border.
int tier_border(VipsImage *in, int *left, int *top, int *width, int *height);

// tier_unsigned converts Lab to sRGB, 32-bit integers to 16 bits, negative numbers to 0, and
// floating-point numbers from 0 to 1 to 16 bits. Without a profile they are sRGB like any other samples.
int tier_unsigned(VipsImage *in, VipsImage **out);

// tier_widen_range converts 8-bit samples from 16-235 to 0-255, and 16-bit samples correspondingly. Alpha
// stays.
int tier_widen_range(VipsImage *in, VipsImage **out);

// tier_rgb converts greyscale to RGB with three times the same value, and keeps 16 bits.
int tier_rgb(VipsImage *in, VipsImage **out);

// tier_unpremultiply divides the colours by alpha.
int tier_unpremultiply(VipsImage *in, VipsImage **out);

// tier_eight reduces 16-bit samples to 8 bits and keeps the colour space.
int tier_eight(VipsImage *in, VipsImage **out);

// tier_srgb converts to 8-bit sRGB, or to 8-bit grey if in is grey and has no profile. It
// applies the embedded profile if managed is true, and keeps alpha.
int tier_srgb(VipsImage *in, int managed, VipsImage **out);

// tier_wide converts from the embedded profile to 8-bit Display P3. CMYK without a profile is
// converted from libvips' built-in CMYK profile. It returns -1 for other images without a
// usable profile.
int tier_wide(VipsImage *in, VipsImage **out);

// tier_turn turns by 0, 90, 180 or 270 degrees clockwise, then mirrors left and right if mirror
// is true.
int tier_turn(VipsImage *in, int degrees, int mirror, VipsImage **out);

// tier_attention crops to the part that libvips' attention detection chooses.
int tier_attention(VipsImage *in, int width, int height, VipsImage **out);

// A tier_color is an sRGB colour; each value is from 0 to 255.
struct tier_color {
	double red, green, blue;
};

// tier_flatten composites an image with alpha onto a background.
int tier_flatten(VipsImage *in, struct tier_color on, VipsImage **out);

// tier_pad places an image without alpha on a canvas of that width and height.
int tier_pad(VipsImage *in, int left, int top, int width, int height, struct tier_color on, VipsImage **out);

int tier_gray(VipsImage *in, VipsImage **out);
int tier_blur(VipsImage *in, double sigma, VipsImage **out);
int tier_sharpen(VipsImage *in, VipsImage **out);

// tier_bare copies the image without any metadata: EXIF, XMP, IPTC, profile, comments,
// resolution, and the fields that libvips and its loaders add.
int tier_bare(VipsImage *in, VipsImage **out);

// tier_mark composites mark onto in. The result is sRGB, with alpha only if in has alpha.
int tier_mark(VipsImage *in, VipsImage *mark, int left, int top, VipsImage **out);

// tier_blank makes a black image in memory.
int tier_blank(int width, int height, VipsImage **out);

// tier_loads_jxl reports whether libvips was built to read JPEG XL.
int tier_loads_jxl(void);

// A tier_carried holds the metadata to write to a file: nothing, a profile, an EXIF block with
// the prefix that it has in a JPEG, or both.
struct tier_carried {
	const void *profile;
	size_t profile_len;
	const void *exif;
	size_t exif_len;
};

// tier_carry attaches metadata to an image. The savers of AVIF, HEIC and JXL write it; the
// other savers drop it.
int tier_carry(VipsImage *in, struct tier_carried with, VipsImage **out);

// The savers. Free *buf with g_free.
int tier_save_jpeg(VipsImage *in, int quality, void **buf, size_t *len);
// tier_save_mezzanine is like tier_direct_mezzanine, but without chroma subsampling: libvips
// supports only 4:4:4 and 4:2:0.
int tier_save_mezzanine(VipsImage *in, int quality, void **buf, size_t *len);

int tier_save_png(VipsImage *in, void **buf, size_t *len);
int tier_save_webp(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_avif(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_heic(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_gif(VipsImage *in, int effort, void **buf, size_t *len);
int tier_save_jxl(VipsImage *in, int quality, int effort, void **buf, size_t *len);

#endif
