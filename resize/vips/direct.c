#include "direct_inside.h"

#include <jerror.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

// With libjpeg's internal header (Debian installs it), one pass makes several scales.
#if __has_include(<jpegint.h>)
#include <jpegint.h>
#define MANY_SCALES 1
#endif

// A ring is a ring buffer with the most recently decoded rows of a plane.
struct ring {
	int width, height; // of the plane, in samples
	int block;         // side of a decoded DCT block, in samples: 1, 2, 4, 8
	int step;          // rows decoded per pass
	int slots;         // row y is in slot y % slots
	size_t stride;
	unsigned char *samples;
};

// A scale is the picture as decoded at 1/shrink of its size.
struct scale {
	int shrink;
	int width, height;
	struct ring ring[PLANES];
	JSAMPROW rows[PLANES][MOST_ROWS]; // where the next pass writes its rows
};

// A source is a file in memory, handed to libjpeg in pieces. Some of it may still be arriving.
struct source {
	struct jpeg_source_mgr pub;
	const JOCTET *file, *at, *end; // libjpeg has not received at to end yet
	size_t piece;                  // maximum bytes per call
	uintptr_t early;               // for tierArrived; 0: nothing will arrive after end
};

struct tier_direct {
	struct jpeg_decompress_struct in;
	struct tier_escape escape;
	struct source source;
	const void *file;
	size_t len;
	int planes;
	JOCTET *profile; // NULL until tier_direct_profile reads it
	unsigned int profile_len;

	struct scale scale[SCALES]; // libjpeg itself decodes at the first
	int scales;
	struct tier_view *views;
	int wanted;

	int16_t *row; // between tier_down and tier_across
#ifdef MANY_SCALES
	inverse_DCT_method_ptr own[MAX_COMPONENTS]; // the methods that libjpeg chose
	inverse_DCT_method_ptr of[DCTSIZE + 1];     // indexed by the side of the block that they make
#endif
};

// ---- the source

static void
do_nothing(j_decompress_ptr in)
{
}

static boolean
next_piece(j_decompress_ptr in)
{
	struct source *s = (struct source *) in->src;
	size_t n;

	if (s->at == s->end && s->early)
		s->end = s->file + tierArrived(s->early, s->end - s->file);
	n = s->end - s->at;
	if (n == 0)
		ERREXIT(in, JERR_INPUT_EOF);
	if (n > s->piece)
		n = s->piece;
	s->pub.next_input_byte = s->at;
	s->pub.bytes_in_buffer = n;
	s->at += n;
	return TRUE;
}

static void
skip(j_decompress_ptr in, long n)
{
	struct source *s = (struct source *) in->src;

	while (n > 0 && (size_t) n > s->pub.bytes_in_buffer) {
		n -= (long) s->pub.bytes_in_buffer;
		next_piece(in);
	}
	if (n > 0) {
		s->pub.next_input_byte += n;
		s->pub.bytes_in_buffer -= n;
	}
}

// read_from sets the file as the source of in, from its beginning.
static void
read_from(j_decompress_ptr in, struct source *s, const void *file, size_t len, size_t piece)
{
	memset(s, 0, sizeof(*s));
	s->pub.init_source = do_nothing;
	s->pub.fill_input_buffer = next_piece;
	s->pub.skip_input_data = skip;
	s->pub.resync_to_restart = jpeg_resync_to_restart;
	s->pub.term_source = do_nothing;
	s->file = s->at = file;
	s->end = s->at + len;
	s->piece = piece;
	in->src = &s->pub;
}

// read_rest waits for the rest of the file, and makes it available to libjpeg in one piece. It returns false if the
// rest does not arrive.
static int
read_rest(struct source *s, size_t len)
{
	while (s->early && (size_t) (s->end - s->file) < len) {
		const JOCTET *end = s->file + tierArrived(s->early, s->end - s->file);

		if (end == s->end)
			return 0;
		s->end = end;
	}
	if (s->early) {
		s->pub.bytes_in_buffer = s->end - s->pub.next_input_byte;
		s->at = s->end;
	}
	return 1;
}

