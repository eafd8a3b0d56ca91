#include "colour.h"

#include <math.h>

static cmsHPROFILE
open_profile(struct tier_icc icc)
{
	return icc.len ? cmsOpenProfileFromMem(icc.data, icc.len) : cmsCreate_sRGBProfile();
}

cmsHTRANSFORM
tier_transform_new(struct tier_icc from, struct tier_icc to, int alpha)
{
	cmsHTRANSFORM transform = NULL;
	cmsHPROFILE in = open_profile(from);
	cmsHPROFILE out = open_profile(to);
	cmsUInt32Number format = alpha ? TYPE_RGBA_8 : TYPE_RGB_8;

	if (in && out && cmsGetColorSpace(in) == cmsSigRgbData)
		transform = cmsCreateTransform(in, format, out, format,
			INTENT_RELATIVE_COLORIMETRIC, alpha ? cmsFLAGS_COPY_ALPHA : 0);
	if (in)
		cmsCloseProfile(in);
	if (out)
		cmsCloseProfile(out);
	return transform;
}

int
tier_transform(cmsHTRANSFORM transform, VipsImage *in, VipsImage **out)
{
	size_t bytes = VIPS_IMAGE_SIZEOF_IMAGE(in);
	int alpha = T_EXTRA(cmsGetTransformInputFormat(transform));
	const void *from = vips_image_get_data(in);
	void *to;

	if (!from || in->BandFmt != VIPS_FORMAT_UCHAR || in->Bands != 3 + alpha)
		return -1;
	if (!(to = g_try_malloc(bytes)))
		return -1;
	cmsDoTransform(transform, from, to, (cmsUInt32Number) in->Xsize * in->Ysize);
	*out = vips_image_new_from_memory_copy(to, bytes, in->Xsize, in->Ysize, in->Bands, VIPS_FORMAT_UCHAR);
	g_free(to);
	if (!*out)
		return -1;
	(*out)->Type = VIPS_INTERPRETATION_sRGB;
	return 0;
}

#define CURVE 16384

// curve returns sRGB's transfer function.
static const guchar *
curve(void)
{
	static guchar table[CURVE];

	if (!table[CURVE - 1])
		for (int i = 0; i < CURVE; i++) {
			double v = i / (double) (CURVE - 1);

			table[i] = (guchar) (255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055) + 0.5);
		}
	return table;
}

// tone_map keeps values up to a half of the white of SDR and compresses all larger ones, with the same
// slope at the knee: white becomes 0.82 (233 of 255), four times white nearly 1. All three
// channels are scaled alike, which keeps the hue.
static void
tone_map(float rgb[3])
{
	const float knee = 0.5f;
	float most = fmaxf(rgb[0], fmaxf(rgb[1], rgb[2]));
	float to;

	if (most <= knee)
		return;
	to = knee + (1 - knee) * (1 - expf(-(most - knee) / (1 - knee)));
	for (int i = 0; i < 3; i++)
		rgb[i] *= to / most;
}

int
tier_describe(struct tier_described with, VipsImage *in, VipsImage **out)
{
	const guchar *encoded = curve();
	int wide = in->BandFmt == VIPS_FORMAT_USHORT;
	int bands = in->Bands;
	size_t pixels = (size_t) in->Xsize * in->Ysize;
	const void *data = vips_image_get_data(in);
	const guchar *narrow_from = data;
	const guint16 *wide_from = data;
	guchar *to, *p;

	if (!data || (!wide && in->BandFmt != VIPS_FORMAT_UCHAR) || bands < 3 || bands > 4)
		return -1;
	if (!(to = p = g_try_malloc(pixels * bands)))
		return -1;
	for (size_t i = 0; i < pixels * bands; i += bands, p += bands) {
		float rgb[3];

		for (int c = 0; c < 3; c++)
			rgb[c] = with.linear[wide ? wide_from[i + c] : narrow_from[i + c]];
		if (with.hlg) { // BT.2100: a display of 1,000 nits, of which SDR's white has 203 (BT.2408)
			float luminance = 0.2627f * rgb[0] + 0.6780f * rgb[1] + 0.0593f * rgb[2];
			float gain = 1000 / 203.0f * powf(luminance, 0.2f);

			for (int c = 0; c < 3; c++)
				rgb[c] *= gain;
		}
		if (with.tone)
			tone_map(rgb);
		for (int c = 0; c < 3; c++) {
			const float *m = with.matrix + 3 * c;
			float v = m[0] * rgb[0] + m[1] * rgb[1] + m[2] * rgb[2];

			p[c] = encoded[(int) (fminf(fmaxf(v, 0), 1) * (CURVE - 1) + 0.5f)];
		}
		if (bands == 4)
			p[3] = wide ? wide_from[i + 3] >> 8 : narrow_from[i + 3];
	}
	*out = vips_image_new_from_memory_copy(to, pixels * bands, in->Xsize, in->Ysize, bands, VIPS_FORMAT_UCHAR);
	g_free(to);
	if (!*out)
		return -1;
	(*out)->Type = VIPS_INTERPRETATION_sRGB;
	return 0;
}
