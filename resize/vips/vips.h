// The steps that one resize is made of, each a call into libvips with the options that
// are right here. libvips' own functions take variable arguments, which cgo cannot call.
//
// Every step returns 0 and a new reference in *out, or -1 and text in libvips' error
// buffer. Images are lazy: a step that returns 0 has often computed nothing yet, and
// pixels (and the input buffer under them) are read when a later step needs them.

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
};

// tier_start makes the settings of this process: only the loaders above, no libvips
// warnings on stderr.
void tier_start(void);

// tier_load opens the first frame of an image of that kind, and no other. shrink is the
// factor by which the decoder itself makes it smaller: 1, 2, 4, 8 for JPEG, any for WebP,
// 1 for all others. The pixels come in order from the top, once, and never through a file.
int tier_load(enum tier_kind kind, const void *buf, size_t len, int shrink, VipsImage **out);

// tier_load_frames opens all frames of a GIF or WebP, one below the other.
int tier_load_frames(enum tier_kind kind, const void *buf, size_t len, VipsImage **out);

// tier_frames returns how many frames an image of tier_load_frames has.
int tier_frames(VipsImage *in);

// tier_join puts frames of one size below each other, to be saved as an animation with the
// times and the loop of like.
int tier_join(VipsImage **frames, int n, VipsImage *like, VipsImage **out);

// tier_bytes returns how much memory the pixels of in take.
size_t tier_bytes(VipsImage *in);

// tier_profile lends the embedded ICC profile, which goes when the image does.
int tier_profile(VipsImage *in, void **data, size_t *len);

// tier_memory computes in and keeps it.
int tier_memory(VipsImage *in, VipsImage **out);

// tier_drain decodes what is left of an image that tier_load opened.
int tier_drain(VipsImage *in);

// tier_scale resamples to exactly width and height, with premultiplied alpha.
int tier_scale(VipsImage *in, int width, int height, VipsImage **out);

int tier_crop(VipsImage *in, int left, int top, int width, int height, VipsImage **out);

// tier_border finds what is left when a border of the colour of the top left pixel, give
// or take noise, is cut away. width is 0 if nothing is. corner and in are the same image,
// opened twice.
int tier_border(VipsImage *corner, VipsImage *in, int *left, int *top, int *width, int *height);

// tier_eight brings sixteen bits a sample down to eight, in the colour space that in is in.
int tier_eight(VipsImage *in, VipsImage **out);

// tier_srgb converts to eight bits of sRGB, or of grey where in is grey and has no
// profile; the profile that in carries is honoured if managed is true. Alpha stays.
int tier_srgb(VipsImage *in, int managed, VipsImage **out);

// tier_wide converts to eight bits of Display P3 from the profile, or from that of an
// ordinary press for CMYK without one; -1 if there is nothing to go by.
int tier_wide(VipsImage *in, VipsImage **out);

// tier_turn turns by 0, 90, 180 or 270 degrees clockwise, then mirrors left and right.
int tier_turn(VipsImage *in, int degrees, int mirror, VipsImage **out);

// tier_attention crops to where the eye goes.
int tier_attention(VipsImage *in, int width, int height, VipsImage **out);

// A tier_color is sRGB, 0-255.
struct tier_color {
	double red, green, blue;
};

// tier_flatten lays an image with alpha on a background.
int tier_flatten(VipsImage *in, struct tier_color on, VipsImage **out);

// tier_pad places an image without alpha on a canvas of that width and height.
int tier_pad(VipsImage *in, int left, int top, int width, int height, struct tier_color on, VipsImage **out);

int tier_gray(VipsImage *in, VipsImage **out);
int tier_blur(VipsImage *in, double sigma, VipsImage **out);
int tier_sharpen(VipsImage *in, VipsImage **out);

// tier_bare copies the image without any metadata: EXIF, XMP, IPTC, profile, comments,
// resolution, and what libvips and its loaders keep beside them.
int tier_bare(VipsImage *in, VipsImage **out);

// tier_mark lays mark on in, which keeps its alpha or its lack of it and becomes sRGB.
int tier_mark(VipsImage *in, VipsImage *mark, int left, int top, VipsImage **out);

// tier_blank makes a black picture in memory.
int tier_blank(int width, int height, VipsImage **out);

// tier_loads_jxl reports whether libvips was built to read JPEG XL.
int tier_loads_jxl(void);

// A tier_carried is what a file is to hold beside its picture: nothing, a profile, an EXIF
// block with the prefix that it has in a JPEG, or both.
struct tier_carried {
	const void *profile;
	size_t profile_len;
	const void *exif;
	size_t exif_len;
};

// tier_carry gives an image that to the savers of AVIF, HEIC and JXL. The others let nothing
// through.
int tier_carry(VipsImage *in, struct tier_carried with, VipsImage **out);

// The savers. *buf is freed with g_free.
int tier_save_jpeg(VipsImage *in, int quality, void **buf, size_t *len);
// tier_save_mezzanine makes what tier_direct_mezzanine makes, but for the colours, of which
// libvips can only keep all or a quarter: all.
int tier_save_mezzanine(VipsImage *in, int quality, void **buf, size_t *len);

int tier_save_png(VipsImage *in, void **buf, size_t *len);
int tier_save_webp(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_avif(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_heic(VipsImage *in, int quality, int effort, void **buf, size_t *len);
int tier_save_gif(VipsImage *in, int effort, void **buf, size_t *len);
int tier_save_jxl(VipsImage *in, int quality, int effort, void **buf, size_t *len);

#endif