// ---- errors

static void
escape_now(j_common_ptr c)
{
	longjmp(((struct tier_escape *) c->err)->to, 1);
}

static void
say_nothing(j_common_ptr c)
{
}

// emit_message receives warnings (level -1) and traces. Warnings that mean grey or garbled
// parts in the picture are treated as errors, the same ones that damagedJPEG lists. Extraneous
// bytes are only counted: some encoders write them, but they can also be a sign of damage.
static void
emit_message(j_common_ptr c, int level)
{
	if (level >= 0)
		return;
	switch (c->err->msg_code) {
	case JWRN_HIT_MARKER:
	case JWRN_HUFF_BAD_CODE:
	case JWRN_ARITH_BAD_CODE:
	case JWRN_MUST_RESYNC:
	case JWRN_JPEG_EOF:
		escape_now(c);
	case JWRN_EXTRANEOUS_DATA:
		((struct tier_escape *) c->err)->leftovers++;
	}
}

struct jpeg_error_mgr *
tier_escape_by(struct tier_escape *escape)
{
	struct jpeg_error_mgr *err = jpeg_std_error(&escape->pub);

	err->error_exit = escape_now;
	err->output_message = say_nothing;
	err->emit_message = emit_message;
	return err;
}

int
tier_escape_fault(j_common_ptr c)
{
	char text[JMSG_LENGTH_MAX];

	c->err->format_message(c, text);
	vips_error("direct", "%s", text);
	return c->err->msg_code == JERR_OUT_OF_MEMORY ? TIER_DIRECT_FAILED : TIER_DIRECT_BROKEN;
}

static int
no_memory(void)
{
	vips_error("direct", "no memory");
	return TIER_DIRECT_FAILED;
}

// ---- opening

// common reports whether the direct path supports the planes as they are coded: grey, or
// YCbCr where the size of the luma plane is a whole multiple of that of each chroma plane.
static int
common(const struct jpeg_decompress_struct *in)
{
	if (in->arith_code || in->data_precision != BITS_IN_JSAMPLE)
		return 0;
	if (in->num_components == 1)
		return in->jpeg_color_space == JCS_GRAYSCALE;
	if (in->num_components != PLANES || in->jpeg_color_space != JCS_YCbCr)
		return 0;
	for (int c = 0; c < PLANES; c++) {
		const jpeg_component_info *comp = &in->comp_info[c];
		if (in->comp_info[0].h_samp_factor % comp->h_samp_factor || in->comp_info[0].v_samp_factor % comp->v_samp_factor)
			return 0;
	}
	return 1;
}

int
tier_direct_open(const void *buf, size_t len, uintptr_t early, struct tier_direct **out)
{
	struct tier_direct *d = *out = calloc(1, sizeof(*d));

	if (!d)
		return no_memory();
	d->in.err = tier_escape_by(&d->escape);
	if (setjmp(d->escape.to))
		return tier_escape_fault((j_common_ptr) &d->in);
	jpeg_create_decompress(&d->in);
	d->in.client_data = d;
	d->file = buf;
	d->len = len;
	read_from(&d->in, &d->source, buf, early ? 0 : len, len);
	d->source.early = early;
	jpeg_save_markers(&d->in, JPEG_APP0 + 2, 0xffff);
	jpeg_read_header(&d->in, TRUE);
	if (!common(&d->in)) {
		vips_error("direct", "a JPEG of a rare kind");
		return TIER_DIRECT_OTHER;
	}
	d->planes = d->in.num_components;
	return 0;
}

static void
clear_view(struct tier_view *v)
{
	for (int c = 0; c < PLANES; c++) {
		free(v->plane[c]);
		if (v->own_axes[c]) {
			tier_axis_clear(&v->across[c]);
			tier_axis_clear(&v->down[c]);
		}
	}
	free(v->rgb);
}

