#include "vips.h"

#include <stdlib.h>

static void
drop_log(const gchar *domain, GLogLevelFlags level, const gchar *text, gpointer data)
{
}

void
tier_start(void)
{
	// Warnings quote text from the image.
	g_log_set_handler("VIPS", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_INFO | G_LOG_LEVEL_MESSAGE, drop_log, NULL);

	// tier_load names its loader, so libvips should never detect a format itself. If it does
	// anyway, these are the only loaders that it can choose.
	vips_block_untrusted_set(TRUE);
	vips_operation_block_set("VipsForeignLoad", TRUE);
	vips_operation_block_set("VipsForeignLoadJpeg", FALSE);
	vips_operation_block_set("VipsForeignLoadPng", FALSE);
	vips_operation_block_set("VipsForeignLoadWebp", FALSE);
	vips_operation_block_set("VipsForeignLoadNsgif", FALSE);
	vips_operation_block_set("VipsForeignLoadHeif", FALSE);
	vips_operation_block_set("VipsForeignLoadTiff", FALSE);
	vips_operation_block_set("VipsForeignLoadJxl", FALSE);
	vips_operation_block_set("VipsForeignSaveJxl", FALSE); // a saver, but libvips marks it as untrusted
}

// "memory" keeps images that cannot be decoded in order (interlaced PNGs) out of TMPDIR.
#define COMMON "access", VIPS_ACCESS_SEQUENTIAL, "memory", TRUE, "fail_on", VIPS_FAIL_ON_ERROR

// shrinkable returns 0 if a JPEG has at least shrink pixels a side. libvips rounds its size down,
// and aborts the process if that is 0.
static int
shrinkable(void *b, size_t len, int shrink)
{
	VipsImage *whole;
	int small;

	if (shrink == 1)
		return 0;
	if (vips_jpegload_buffer(b, len, &whole, COMMON, NULL)) // reads the header
		return -1;
	small = whole->Xsize < shrink || whole->Ysize < shrink;
	g_object_unref(whole);
	if (small)
		vips_error("tier_load", "smaller than the factor %d", shrink);
	return small ? -1 : 0;
}

// load_tiff loads a TIFF without what follows its first extra sample. libvips takes the first one for
// alpha, and has no steps for more.
static int
load_tiff(void *b, size_t len, VipsImage **out)
{
	VipsImage *all;
	int most = 4, result;

	if (vips_tiffload_buffer(b, len, &all, COMMON, NULL))
		return -1;
	if (all->Type == VIPS_INTERPRETATION_B_W || all->Type == VIPS_INTERPRETATION_GREY16)
		most = 2;
	else if (all->Type == VIPS_INTERPRETATION_CMYK)
		most = 5;
	if (all->Bands <= most) {
		*out = all;
		return 0;
	}
	result = vips_extract_band(all, out, 0, "n", most, NULL);
	g_object_unref(all);
	return result;
}

int
tier_load(struct tier_original from, int shrink, VipsImage **out)
{
	void *b = (void *) from.buf;
	size_t len = from.len;

	switch (from.kind) {
	case TIER_JPEG:
		if (shrinkable(b, len, shrink))
			return -1;
		return vips_jpegload_buffer(b, len, out, COMMON, "shrink", shrink, NULL);
	case TIER_PNG:
		return vips_pngload_buffer(b, len, out, COMMON, NULL);
	case TIER_WEBP:
		return vips_webpload_buffer(b, len, out, COMMON, "scale", 1.0 / shrink, NULL);
	case TIER_GIF:
		return vips_gifload_buffer(b, len, out, COMMON, "page", from.skip, NULL);
	case TIER_HEIF:
		// The limits of the sender allow sides that libvips refuses: more than 16,384 pixels.
		return vips_heifload_buffer(b, len, out, COMMON, "unlimited", TRUE, NULL);
	case TIER_TIFF:
		return load_tiff(b, len, out);
	case TIER_JXL:
		return vips_jxlload_buffer(b, len, out, COMMON, NULL);
	case TIER_JXL_ANIMATION:
		return tier_load_jxl_animation(from, out);
	}
	return -1;
}

