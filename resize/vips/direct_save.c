#include "direct_inside.h"

#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>
#include <webp/encode.h>

static int
no_memory(void)
{
	vips_error("direct", "no memory");
	return TIER_DIRECT_FAILED;
}

// turn_plane returns a plane turned clockwise and then mirrored, or NULL if out of memory. The
// source of the result's pixel at x, y is at offset first + x*along + y*across in the plane.
static unsigned char *
turn_plane(const unsigned char *plane, int width, int height, int degrees, int mirror)
{
	int swaps = degrees % 180 != 0;
	int out_width = swaps ? height : width, out_height = swaps ? width : height;
	unsigned char *out = malloc((size_t) width * height), *to = out;
	ptrdiff_t first, along, across; // offsets in plane: the first pixel, one step right, one step down

	if (!out)
		return NULL;
	switch (degrees) {
	case 90: // the left column, from the bottom up, becomes the top row
		first = (ptrdiff_t) (height - 1) * width;
		along = -width;
		across = 1;
		break;
	case 180:
		first = (ptrdiff_t) width * height - 1;
		along = -1;
		across = -width;
		break;
	case 270:
		first = width - 1;
		along = width;
		across = -1;
		break;
	default:
		first = 0;
		along = 1;
		across = width;
	}
	if (mirror) {
		first += along * (out_width - 1);
		along = -along;
	}
	for (int y = 0; y < out_height; y++) {
		const unsigned char *from = plane + first + across * y;
		for (int x = 0; x < out_width; x++, from += along)
			*to++ = *from;
	}
	return out;
}

static int
turn_view(struct tier_view *v, int degrees, int mirror)
{
	for (int c = 0; c < v->planes; c++) {
		unsigned char *turned = turn_plane(v->plane[c], v->width, v->height, degrees, mirror);
		if (!turned)
			return no_memory();
		free(v->plane[c]);
		v->plane[c] = turned;
	}
	if (degrees % 180) {
		int width = v->width;
		v->width = v->height;
		v->height = width;
	}
	return 0;
}