void
tier_direct_close(struct tier_direct *d)
{
	if (!d)
		return;
	jpeg_destroy_decompress(&d->in); // does nothing if it was not created
	for (int v = 0; v < d->wanted; v++)
		clear_view(&d->views[v]);
	free(d->views);
	for (int s = 0; s < d->scales; s++)
		for (int c = 0; c < PLANES; c++)
			free(d->scale[s].ring[c].samples);
	free(d->row);
	free(d->profile);
	free(d);
}

void
tier_direct_size(const struct tier_direct *d, int *width, int *height, int *planes)
{
	*width = d->in.image_width;
	*height = d->in.image_height;
	*planes = d->planes;
}

int
tier_direct_profile(struct tier_direct *d, const void **data, size_t *len)
{
	*data = NULL;
	*len = 0;
	if (setjmp(d->escape.to))
		return tier_escape_fault((j_common_ptr) &d->in);
	if (!d->profile && !jpeg_read_icc_profile(&d->in, &d->profile, &d->profile_len))
		return 0;
	*data = d->profile;
	*len = d->profile_len;
	return 0;
}

struct tier_view *
tier_direct_view(struct tier_direct *d, int view)
{
	return view >= 0 && view < d->wanted ? &d->views[view] : NULL;
}

// ---- planning

static inline int
min_int(int a, int b)
{
	return a < b ? a : b;
}

// scale_of returns the scale with that shrink, which it adds if it is missing. It returns NULL if
// there are too many scales.
static struct scale *
scale_of(struct tier_direct *d, int shrink)
{
	struct scale *scale;

	for (int s = 0; s < d->scales; s++)
		if (d->scale[s].shrink == shrink)
			return &d->scale[s];
	if (d->scales == SCALES)
		return NULL;
	scale = &d->scale[d->scales++];
	memset(scale, 0, sizeof(*scale));
	scale->shrink = shrink;
	d->in.scale_num = 1;
	d->in.scale_denom = shrink;
	jpeg_calc_output_dimensions(&d->in); // the caller has called setjmp
	scale->width = d->in.image_width / shrink; // libjpeg rounds up, libvips down
	scale->height = d->in.image_height / shrink;
	for (int c = 0; c < d->planes; c++) {
		const jpeg_component_info *comp = &d->in.comp_info[c];
		struct ring *ring = &scale->ring[c];

		ring->block = comp->DCT_scaled_size;
		ring->step = comp->v_samp_factor * ring->block;
		ring->width = min_int(comp->downsampled_width, scale->width);
		ring->height = min_int(comp->downsampled_height, scale->height);
		ring->stride = ((size_t) comp->width_in_blocks + comp->h_samp_factor) * ring->block + TIER_ROOM;
		ring->slots = ring->step;
	}
	return scale;
}

// finer returns how many samples of the first plane one sample of a ring's plane spans.
static double
finer(int first, int its, int first_block, int its_block)
{
	return (double) first * first_block / ((double) its * its_block);
}

// make_axes makes the axes of a view's plane, or shares those of the previous plane if they
// are the same. across and down are samples of the plane per sample of the view.
static int
make_axes(struct tier_view *v, int c, const struct ring *ring, double across, double down, const struct tier_want *w)
{
	v->steps[c][0] = across;
	v->steps[c][1] = down;
	if (c > 0 && v->across[c - 1].from == ring->width && v->down[c - 1].from == ring->height &&
		v->steps[c - 1][0] == across && v->steps[c - 1][1] == down) {
		v->across[c] = v->across[c - 1];
		v->down[c] = v->down[c - 1];
		return 0;
	}
	v->own_axes[c] = 1;
	if (tier_axis_make(&v->across[c], ring->width, across, w->left, w->kept_width) ||
		tier_axis_make(&v->down[c], ring->height, down, w->top, w->kept_height))
		return no_memory();
	return 0;
}