int
tier_load_frames(struct tier_original from, VipsImage **out)
{
	void *b = (void *) from.buf;

	if (from.kind == TIER_GIF)
		return vips_gifload_buffer(b, from.len, out, COMMON, "n", -1, "page", from.skip, NULL);
	if (from.kind == TIER_WEBP)
		return vips_webpload_buffer(b, from.len, out, COMMON, "n", -1, NULL);
	return -1;
}

int
tier_frames(VipsImage *in)
{
	int height = vips_image_get_page_height(in);

	return height > 0 ? in->Ysize / height : 1;
}

int
tier_join(VipsImage **frames, int n, VipsImage *like, int skip, VipsImage **out)
{
	VipsImage *joined;
	int *delay, count, loop = 0;

	if (vips_arrayjoin(frames, &joined, n, "across", 1, NULL))
		return -1;
	*out = vips_image_copy_memory(joined);
	g_object_unref(joined);
	if (!*out)
		return -1;
	vips_image_set_int(*out, VIPS_META_PAGE_HEIGHT, frames[0]->Ysize);
	if (vips_image_get_typeof(like, "delay") && !vips_image_get_array_int(like, "delay", &delay, &count))
		if (count > skip) // libvips lists skipped frames too
			vips_image_set_array_int(*out, "delay", delay + skip, VIPS_MIN(count - skip, n));
	if (vips_image_get_typeof(like, "loop") && !vips_image_get_int(like, "loop", &loop))
		vips_image_set_int(*out, "loop", loop);
	return 0;
}

size_t
tier_bytes(VipsImage *in)
{
	return VIPS_IMAGE_SIZEOF_IMAGE(in);
}

int
tier_profile(VipsImage *in, void **data, size_t *len)
{
	if (!vips_image_get_typeof(in, VIPS_META_ICC_NAME))
		return -1;
	return vips_image_get_blob(in, VIPS_META_ICC_NAME, (const void **) data, len);
}

int
tier_memory(VipsImage *in, VipsImage **out)
{
	*out = vips_image_copy_memory(in);
	return *out ? 0 : -1;
}

int
tier_drain(VipsImage *in)
{
	VipsImage *row, *pixels;

	if (vips_extract_area(in, &row, 0, in->Ysize - 1, in->Xsize, 1, NULL))
		return -1;
	pixels = vips_image_copy_memory(row);
	g_object_unref(row);
	if (!pixels)
		return -1;
	g_object_unref(pixels);
	return 0;
}

// The type of resample and blur, which read neighbouring pixels and take one or two numbers.
typedef int (*neighbours)(VipsImage *in, double a, double b, VipsImage **out);

static int
resample(VipsImage *in, double width, double height, VipsImage **out)
{
	return vips_resize(in, out, width / in->Xsize,
		"vscale", height / in->Ysize,
		"kernel", VIPS_KERNEL_LANCZOS3,
		NULL);
}

static int
blur(VipsImage *in, double sigma, double unused, VipsImage **out)
{
	return vips_gaussblur(in, out, sigma, NULL);
}

// premultiplied applies work to an image, with premultiplied colours if it has alpha: the
// colour of a transparent pixel must not bleed into its neighbours. The intermediate values are
// floating point. Rounding them to 8 bits would take two thirds of the time, but the noise in
// nearly transparent pixels makes a WebP a tenth larger.
static int
premultiplied(VipsImage *in, neighbours work, double a, double b, VipsImage **out)
{
	VipsImage *t[4] = { NULL };
	int result;

	if (!vips_image_hasalpha(in))
		return work(in, a, b, out);
	result = vips_premultiply(in, &t[0], NULL) ||
		work(t[0], a, b, &t[1]) ||
		vips_unpremultiply(t[1], &t[2], NULL) ||
		vips_rint(t[2], &t[3], NULL) || // a cast alone rounds down
		vips_cast(t[3], out, in->BandFmt, NULL);
	for (int i = 0; i < 4; i++)
		if (t[i])
			g_object_unref(t[i]);
	return result ? -1 : 0;
}

