#include "colour.h"

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
