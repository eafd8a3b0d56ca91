// From the profile of an image to sRGB or Display P3 with Little CMS, which is what libvips
// uses too. libvips makes the transform anew for each image, and that takes longer than
// using it.

#ifndef IMAGETIER_COLOUR_H
#define IMAGETIER_COLOUR_H

#include <lcms2.h>
#include <vips/vips.h>

// A tier_icc is an ICC profile; without bytes it is sRGB.
struct tier_icc {
	const void *data;
	size_t len;
};

// tier_transform_new returns what takes eight bits of RGB (and alpha, which it copies)
// from one profile to another, by relative colorimetry; NULL if one of them is broken
// or of anything but RGB.
cmsHTRANSFORM tier_transform_new(struct tier_icc from, struct tier_icc to, int alpha);

// tier_transform converts an image in memory, three bands of eight bits, or four if the
// transform was made for alpha. The result has no metadata. As in vips.h, 0 is success.
int tier_transform(cmsHTRANSFORM transform, VipsImage *in, VipsImage **out);

#endif