int
tier_scale(VipsImage *in, int width, int height, VipsImage **out)
{
	if (in->Xsize == width && in->Ysize == height)
		return vips_copy(in, out, NULL);
	return premultiplied(in, resample, width, height, out);
}

int
tier_crop(VipsImage *in, int left, int top, int width, int height, VipsImage **out)
{
	return vips_extract_area(in, out, left, top, width, height, NULL);
}

int
tier_extend(VipsImage *in, int width, int height, VipsImage **out)
{
	return vips_embed(in, out, 0, 0, width, height, "extend", VIPS_EXTEND_COPY, NULL);
}

// BORDER_TOLERANCE is the largest difference, of 255, between pixels of a border: noise of JPEG.
#define BORDER_TOLERANCE 10

// seen stores how a pixel looks on black and on white, in three values each.
static void
seen(const VipsPel *p, int bands, int look[6])
{
	int colours = bands < 3 ? 1 : 3;
	int alpha = bands == 2 || bands == 4 ? p[bands - 1] : 255;

	for (int i = 0; i < 3; i++) {
		int v = p[colours == 1 ? 0 : i];

		look[i] = (v * alpha + 127) / 255;
		look[3 + i] = look[i] + 255 - alpha;
	}
}

int
tier_border(VipsImage *in, int *left, int *top, int *width, int *height)
{
	VipsImage *srgb;
	VipsRegion *region;
	int corner[6], x1 = in->Xsize, y1 = in->Ysize, x2 = -1, y2 = -1;

	*left = *top = *width = *height = 0;
	// The tolerance is in the units of 8-bit sRGB. The profile does not matter here.
	if (tier_srgb(in, FALSE, &srgb))
		return -1;
	region = vips_region_new(srgb);
	for (int y = 0; y < srgb->Ysize; y++) {
		VipsRect row = { 0, y, srgb->Xsize, 1 };
		const VipsPel *p;

		if (vips_region_prepare(region, &row)) {
			g_object_unref(region);
			g_object_unref(srgb);
			return -1;
		}
		p = VIPS_REGION_ADDR(region, 0, y);
		if (y == 0)
			seen(p, srgb->Bands, corner);
		for (int x = 0; x < srgb->Xsize; x++, p += srgb->Bands) {
			int look[6], differs = FALSE;

			if (x >= x1 && x <= x2 && y2 == y)
				continue; // nothing new
			seen(p, srgb->Bands, look);
			for (int i = 0; i < 6; i++)
				differs |= abs(look[i] - corner[i]) > BORDER_TOLERANCE;
			if (differs) {
				x1 = VIPS_MIN(x1, x);
				x2 = VIPS_MAX(x2, x);
				y1 = VIPS_MIN(y1, y);
				y2 = y;
			}
		}
	}
	g_object_unref(region);
	g_object_unref(srgb);
	if (x2 >= 0) {
		*left = x1;
		*top = y1;
		*width = x2 - x1 + 1;
		*height = y2 - y1 + 1;
	}
	return 0;
}

// sixteen gives a 16-bit image the interpretation of its bands.
static int
sixteen(VipsImage *in, int colours, VipsImage **out)
{
	VipsInterpretation space = in->Type;

	if (space != VIPS_INTERPRETATION_CMYK)
		space = colours == 1 ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_RGB16;
	return vips_copy(in, out, "interpretation", space, NULL);
}

