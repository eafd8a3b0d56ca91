// Lanczos 3 in fixed point, row by row: samples of eight bits come in from the top, and
// the rows of a smaller plane come out as soon as all that they are made of is there.

#ifndef IMAGETIER_DIRECT_SCALE_H
#define IMAGETIER_DIRECT_SCALE_H

#include <stddef.h>
#include <stdint.h>

// A row that the scaler reads or writes has this many samples of room behind its end.
#define TIER_ROOM 32

// An axis says which samples of a line each sample of the result is made of.
struct tier_axis {
	int from;        // samples in the line
	int n;           // samples in the result
	int taps;        // of the filter, at most from
	int stride;      // weights of one sample of the result: taps, and zeros
	int *start;      // for each sample of the result, the first that it is made of
	int16_t *weight; // stride of them for each, in all TIER_WEIGHT
};

#define TIER_WEIGHT (1 << 14)

// tier_axis_make makes an axis: sample first + i of a result, of which there are n, has its
// middle at (first + i + 1/2) * scale of a line of from samples. Beyond its ends the line
// goes on with its last samples. It returns -1 if there is no memory.
int tier_axis_make(struct tier_axis *axis, int from, double scale, int first, int n);
void tier_axis_clear(struct tier_axis *axis);

// tier_down makes one row of an axis that points down: n samples, each from the taps rows
// above it, whose number is even. What comes out has six more bits than a sample.
void tier_down(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out);

// tier_across makes one row of samples from one of tier_down.
void tier_across(const int16_t *in, const struct tier_axis *axis, unsigned char *out);

// tier_down_plain and tier_across_plain do the same without vector instructions.
void tier_down_plain(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out);
void tier_across_plain(const int16_t *in, const struct tier_axis *axis, unsigned char *out);

#endif
