#include "direct_scale.h"

#include <math.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// Bits of fixed point. tier_down adds MORE bits to each sample.
enum { WEIGHT_BITS = 14, MORE = 6, LOBES = 3 };

static double
lanczos(double x)
{
	if (fabs(x) < 1e-8)
		return 1;
	if (fabs(x) >= LOBES)
		return 0;
	x *= M_PI;
	return LOBES * sin(x) * sin(x / LOBES) / (x * x);
}

// round_to_weight converts n numbers to fixed point. The remainder of rounding is added to the
// largest, so that they sum to TIER_WEIGHT exactly and an area of one colour does not change.
static void
round_to_weight(const double *exact, int n, int16_t *weight)
{
	double sum = 0;
	int left = TIER_WEIGHT, largest = 0;

	for (int k = 0; k < n; k++)
		sum += exact[k];
	for (int k = 0; k < n; k++) {
		weight[k] = (int16_t) lrint(exact[k] / sum * TIER_WEIGHT);
		left -= weight[k];
		if (exact[k] > exact[largest])
			largest = k;
	}
	weight[largest] += left;
}

int
tier_axis_make(struct tier_axis *axis, int from, double scale, int first, int n)
{
	double wide = scale > 1 ? scale : 1; // when enlarging, interpolate
	int reach = (int) ceil(LOBES * wide);
	int span = 2 * reach + 1;
	double *exact;

	axis->from = from;
	axis->n = n;
	axis->taps = span < from ? span : from;
	axis->stride = (axis->taps + 7) & ~7;
	axis->start = calloc(n, sizeof(int));
	axis->weight = calloc((size_t) n * axis->stride, sizeof(int16_t));
	exact = calloc(axis->taps, sizeof(double));
	if (!axis->start || !axis->weight || !exact) {
		free(exact);
		tier_axis_clear(axis);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		double middle = (first + i + 0.5) * scale;
		int left = (int) floor(middle) - reach, start = left;

		if (start > from - axis->taps)
			start = from - axis->taps;
		if (start < 0)
			start = 0;
		for (int k = 0; k < axis->taps; k++)
			exact[k] = 0;
		for (int k = left; k < left + span; k++) {
			int at = k < 0 ? 0 : k >= from ? from - 1 : k;
			exact[at - start] += lanczos((k + 0.5 - middle) / wide);
		}
		axis->start[i] = start;
		round_to_weight(exact, axis->taps, axis->weight + (size_t) i * axis->stride);
	}
	free(exact);
	return 0;
}

void
tier_axis_clear(struct tier_axis *axis)
{
	free(axis->start);
	free(axis->weight);
	axis->start = NULL;
	axis->weight = NULL;
}

// Half of the last bit that is kept, added before a shift to round to nearest.
#define DOWN_HALF (1 << (WEIGHT_BITS - MORE - 1))
#define ACROSS_HALF (1 << (WEIGHT_BITS + MORE - 1))

static inline int
clamp(int v, int low, int high)
{
	return v < low ? low : v > high ? high : v;
}

void
tier_down_plain(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out)
{
	for (int x = 0; x < n; x++) {
		int sum = DOWN_HALF;
		for (int k = 0; k < taps; k++)
			sum += weight[k] * rows[k][x];
		out[x] = (int16_t) clamp(sum >> (WEIGHT_BITS - MORE), INT16_MIN, INT16_MAX);
	}
}

void
tier_across_plain(const int16_t *in, const struct tier_axis *axis, unsigned char *out)
{
	for (int i = 0; i < axis->n; i++) {
		const int16_t *from = in + axis->start[i], *weight = axis->weight + (size_t) i * axis->stride;
		int sum = ACROSS_HALF;
		for (int k = 0; k < axis->taps; k++)
			sum += weight[k] * from[k];
		out[i] = (unsigned char) clamp(sum >> (WEIGHT_BITS + MORE), 0, 255);
	}
}

#ifdef __SSE2__

void
tier_down(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out)
{
	const __m128i zero = _mm_setzero_si128(), half = _mm_set1_epi32(DOWN_HALF);

	for (int x = 0; x < n; x += 16) {
		__m128i sum[4] = { half, half, half, half };
		for (int k = 0; k < taps; k += 2) {
			__m128i w = _mm_set1_epi32((int) ((uint16_t) weight[k] | (uint32_t) (uint16_t) weight[k + 1] << 16));
			__m128i a = _mm_loadu_si128((const __m128i *) (rows[k] + x));
			__m128i b = _mm_loadu_si128((const __m128i *) (rows[k + 1] + x));
			__m128i low = _mm_unpacklo_epi8(a, b), high = _mm_unpackhi_epi8(a, b);
			sum[0] = _mm_add_epi32(sum[0], _mm_madd_epi16(_mm_unpacklo_epi8(low, zero), w));
			sum[1] = _mm_add_epi32(sum[1], _mm_madd_epi16(_mm_unpackhi_epi8(low, zero), w));
			sum[2] = _mm_add_epi32(sum[2], _mm_madd_epi16(_mm_unpacklo_epi8(high, zero), w));
			sum[3] = _mm_add_epi32(sum[3], _mm_madd_epi16(_mm_unpackhi_epi8(high, zero), w));
		}
		for (int i = 0; i < 4; i++)
			sum[i] = _mm_srai_epi32(sum[i], WEIGHT_BITS - MORE);
		_mm_storeu_si128((__m128i *) (out + x), _mm_packs_epi32(sum[0], sum[1]));
		_mm_storeu_si128((__m128i *) (out + x + 8), _mm_packs_epi32(sum[2], sum[3]));
	}
}

// dot returns four partial sums of the dot product; the caller adds them.
static inline __m128i
dot(const int16_t *in, const int16_t *weight, int taps)
{
	__m128i sum = _mm_setzero_si128();

	for (int k = 0; k < taps; k += 8)
		sum = _mm_add_epi32(sum, _mm_madd_epi16(
			_mm_loadu_si128((const __m128i *) (in + k)), _mm_loadu_si128((const __m128i *) (weight + k))));
	return sum;
}

void
tier_across(const int16_t *in, const struct tier_axis *axis, unsigned char *out)
{
	const __m128i half = _mm_set1_epi32(ACROSS_HALF);
	struct tier_axis last = *axis;
	int i, stride = axis->stride;

	for (i = 0; i + 4 <= axis->n; i += 4) {
		const int16_t *weight = axis->weight + (size_t) i * stride;
		const int *start = axis->start + i;
		__m128i a = dot(in + start[0], weight, stride);
		__m128i b = dot(in + start[1], weight + stride, stride);
		__m128i c = dot(in + start[2], weight + 2 * stride, stride);
		__m128i d = dot(in + start[3], weight + 3 * stride, stride);
		__m128i ab = _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
		__m128i cd = _mm_add_epi32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
		__m128i sum = _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
		int four;

		sum = _mm_srai_epi32(_mm_add_epi32(sum, half), WEIGHT_BITS + MORE);
		sum = _mm_packs_epi32(sum, sum);
		four = _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
		__builtin_memcpy(out + i, &four, 4);
	}
	last.start += i;
	last.weight += (size_t) i * stride;
	last.n -= i;
	tier_across_plain(in, &last, out + i);
}

#else

void
tier_down(const unsigned char *const *rows, const int16_t *weight, int taps, int n, int16_t *out)
{
	tier_down_plain(rows, weight, taps, n, out);
}

void
tier_across(const int16_t *in, const struct tier_axis *axis, unsigned char *out)
{
	tier_across_plain(in, axis, out);
}

#endif