int
tier_unsigned(VipsImage *in, VipsImage **out)
{
	int colours = in->Bands < 3 ? 1 : 3;
	VipsImage *scaled, *whole;
	double factor;
	int result;

	switch (in->Type) {
	case VIPS_INTERPRETATION_LAB:
	case VIPS_INTERPRETATION_LABQ: // packed into four bands, which the steps would take for alpha
	case VIPS_INTERPRETATION_LABS:
		// Directly, libvips rounds LABQ to 6 bits per band.
		if (vips_colourspace(in, &scaled, VIPS_INTERPRETATION_LAB, NULL))
			return -1;
		result = vips_colourspace(scaled, out, VIPS_INTERPRETATION_sRGB, NULL);
		g_object_unref(scaled);
		return result;
	default:
		break;
	}
	switch (in->BandFmt) {
	case VIPS_FORMAT_UCHAR:
	case VIPS_FORMAT_USHORT:
		return vips_copy(in, out, NULL);
	case VIPS_FORMAT_CHAR:
		factor = 65535.0 / 127;
		break;
	case VIPS_FORMAT_SHORT:
		factor = 65535.0 / 32767;
		break;
	case VIPS_FORMAT_INT:
		factor = 65535.0 / 2147483647;
		break;
	case VIPS_FORMAT_UINT:
		factor = 65535.0 / 4294967295;
		break;
	default:
		factor = 65535;
	}
	if (vips_linear1(in, &scaled, factor, 0.0, NULL))
		return -1;
	result = vips_cast(scaled, &whole, VIPS_FORMAT_USHORT, NULL);
	g_object_unref(scaled);
	if (result)
		return -1;
	result = sixteen(whole, colours, out);
	g_object_unref(whole);
	return result;
}

int
tier_rgb(VipsImage *in, VipsImage **out)
{
	VipsImage *t[4] = { NULL };
	VipsInterpretation space = in->BandFmt == VIPS_FORMAT_USHORT ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
	int result;

	if (in->Bands > 2)
		return vips_copy(in, out, NULL);
	result = vips_extract_band(in, &t[0], 0, NULL);
	if (!result) {
		VipsImage *bands[4] = { t[0], t[0], t[0], NULL };

		if (in->Bands == 2) {
			result = vips_extract_band(in, &t[1], 1, NULL);
			bands[3] = t[1];
		}
		result = result || vips_bandjoin(bands, &t[2], in->Bands == 2 ? 4 : 3, NULL) ||
			vips_copy(t[2], out, "interpretation", space, NULL);
	}
	for (int i = 0; i < 4; i++)
		if (t[i])
			g_object_unref(t[i]);
	return result ? -1 : 0;
}

int
tier_widen_range(VipsImage *in, VipsImage **out)
{
	double black = in->BandFmt == VIPS_FORMAT_USHORT ? 16 * 256 : 16;
	double factor = in->BandFmt == VIPS_FORMAT_USHORT ? 65535.0 / (219 * 256) : 255.0 / 219;
	int colours = in->Bands - (vips_image_hasalpha(in) ? 1 : 0);
	double a[4] = { 1, 1, 1, 1 }, b[4] = { 0 };
	VipsImage *t[2] = { NULL };
	int result;

	if (in->Bands > 4)
		return -1;
	for (int i = 0; i < colours; i++) {
		a[i] = factor;
		b[i] = -black * factor;
	}
	result = vips_linear(in, &t[0], a, b, in->Bands, NULL) ||
		vips_rint(t[0], &t[1], NULL) ||
		vips_cast(t[1], out, in->BandFmt, NULL);
	for (int i = 0; i < 2; i++)
		if (t[i])
			g_object_unref(t[i]);
	return result ? -1 : 0;
}

int
tier_unpremultiply(VipsImage *in, VipsImage **out)
{
	VipsImage *t[2] = { NULL };
	int result;

	if (!vips_image_hasalpha(in))
		return vips_copy(in, out, NULL);
	result = vips_unpremultiply(in, &t[0], NULL) ||
		vips_rint(t[0], &t[1], NULL) ||
		vips_cast(t[1], out, in->BandFmt, NULL);
	for (int i = 0; i < 2; i++)
		if (t[i])
			g_object_unref(t[i]);
	return result ? -1 : 0;
}

