// From the profile of an image to sRGB with Little CMS, which is what libvips uses too.
// libvips makes the transform anew for each image, and that takes longer than using it.

#ifndef IMAGETIER_COLOUR_H
#define IMAGETIER_COLOUR_H

#include <lcms2.h>
#include <vips/vips.h>

// tier_transform_new returns what takes eight bits of RGB (and alpha, which it copies)
// from that ICC profile to sRGB, by relative colorimetry; NULL if the profile is broken
// or of anything but RGB.
cmsHTRANSFORM tier_transform_new(const void *profile, size_t len, int alpha);

// tier_transform converts an image in memory, three bands of eight bits, or four if the
// transform was made for alpha. The result has no metadata. As in vips.h, 0 is success.
int tier_transform(cmsHTRANSFORM transform, VipsImage *in, VipsImage **out);

#endif