static inline unsigned char
to8(int v)
{
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

enum { AT_ONCE = 256 };

// convert converts at most AT_ONCE pixels from JFIF's YCbCr (ITU-R BT.601, full range) to RGB,
// with 16 fraction bits. It computes each colour in a separate array first, so that compilers
// vectorize the loop.
static void
convert(const unsigned char *luma, const unsigned char *blue, const unsigned char *red, size_t n, unsigned char *out)
{
	unsigned char rgb[3][AT_ONCE];

	for (size_t i = 0; i < n; i++) {
		int y = luma[i] * 65536 + 32768, b = blue[i] - 128, r = red[i] - 128;
		rgb[0][i] = to8((y + 91881 * r) >> 16);              // 1.402
		rgb[1][i] = to8((y - 22554 * b - 46802 * r) >> 16); // 0.344136, 0.714136
		rgb[2][i] = to8((y + 116130 * b) >> 16);             // 1.772
	}
	for (size_t i = 0; i < n; i++) {
		out[3 * i] = rgb[0][i];
		out[3 * i + 1] = rgb[1][i];
		out[3 * i + 2] = rgb[2][i];
	}
}

int
tier_view_rgb(struct tier_view *v)
{
	size_t n = (size_t) v->width * v->height;
	unsigned char *out;

	if (v->rgb)
		return 0;
	if (!(v->rgb = out = malloc(3 * n)))
		return no_memory();
	if (v->planes == 1) {
		for (size_t i = 0; i < n; i++, out += 3)
			out[0] = out[1] = out[2] = v->plane[0][i];
		return 0;
	}
	for (size_t i = 0; i < n; i += AT_ONCE, out += 3 * AT_ONCE)
		convert(v->plane[0] + i, v->plane[1] + i, v->plane[2] + i, n - i < AT_ONCE ? n - i : AT_ONCE, out);
	return 0;
}

int
tier_direct_finish(struct tier_direct *d, int view, int degrees, int mirror, cmsHTRANSFORM transform)
{
	struct tier_view *v = tier_direct_view(d, view);
	int fault = 0;

	if (!v)
		return TIER_DIRECT_FAILED;
	if (degrees || mirror)
		fault = turn_view(v, degrees, mirror);
	if (!fault && transform && !(fault = tier_view_rgb(v))) {
		cmsDoTransform(transform, v->rgb, v->rgb, (cmsUInt32Number) v->width * v->height);
		v->converted = 1;
	}
	return fault;
}

int
tier_transform_moves(cmsHTRANSFORM transform)
{
	enum { STEPS = 6 };
	unsigned char in[STEPS * STEPS * STEPS][3], out[STEPS * STEPS * STEPS][3];
	int most = 0;

	for (int i = 0; i < STEPS * STEPS * STEPS; i++) {
		in[i][0] = i % STEPS * 51;
		in[i][1] = i / STEPS % STEPS * 51;
		in[i][2] = i / (STEPS * STEPS) * 51;
	}
	cmsDoTransform(transform, in, out, STEPS * STEPS * STEPS);
	for (int i = 0; i < STEPS * STEPS * STEPS; i++)
		for (int c = 0; c < 3; c++)
			if (abs(in[i][c] - out[i][c]) > most)
				most = abs(in[i][c] - out[i][c]);
	return most;
}

// ---- JPEG

struct jpeg_out {
	struct jpeg_compress_struct out;
	struct tier_escape escape;
	unsigned char *file;
	unsigned long len;
	unsigned char *row;
};

static void
set_up(struct jpeg_out *j, const struct tier_view *v, int quality, int mezzanine)
{
	struct jpeg_compress_struct *out = &j->out;

	out->image_width = v->width;
	out->image_height = v->height;
	// Encode the planes unless colours were converted, even if the WebP encoder has already
	// made rgb: the JPEG must have the same bytes whether or not a WebP was made too.
	out->input_components = v->converted ? 3 : v->planes;
	out->in_color_space = v->converted ? JCS_RGB : v->planes == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
	jpeg_set_defaults(out);
	jpeg_set_quality(out, quality, TRUE);
	out->optimize_coding = TRUE;
	if (mezzanine) {
		out->comp_info[0].h_samp_factor = TIER_MEZZANINE_ACROSS;
		out->comp_info[0].v_samp_factor = 1;
		return;
	}
	jpeg_simple_progression(out);
	if (quality >= 90) // no chroma subsampling at high quality, as in libvips
		out->comp_info[0].h_samp_factor = out->comp_info[0].v_samp_factor = 1;
}

static void
write_rows(struct jpeg_out *j, const struct tier_view *v)
{
	JSAMPROW row = j->row;

	for (int y = 0; y < v->height; y++) {
		size_t at = (size_t) y * v->width;

		if (v->converted) {
			row = v->rgb + 3 * at;
		} else if (v->planes == 1) {
			row = v->plane[0] + at;
		} else {
			for (int x = 0; x < v->width; x++) {
				row[3 * x] = v->plane[0][at + x];
				row[3 * x + 1] = v->plane[1][at + x];
				row[3 * x + 2] = v->plane[2][at + x];
			}
		}
		jpeg_write_scanlines(&j->out, &row, 1);
	}
}

static int
save_jpeg(struct tier_direct *d, int view, int quality, int mezzanine, unsigned char **buf, size_t *len)
{
	struct tier_view *v = tier_direct_view(d, view);
	struct jpeg_out *j = v ? calloc(1, sizeof(*j)) : NULL;
	int fault = TIER_DIRECT_FAILED;

	*buf = NULL;
	if (!j || !(j->row = malloc(3 * (size_t) v->width))) {
		free(j);
		return no_memory();
	}
	j->out.err = tier_escape_by(&j->escape);
	if (setjmp(j->escape.to) == 0) {
		jpeg_create_compress(&j->out);
		jpeg_mem_dest(&j->out, &j->file, &j->len);
		set_up(j, v, quality, mezzanine);
		jpeg_start_compress(&j->out, TRUE);
		write_rows(j, v);
		jpeg_finish_compress(&j->out);
		*buf = j->file;
		*len = j->len;
		jpeg_destroy_compress(&j->out);
		free(j->row);
		free(j);
		return 0;
	}
	tier_escape_fault((j_common_ptr) &j->out);
	jpeg_destroy_compress(&j->out);
	free(j->file);
	free(j->row);
	free(j);
	return fault;
}

int
tier_direct_jpeg(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len)
{
	return save_jpeg(d, view, quality, 0, buf, len);
}

int
tier_direct_mezzanine(struct tier_direct *d, int view, int quality, unsigned char **buf, size_t *len)
{
	return save_jpeg(d, view, quality, 1, buf, len);
}

int
tier_direct_pixels(struct tier_direct *d, int view, const unsigned char **rgb)
{
	struct tier_view *v = tier_direct_view(d, view);

	if (!v || tier_view_rgb(v))
		return TIER_DIRECT_FAILED;
	*rgb = v->rgb;
	return 0;
}

// ---- WebP

int
tier_direct_webp(struct tier_direct *d, int view, int quality, int effort, unsigned char **buf, size_t *len)
{
	struct tier_view *v = tier_direct_view(d, view);
	WebPConfig config;
	WebPPicture picture;
	WebPMemoryWriter writer;
	int ok;

	*buf = NULL;
	if (!v || tier_view_rgb(v))
		return TIER_DIRECT_FAILED;
	if (!WebPConfigPreset(&config, WEBP_PRESET_DEFAULT, quality) || !WebPPictureInit(&picture)) {
		vips_error("direct", "another version of libwebp");
		return TIER_DIRECT_FAILED;
	}
	config.method = effort;
	WebPMemoryWriterInit(&writer);
	picture.width = v->width;
	picture.height = v->height;
	picture.writer = WebPMemoryWrite;
	picture.custom_ptr = &writer;
	ok = WebPPictureImportRGB(&picture, v->rgb, 3 * v->width) && WebPEncode(&config, &picture);
	if (!ok)
		vips_error("direct", "libwebp: error %d", picture.error_code);
	WebPPictureFree(&picture);
	if (!ok) {
		WebPMemoryWriterClear(&writer);
		return TIER_DIRECT_FAILED;
	}
	*buf = writer.mem;
	*len = writer.size;
	return 0;
}