int
tier_eight(VipsImage *in, VipsImage **out)
{
	VipsImage *t;
	VipsInterpretation space = in->Type;
	int result;

	if (in->BandFmt != VIPS_FORMAT_USHORT)
		return vips_copy(in, out, NULL);
	if (space == VIPS_INTERPRETATION_RGB16)
		space = VIPS_INTERPRETATION_sRGB;
	if (space == VIPS_INTERPRETATION_GREY16)
		space = VIPS_INTERPRETATION_B_W;
	if (vips_cast(in, &t, VIPS_FORMAT_UCHAR, "shift", TRUE, NULL))
		return -1;
	result = vips_copy(t, out, "interpretation", space, NULL);
	g_object_unref(t);
	return result;
}

// profiled reports whether honour can convert the image: it has a profile or is CMYK.
static int
profiled(VipsImage *in)
{
	return vips_image_get_typeof(in, VIPS_META_ICC_NAME) || in->Type == VIPS_INTERPRETATION_CMYK;
}

// honour converts from the profile of the image to a profile that libvips knows by name. CMYK
// without a profile is converted from libvips' built-in CMYK profile.
static int
honour(VipsImage *in, const char *to, VipsImage **out)
{
	int cmyk = in->Type == VIPS_INTERPRETATION_CMYK;

	if (cmyk)
		return vips_icc_transform(in, out, to, "embedded", TRUE, "input_profile", "cmyk", "depth", 8, NULL);
	return vips_icc_transform(in, out, to, "embedded", TRUE, "depth", 8, NULL);
}

int
tier_wide(VipsImage *in, VipsImage **out)
{
	VipsImage *eight, *lazy;
	int result = -1;

	if (tier_eight(in, &eight))
		return -1;
	if (profiled(eight) && !honour(eight, "p3", &lazy)) {
		*out = vips_image_copy_memory(lazy);
		result = *out ? 0 : -1;
		g_object_unref(lazy);
	}
	g_object_unref(eight);
	return result;
}

int
tier_srgb(VipsImage *in, int managed, VipsImage **out)
{
	VipsImage *eight, *plain, *srgb;
	VipsInterpretation space;
	int result;

	if (tier_eight(in, &eight))
		return -1;
	plain = NULL;
	if (managed && profiled(eight)) {
		// Ignore a profile that is broken or is for another kind of image.
		VipsImage *lazy;
		if (honour(eight, "srgb", &lazy) == 0) {
			plain = vips_image_copy_memory(lazy);
			g_object_unref(lazy);
		}
	}
	if (!plain) {
		plain = eight;
		g_object_ref(plain);
	}
	g_object_unref(eight);

	space = vips_image_guess_interpretation(plain);
	if (space == VIPS_INTERPRETATION_B_W || space == VIPS_INTERPRETATION_sRGB) {
		result = vips_cast(plain, out, VIPS_FORMAT_UCHAR, NULL);
		g_object_unref(plain);
		return result;
	}
	result = vips_colourspace(plain, &srgb, VIPS_INTERPRETATION_sRGB, NULL);
	g_object_unref(plain);
	if (result)
		return -1;
	result = vips_cast(srgb, out, VIPS_FORMAT_UCHAR, NULL);
	g_object_unref(srgb);
	return result;
}

int
tier_turn(VipsImage *in, int degrees, int mirror, VipsImage **out)
{
	VipsImage *turned;
	int result;

	if (vips_rot(in, &turned, (VipsAngle) (degrees / 90), NULL))
		return -1;
	if (!mirror) {
		*out = turned;
		return 0;
	}
	result = vips_flip(turned, out, VIPS_DIRECTION_HORIZONTAL, NULL);
	g_object_unref(turned);
	return result;
}

int
tier_attention(VipsImage *in, int width, int height, VipsImage **out)
{
	return vips_smartcrop(in, out, width, height, "interesting", VIPS_INTERESTING_ATTENTION, NULL);
}