static int
want_now(struct tier_direct *d, struct tier_view *v, const struct tier_want *w)
{
	struct scale *scale = scale_of(d, w->shrink);

	if (!scale)
		return TIER_DIRECT_FAILED;
	for (int c = 0; c < d->planes; c++) {
		struct ring *ring = &scale->ring[c];
		const jpeg_component_info *first = &d->in.comp_info[0], *comp = &d->in.comp_info[c];
		double x = finer(first->h_samp_factor, comp->h_samp_factor, scale->ring[0].block, ring->block);
		double y = finer(first->v_samp_factor, comp->v_samp_factor, scale->ring[0].block, ring->block);

		if (!(v->plane[c] = malloc((size_t) w->kept_width * w->kept_height)) ||
			make_axes(v, c, ring, (double) scale->width / w->width / x, (double) scale->height / w->height / y, w))
			return no_memory();
		if (v->down[c].taps > MOST_TAPS) {
			vips_error("direct", "too much smaller");
			return TIER_DIRECT_OTHER;
		}
		if (ring->slots < v->down[c].taps + ring->step)
			ring->slots = v->down[c].taps + ring->step;
	}
	return 0;
}

int
tier_direct_want(struct tier_direct *d, struct tier_want want)
{
	struct tier_view *views = realloc(d->views, (d->wanted + 1) * sizeof(*views)), *v;

	if (!views)
		return no_memory();
	d->views = views;
	v = &views[d->wanted++];
	memset(v, 0, sizeof(*v));
	v->shrink = want.shrink;
	v->planes = d->planes;
	v->width = want.kept_width;
	v->height = want.kept_height;
	if (setjmp(d->escape.to))
		return tier_escape_fault((j_common_ptr) &d->in);
	return want_now(d, v, &want);
}

// ---- several scales from one pass

#ifdef MANY_SCALES

int
tier_direct_scales(void)
{
	return SCALES;
}

// transform_block is called by libjpeg for each block of coefficients. It decodes the block
// at every scale.
static void
transform_block(j_decompress_ptr in, jpeg_component_info *comp, JCOEFPTR block, JSAMPARRAY rows, JDIMENSION column)
{
	struct tier_direct *d = in->client_data;
	int c = comp->component_index, own = d->scale[0].ring[c].block;
	int down = (int) (rows - d->scale[0].rows[c]) / own, across = (int) column / own;

	d->own[c](in, comp, block, rows, column);
	for (int s = 1; s < d->scales; s++) {
		int side = d->scale[s].ring[c].block;
		d->of[side](in, comp, block, d->scale[s].rows[c] + down * side, across * side);
	}
}

// A sample is a minimal JPEG. methods decodes it to find which method libjpeg uses for blocks
// of a given side.
struct sample {
	struct jpeg_compress_struct out;
	struct jpeg_decompress_struct in;
	struct tier_escape escape;
	unsigned char *file;
	unsigned long len;
};

static void
make_sample(struct sample *s)
{
	JSAMPLE grey[DCTSIZE] = { 0 };
	JSAMPROW row = grey;

	jpeg_create_compress(&s->out);
	jpeg_mem_dest(&s->out, &s->file, &s->len);
	s->out.image_width = s->out.image_height = DCTSIZE;
	s->out.input_components = 1;
	s->out.in_color_space = JCS_GRAYSCALE;
	jpeg_set_defaults(&s->out);
	jpeg_start_compress(&s->out, TRUE);
	for (int y = 0; y < DCTSIZE; y++)
		jpeg_write_scanlines(&s->out, &row, 1);
	jpeg_finish_compress(&s->out);
}

