#include "vips.h"

#include <jxl/decode.h>
#include <jxl/version.h>

// libvips 8.14 decodes all frames of an animated JPEG XL into the same memory, and so returns the last one.

#if JPEGXL_NUMERIC_VERSION < JPEGXL_COMPUTE_NUMERIC_VERSION(0, 9, 0)
#define UNUSED_FORMAT NULL, // an argument until version 0.9
#else
#define UNUSED_FORMAT
#endif

// A frame is the first frame of a file.
struct frame {
	JxlBasicInfo info;
	JxlPixelFormat format;
	uint8_t *pixels, *profile; // profile is NULL if there is none
	size_t profile_len;
};

static int
read_profile(JxlDecoder *decoder, struct frame *frame)
{
	if (JxlDecoderGetICCProfileSize(
			decoder, UNUSED_FORMAT JXL_COLOR_PROFILE_TARGET_DATA, &frame->profile_len))
		return 0; // as sRGB
	frame->profile = g_malloc(frame->profile_len);
	return JxlDecoderGetColorAsICCProfile(
		decoder, UNUSED_FORMAT JXL_COLOR_PROFILE_TARGET_DATA, frame->profile, frame->profile_len) ? -1 : 0;
}

// provide gives the decoder memory for the pixels.
static int
provide(JxlDecoder *decoder, struct frame *frame)
{
	size_t len;

	if (frame->pixels || JxlDecoderImageOutBufferSize(decoder, &frame->format, &len))
		return -1;
	frame->pixels = g_try_malloc(len);
	if (!frame->pixels)
		return -1;
	return JxlDecoderSetImageOutBuffer(decoder, &frame->format, frame->pixels, len) ? -1 : 0;
}

static int
decode_frame(JxlDecoder *decoder, struct tier_original from, struct frame *frame)
{
	if (JxlDecoderSubscribeEvents(decoder, JXL_DEC_BASIC_INFO | JXL_DEC_COLOR_ENCODING | JXL_DEC_FULL_IMAGE) ||
		JxlDecoderSetInput(decoder, from.buf, from.len))
		return -1;
	JxlDecoderCloseInput(decoder);
	for (;;) {
		switch (JxlDecoderProcessInput(decoder)) {
		case JXL_DEC_BASIC_INFO:
			if (JxlDecoderGetBasicInfo(decoder, &frame->info))
				return -1;
			frame->format.num_channels = frame->info.num_color_channels + (frame->info.alpha_bits > 0);
			frame->format.data_type = frame->info.bits_per_sample > 8 ? JXL_TYPE_UINT16 : JXL_TYPE_UINT8;
			break;
		case JXL_DEC_COLOR_ENCODING:
			if (read_profile(decoder, frame))
				return -1;
			break;
		case JXL_DEC_NEED_IMAGE_OUT_BUFFER:
			if (provide(decoder, frame))
				return -1;
			break;
		case JXL_DEC_FULL_IMAGE:
			return 0;
		default: // an error, or no frame
			return -1;
		}
	}
}

static int
to_image(struct frame *frame, VipsImage **out)
{
	int bands = frame->format.num_channels, sixteen = frame->format.data_type == JXL_TYPE_UINT16;
	int width = frame->info.xsize, height = frame->info.ysize;
	size_t len = (size_t) width * height * bands * (sixteen ? 2 : 1);
	VipsInterpretation space;
	VipsImage *plain;
	int result;

	if (bands < 3)
		space = sixteen ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W;
	else
		space = sixteen ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
	plain = vips_image_new_from_memory_copy(
		frame->pixels, len, width, height, bands, sixteen ? VIPS_FORMAT_USHORT : VIPS_FORMAT_UCHAR);
	if (!plain)
		return -1;
	result = vips_copy(plain, out, "interpretation", space, NULL);
	g_object_unref(plain);
	if (!result && frame->profile)
		vips_image_set_blob_copy(*out, VIPS_META_ICC_NAME, frame->profile, frame->profile_len);
	return result;
}

int
tier_load_jxl_animation(struct tier_original from, VipsImage **out)
{
	struct frame frame = { .format = { .endianness = JXL_NATIVE_ENDIAN } };
	JxlDecoder *decoder = JxlDecoderCreate(NULL);
	int result = -1;

	if (decoder && !decode_frame(decoder, from, &frame))
		result = to_image(&frame, out);
	else
		vips_error("tier_load", "no frame");
	if (decoder)
		JxlDecoderDestroy(decoder);
	g_free(frame.pixels);
	g_free(frame.profile);
	return result;
}