// paintable converts in to an image that can hold the colour, and returns the colour as the
// values of its bands: one for grey, three otherwise.
static int
paintable(VipsImage *in, struct tier_color color, VipsImage **out, VipsArrayDouble **ink)
{
	double rgb[3] = { color.red, color.green, color.blue };
	int grey = in->Bands <= 2;

	if (grey && color.red == color.green && color.red == color.blue) {
		*ink = vips_array_double_new(rgb, 1);
		return vips_copy(in, out, NULL);
	}
	*ink = vips_array_double_new(rgb, 3);
	return grey ? vips_colourspace(in, out, VIPS_INTERPRETATION_sRGB, NULL) : vips_copy(in, out, NULL);
}

int
tier_flatten(VipsImage *in, struct tier_color on, VipsImage **out)
{
	VipsImage *base;
	VipsArrayDouble *ink;
	int result = paintable(in, on, &base, &ink);

	if (!result) {
		result = vips_flatten(base, out, "background", ink, NULL);
		g_object_unref(base);
	}
	vips_area_unref(VIPS_AREA(ink));
	return result;
}

int
tier_pad(VipsImage *in, int left, int top, int width, int height, struct tier_color on, VipsImage **out)
{
	VipsImage *base;
	VipsArrayDouble *ink;
	int result = paintable(in, on, &base, &ink);

	if (!result) {
		result = vips_embed(base, out, left, top, width, height,
			"extend", VIPS_EXTEND_BACKGROUND, "background", ink, NULL);
		g_object_unref(base);
	}
	vips_area_unref(VIPS_AREA(ink));
	return result;
}

int
tier_gray(VipsImage *in, VipsImage **out)
{
	return vips_colourspace(in, out, VIPS_INTERPRETATION_B_W, NULL);
}

int
tier_blur(VipsImage *in, double sigma, VipsImage **out)
{
	return premultiplied(in, blur, sigma, 0, out);
}

int
tier_sharpen(VipsImage *in, VipsImage **out)
{
	return vips_sharpen(in, out, NULL);
}

static void *
collect(VipsImage *image, const char *name, GValue *value, void *names)
{
	g_ptr_array_add((GPtrArray *) names, g_strdup(name));
	return NULL;
}

int
tier_bare(VipsImage *in, VipsImage **out)
{
	GPtrArray *names;

	// Reset the resolution to libvips' default of one pixel per millimetre.
	if (vips_copy(in, out, "xres", 1.0, "yres", 1.0, NULL))
		return -1;
	names = g_ptr_array_new_with_free_func(g_free);
	vips_image_map(*out, collect, names);
	for (guint i = 0; i < names->len; i++)
		vips_image_remove(*out, (const char *) names->pdata[i]); // header fields stay
	g_ptr_array_free(names, TRUE);
	return 0;
}

int
tier_save_jpeg(VipsImage *in, int quality, void **buf, size_t *len)
{
	return vips_jpegsave_buffer(in, buf, len,
		"Q", quality, "interlace", TRUE, "optimize_coding", TRUE, "strip", TRUE, NULL);
}

int
tier_save_mezzanine(VipsImage *in, int quality, void **buf, size_t *len)
{
	return vips_jpegsave_buffer(in, buf, len,
		"Q", quality, "subsample_mode", VIPS_FOREIGN_SUBSAMPLE_OFF, "strip", TRUE, NULL);
}

int
tier_save_png(VipsImage *in, void **buf, size_t *len)
{
	return vips_pngsave_buffer(in, buf, len, "strip", TRUE, NULL);
}

int
tier_save_webp(VipsImage *in, int quality, int effort, void **buf, size_t *len)
{
	return vips_webpsave_buffer(in, buf, len, "Q", quality, "effort", effort, "strip", TRUE, NULL);
}