static int
methods(struct tier_direct *d)
{
	struct sample *s = calloc(1, sizeof(*s));
	int fault = 0;

	if (!s)
		return no_memory();
	s->in.err = s->out.err = tier_escape_by(&s->escape);
	if (setjmp(s->escape.to)) {
		vips_error("direct", "libjpeg does not read what it has written");
		fault = TIER_DIRECT_FAILED;
	} else {
		make_sample(s);
		jpeg_create_decompress(&s->in);
		for (int side = 1; side <= DCTSIZE; side *= 2) {
			jpeg_mem_src(&s->in, s->file, s->len);
			jpeg_read_header(&s->in, TRUE);
			s->in.scale_num = side;
			s->in.scale_denom = DCTSIZE;
			jpeg_start_decompress(&s->in);
			d->of[side] = s->in.idct->inverse_DCT[0];
			jpeg_abort_decompress(&s->in);
		}
	}
	jpeg_destroy_compress(&s->out);
	jpeg_destroy_decompress(&s->in);
	free(s->file);
	free(s);
	return fault;
}

// divert makes libjpeg call transform_block. It must be called after jpeg_start_decompress.
static void
divert(struct tier_direct *d)
{
	for (int c = 0; c < d->planes; c++) {
		d->own[c] = d->in.idct->inverse_DCT[c];
		d->in.idct->inverse_DCT[c] = transform_block;
	}
}

#else

int
tier_direct_scales(void)
{
	return 1;
}

static int
methods(struct tier_direct *d)
{
	vips_error("direct", "one pass makes one scale here");
	return TIER_DIRECT_FAILED;
}

static void
divert(struct tier_direct *d)
{
}

#endif

// ---- decoding

// make_rows makes the rows of a view's plane for which enough rows are decoded. ready is the
// number of decoded rows.
static void
make_rows(struct tier_direct *d, struct tier_view *v, int c, const struct ring *ring, int ready)
{
	const struct tier_axis *across = &v->across[c], *down = &v->down[c];
	const unsigned char *rows[MOST_TAPS + 1];
	int first = across->start[0], last = across->start[across->n - 1] + across->taps;

	for (; v->made[c] < down->n && down->start[v->made[c]] + down->taps <= ready; v->made[c]++) {
		int i = v->made[c], taps = (down->taps + 1) & ~1;

		for (int k = 0; k < taps; k++) {
			int y = down->start[i] + (k < down->taps ? k : down->taps - 1); // the padding row has weight 0
			rows[k] = ring->samples + (size_t) (y % ring->slots) * ring->stride + first;
		}
		tier_down(rows, down->weight + (size_t) i * down->stride, taps, last - first, d->row + first);
		tier_across(d->row, across, v->plane[c] + (size_t) i * v->width);
	}
}

// order puts the largest scale first. libjpeg decodes at that one, because at a smaller scale
// it skips coefficients that a larger scale needs.
static void
order(struct tier_direct *d)
{
	for (int s = 1; s < d->scales; s++)
		if (d->scale[s].shrink < d->scale[0].shrink) {
			struct scale t = d->scale[0];
			d->scale[0] = d->scale[s];
			d->scale[s] = t;
		}
}

static int
allocate(struct tier_direct *d)
{
	size_t longest = 0;

	for (int s = 0; s < d->scales; s++)
		for (int c = 0; c < d->planes; c++) {
			struct ring *ring = &d->scale[s].ring[c];

			if (!(ring->samples = calloc(ring->slots, ring->stride)))
				return no_memory();
			if (ring->stride > longest)
				longest = ring->stride;
		}
	if (!(d->row = calloc(longest + TIER_ROOM, sizeof(*d->row))))
		return no_memory();
	return 0;
}

// next_rows points scale->rows at the slots for the rows of the given pass.
static void
next_rows(struct scale *scale, int planes, int pass)
{
	for (int c = 0; c < planes; c++) {
		struct ring *ring = &scale->ring[c];
		for (int k = 0; k < ring->step; k++)
			scale->rows[c][k] = ring->samples + (size_t) ((pass * ring->step + k) % ring->slots) * ring->stride;
	}
}

