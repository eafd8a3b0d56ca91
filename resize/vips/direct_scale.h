// A Lanczos 3 scaler in fixed point that works row by row: 8-bit rows come in from the top,
// and each row of the smaller plane is made as soon as all its input rows are there.

#ifndef IMAGETIER_DIRECT_SCALE_H
#define IMAGETIER_DIRECT_SCALE_H

#include <stddef.h>
#include <stdint.h>

// Rows that the scaler reads or writes must have room for this many more samples at the end.
#define TIER_ROOM 32

// An axis holds the input samples and weights for each sample of a scaled line.
struct tier_axis {
	int from;        // samples in the line
	int n;           // samples in the result
	int taps;        // length of the filter, at most from
	int stride;      // weights per sample of the result: taps, padded with zeros
	int *start;      // for each sample of the result, its first input sample
	int16_t *weight; // stride weights per sample of the result, which sum to TIER_WEIGHT
};

#define TIER_WEIGHT (1 << 14)

// tier_axis_make makes an axis for n samples of the result. The centre of sample i is at
// (first + i + 1/2) * scale in a line of from samples. Beyond its ends the line repeats its
// first and last samples. It returns -1 if out of memory.
int tier_axis_make(struct tier_axis *axis, int from, double scale, int first, int n);
void tier_axis_clear(struct tier_axis *axis);

// tier_down scales vertically: it makes one row of n samples from the given rows, of which
// there are taps, an even number. Its output has six more bits than a sample.
void tier_down(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out);

// tier_across scales horizontally: it makes one row of samples from a row that tier_down made.
void tier_across(const int16_t *in, const struct tier_axis *axis, unsigned char *out);

// tier_down_plain and tier_across_plain do the same without vector instructions.
void tier_down_plain(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out);
void tier_across_plain(const int16_t *in, const struct tier_axis *axis, unsigned char *out);

#endif