int
tier_carry(VipsImage *in, struct tier_carried with, VipsImage **out)
{
	if (vips_copy(in, out, NULL))
		return -1;
	if (with.profile_len)
		vips_image_set_blob_copy(*out, VIPS_META_ICC_NAME, with.profile, with.profile_len);
	if (with.exif_len)
		vips_image_set_blob_copy(*out, VIPS_META_EXIF_NAME, with.exif, with.exif_len);
	return 0;
}

static int
carries(VipsImage *in)
{
	return vips_image_get_typeof(in, VIPS_META_ICC_NAME) || vips_image_get_typeof(in, VIPS_META_EXIF_NAME);
}

int
tier_save_avif(VipsImage *in, int quality, int effort, void **buf, size_t *len)
{
	return vips_heifsave_buffer(in, buf, len,
		"Q", quality, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1, "effort", effort, "strip", !carries(in), NULL);
}

int
tier_save_heic(VipsImage *in, int quality, int effort, void **buf, size_t *len)
{
	return vips_heifsave_buffer(in, buf, len,
		"Q", quality, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_HEVC, "effort", effort, "strip", !carries(in), NULL);
}

// LONGEST_DELAY is the longest that a GIF can show a frame, in milliseconds: its unit is 10 ms, in 16 bits.
#define LONGEST_DELAY 655350

// shorten limits the delays of frames to LONGEST_DELAY.
static int
shorten(VipsImage *in, VipsImage **out)
{
	int *delay, count, *shorter;

	if (vips_copy(in, out, NULL))
		return -1;
	if (!vips_image_get_typeof(in, "delay") || vips_image_get_array_int(in, "delay", &delay, &count))
		return 0;
	shorter = g_new(int, count);
	for (int i = 0; i < count; i++)
		shorter[i] = VIPS_MIN(delay[i], LONGEST_DELAY);
	vips_image_set_array_int(*out, "delay", shorter, count);
	g_free(shorter);
	return 0;
}

int
tier_save_gif(VipsImage *in, int effort, void **buf, size_t *len)
{
	VipsImage *shortened;
	int result;

	if (shorten(in, &shortened))
		return -1;
	result = vips_gifsave_buffer(shortened, buf, len, "effort", effort, "strip", TRUE, NULL);
	g_object_unref(shortened);
	return result;
}

int
tier_save_jxl(VipsImage *in, int quality, int effort, void **buf, size_t *len)
{
	return vips_jxlsave_buffer(in, buf, len, "Q", quality, "effort", effort, "strip", !carries(in), NULL);
}

int
tier_blank(int width, int height, VipsImage **out)
{
	VipsImage *t, *grey;
	int result;

	if (vips_black(&t, width, height, "bands", 3, NULL))
		return -1;
	result = vips_copy(t, &grey, "interpretation", VIPS_INTERPRETATION_sRGB, NULL);
	g_object_unref(t);
	if (result)
		return -1;
	*out = vips_image_copy_memory(grey);
	g_object_unref(grey);
	return *out ? 0 : -1;
}

int
tier_loads_jxl(void)
{
	return vips_type_find("VipsOperation", "jxlload_buffer") != 0;
}

int
tier_mark(VipsImage *in, VipsImage *mark, int left, int top, VipsImage **out)
{
	VipsImage *base, *over, *both, *eight;
	int result = -1, alpha = vips_image_hasalpha(in);

	if (vips_colourspace(in, &base, VIPS_INTERPRETATION_sRGB, NULL))
		return -1;
	if (vips_colourspace(mark, &over, VIPS_INTERPRETATION_sRGB, NULL)) {
		g_object_unref(base);
		return -1;
	}
	if (!vips_composite2(base, over, &both, VIPS_BLEND_MODE_OVER, "x", left, "y", top, NULL)) {
		if (!vips_cast(both, &eight, VIPS_FORMAT_UCHAR, NULL)) {
			result = alpha ? vips_copy(eight, out, NULL) : vips_extract_band(eight, out, 0, "n", 3, NULL);
			g_object_unref(eight);
		}
		g_object_unref(both);
	}
	g_object_unref(over);
	g_object_unref(base);
	return result;
}