static void
decode_now(struct tier_direct *d)
{
	int lines;

	d->in.scale_num = 1;
	d->in.scale_denom = d->scale[0].shrink;
	d->in.raw_data_out = TRUE;
	d->in.out_color_space = d->in.jpeg_color_space;
	jpeg_start_decompress(&d->in);
	if (d->scales > 1)
		divert(d);
	lines = d->scale[0].ring[0].step;
	for (int pass = 0; d->in.output_scanline < d->in.output_height; pass++) {
		JSAMPARRAY planes[PLANES];

		for (int s = 0; s < d->scales; s++)
			next_rows(&d->scale[s], d->planes, pass);
		for (int c = 0; c < d->planes; c++)
			planes[c] = d->scale[0].rows[c];
		jpeg_read_raw_data(&d->in, planes, lines);
		for (int v = 0; v < d->wanted; v++)
			for (int c = 0; c < d->planes; c++) {
				struct ring *ring = &scale_of(d, d->views[v].shrink)->ring[c];
				int ready = (pass + 1) * ring->step;
				make_rows(d, &d->views[v], c, ring, min_int(ready, ring->height));
			}
	}
}

// ends_at_marker reports whether a marker follows the last scan, which in has read.
static int
ends_at_marker(const struct jpeg_decompress_struct *in)
{
	const JOCTET *at = in->src->next_input_byte;
	size_t n = in->src->bytes_in_buffer;

	if (in->unread_marker)
		return 1;
	for (; n >= 2 && at[0] == 0xff && at[1] == 0xff; n--)
		at++;
	return n >= 2 && at[0] == 0xff && at[1] != 0;
}

// doubt decodes the file again with libjpeg's slow Huffman decoder, only to find damage. The
// fast decoder of libjpeg-turbo, which it uses when enough input is buffered, reads invalid
// codes as zeros without a warning.
static int
doubt(struct tier_direct *d)
{
	enum { SHORT = 256 }; // libjpeg-turbo uses the slow decoder below 512 buffered bytes per block
	struct {
		struct jpeg_decompress_struct in;
		struct tier_escape escape;
		struct source source;
		JSAMPROW row;
	} *s = calloc(1, sizeof(*s));
	int fault = 0;

	if (!s)
		return no_memory();
	s->in.err = tier_escape_by(&s->escape);
	if (setjmp(s->escape.to)) {
		fault = tier_escape_fault((j_common_ptr) &s->in);
	} else {
		jpeg_create_decompress(&s->in);
		read_from(&s->in, &s->source, d->file, d->len, SHORT);
		jpeg_read_header(&s->in, TRUE);
		s->in.scale_num = 1;
		s->in.scale_denom = DCTSIZE;
		jpeg_start_decompress(&s->in);
		if (!(s->row = malloc((size_t) s->in.output_width * s->in.output_components)))
			ERREXIT1(&s->in, JERR_OUT_OF_MEMORY, 0);
		while (s->in.output_scanline < s->in.output_height)
			jpeg_read_scanlines(&s->in, &s->row, 1);
	}
	jpeg_destroy_decompress(&s->in);
	free(s->row);
	free(s);
	return fault;
}

int
tier_direct_decode(struct tier_direct *d, int shrink)
{
	int fault;

	if (setjmp(d->escape.to))
		return tier_escape_fault((j_common_ptr) &d->in);
	if (d->scales == 0)
		scale_of(d, shrink);
	order(d);
	if ((fault = allocate(d)) || (d->scales > 1 && (fault = methods(d))))
		return fault;
	decode_now(d);
	if (!read_rest(&d->source, d->len)) {
		vips_error("direct", "the rest of the file does not arrive");
		return TIER_DIRECT_BROKEN;
	}
	if (!d->in.progressive_mode && (d->escape.leftovers || !ends_at_marker(&d->in)))
		return doubt(d);
	return 0;
}
