// What the files of the direct path share.

#ifndef IMAGETIER_DIRECT_INSIDE_H
#define IMAGETIER_DIRECT_INSIDE_H

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include "direct.h"
#include "direct_scale.h"

enum { PLANES = 3, SCALES = 4, MOST_ROWS = 64, MOST_TAPS = 127 };

// A tier_escape is how libjpeg's errors come back: it may not return from them. What is
// written between setjmp and an error lies in the heap, never in variables of the function.
struct tier_escape {
	struct jpeg_error_mgr pub;
	jmp_buf to;
	int leftovers; // warnings of bytes that belong to nothing
};

struct jpeg_error_mgr *tier_escape_by(struct tier_escape *escape);

// tier_escape_fault says what the error was that was escaped from, and keeps its words.
int tier_escape_fault(j_common_ptr c);

// A tier_view is a small picture: one plane of grey, or three of YCbCr; or packed RGB, once
// it has been made.
struct tier_view {
	int shrink;
	int width, height;
	unsigned char *plane[PLANES]; // rows without gaps
	unsigned char *rgb;
	int converted; // rgb has other colours than the planes, which count no more
	struct tier_axis across[PLANES], down[PLANES];
	double steps[PLANES][2]; // samples of the plane for each of the view, across and down
	int own_axes[PLANES];    // or they are those of the plane before
	int planes;
	int made[PLANES]; // rows
};

// tier_view_rgb makes rgb of the planes.
int tier_view_rgb(struct tier_view *v);

struct tier_view *tier_direct_view(struct tier_direct *d, int view);

#endif
