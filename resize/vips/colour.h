// Conversion from an image's profile to sRGB or Display P3 with Little CMS, which libvips
// uses too. libvips builds a new transform for each image, which takes longer than applying
// it.

#ifndef IMAGETIER_COLOUR_H
#define IMAGETIER_COLOUR_H

#include <lcms2.h>
#include <vips/vips.h>

// A tier_icc is an ICC profile. If data is empty, it stands for sRGB.
struct tier_icc {
	const void *data;
	size_t len;
};

// tier_transform_new returns a transform of 8-bit RGB (and alpha, which is copied) from one
// profile to another, with relative colorimetric intent. It returns NULL if a profile is
// broken or is not an RGB profile.
cmsHTRANSFORM tier_transform_new(struct tier_icc from, struct tier_icc to, int alpha);

// tier_transform converts an image in memory. It must have three 8-bit bands, or four if the
// transform was made for alpha. The result has no metadata. As in vips.h, 0 means success.
int tier_transform(cmsHTRANSFORM transform, VipsImage *in, VipsImage **out);

// A tier_described converts samples that are described by numbers instead of a profile.
struct tier_described {
	const float *linear; // the linear value of each of 256 or 65,536 samples; 1 is the white of SDR
	const float *matrix; // nine numbers, to the primaries of the output
	int hlg;             // apply HLG's system gamma, with the luminance of BT.2100
	int tone;            // compress values up to any peak to the range of SDR
};

// tier_describe converts 8-bit or 16-bit RGB, with or without alpha, in memory, to 8 bits with sRGB's
// transfer function.
int tier_describe(struct tier_described with, VipsImage *in, VipsImage **out);

#endif
