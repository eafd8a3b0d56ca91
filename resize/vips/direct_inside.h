// Declarations shared by the files of the direct path.

#ifndef IMAGETIER_DIRECT_INSIDE_H
#define IMAGETIER_DIRECT_INSIDE_H

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include "direct.h"
#include "direct_scale.h"

enum { PLANES = 3, SCALES = 4, MOST_ROWS = 64, MOST_TAPS = 127 };

// A tier_escape catches libjpeg's errors with longjmp, because its error handler must not
// return. Values that are written between setjmp and an error must be on the heap, not in
// local variables, which longjmp may leave indeterminate.
struct tier_escape {
	struct jpeg_error_mgr pub;
	jmp_buf to;
	int leftovers; // number of warnings about extraneous bytes
};

struct jpeg_error_mgr *tier_escape_by(struct tier_escape *escape);

// tier_escape_fault returns the tier_direct_fault for the error that was caught, and puts its
// text in libvips' error buffer.
int tier_escape_fault(j_common_ptr c);

// A tier_view is a small picture: one plane of grey or three of YCbCr, and packed RGB after
// tier_view_rgb.
struct tier_view {
	int shrink;
	int width, height;
	unsigned char *plane[PLANES]; // no padding between rows
	unsigned char *rgb;
	int converted; // rgb was colour-converted, so the planes are out of date
	struct tier_axis across[PLANES], down[PLANES];
	double steps[PLANES][2]; // samples of the plane per sample of the view, across and down
	int own_axes[PLANES];    // false if the axes are shared with the previous plane
	int planes;
	int made[PLANES]; // rows made so far
};

// tier_view_rgb makes rgb from the planes.
int tier_view_rgb(struct tier_view *v);

struct tier_view *tier_direct_view(struct tier_direct *d, int view);

#endif
