/* The few calls of libvpx that the crate needs, with plain arguments only.
 *
 * Compiled against the installed headers, so that the layout of libvpx' structures and its ABI numbers are always
 * those of the library that is linked.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

/* Twins of the `repr(C)` structures in vp8.rs. */
typedef struct {
  uint32_t width, height;
  uint32_t threads;
  uint32_t kilobits;
  uint32_t max_intra_percent;
  uint32_t drop_below_percent;
  uint32_t static_threshold;
  uint32_t token_partitions_log2;
  int32_t speed;
  int32_t screencast;
} gr_vp8_settings;

typedef struct {
  const uint8_t *planes[3];
  int32_t strides[3];
  uint32_t width, height;
} gr_vp8_image;

typedef struct {
  const uint8_t *data;
  size_t length;
  int32_t keyframe;
} gr_vp8_packet;

typedef struct {
  vpx_codec_ctx_t context;
  vpx_codec_enc_cfg_t config;
  uint32_t drop_below_percent;
} gr_vp8_encoder;

typedef struct {
  vpx_codec_ctx_t context;
} gr_vp8_decoder;

const char *gr_vp8_error_text(int32_t code) { return vpx_codec_err_to_string((vpx_codec_err_t)code); }

static void fill_config(vpx_codec_enc_cfg_t *config, const gr_vp8_settings *settings) {
  config->g_w = settings->width;
  config->g_h = settings->height;
  config->g_threads = settings->threads;
  config->g_timebase.num = 1;
  config->g_timebase.den = 90000;
  config->g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
  config->g_lag_in_frames = 0;
  config->g_pass = VPX_RC_ONE_PASS;
  config->rc_end_usage = VPX_CBR;
  config->rc_target_bitrate = settings->kilobits;
  config->rc_dropframe_thresh = settings->drop_below_percent;
  config->rc_resize_allowed = 0;
  config->rc_min_quantizer = 2;
  config->rc_max_quantizer = 56;
  config->rc_undershoot_pct = 100;
  config->rc_overshoot_pct = 15;
  config->rc_buf_initial_sz = 500;
  config->rc_buf_optimal_sz = 600;
  config->rc_buf_sz = 1000;
  config->kf_mode = VPX_KF_DISABLED;
}

static vpx_codec_err_t set_controls(vpx_codec_ctx_t *context, const gr_vp8_settings *settings) {
  vpx_codec_err_t error = vpx_codec_control(context, VP8E_SET_CPUUSED, settings->speed);
  if (!error) error = vpx_codec_control(context, VP8E_SET_STATIC_THRESHOLD, settings->static_threshold);
  if (!error) error = vpx_codec_control(context, VP8E_SET_NOISE_SENSITIVITY, 0);
  if (!error) error = vpx_codec_control(context, VP8E_SET_TOKEN_PARTITIONS, (int)settings->token_partitions_log2);
  if (!error) error = vpx_codec_control(context, VP8E_SET_MAX_INTRA_BITRATE_PCT, settings->max_intra_percent);
  if (!error) error = vpx_codec_control(context, VP8E_SET_SCREEN_CONTENT_MODE, settings->screencast ? 1u : 0u);
  return error;
}

gr_vp8_encoder *gr_vp8_encoder_new(const gr_vp8_settings *settings, int32_t *error) {
  gr_vp8_encoder *encoder = calloc(1, sizeof *encoder);
  if (!encoder) {
    *error = VPX_CODEC_MEM_ERROR;
    return NULL;
  }
  *error = vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &encoder->config, 0);
  if (!*error) {
    fill_config(&encoder->config, settings);
    encoder->drop_below_percent = settings->drop_below_percent;
    *error = vpx_codec_enc_init(&encoder->context, vpx_codec_vp8_cx(), &encoder->config, 0);
  }
  if (*error) {
    free(encoder);
    return NULL;
  }
  *error = set_controls(&encoder->context, settings);
  if (*error) {
    vpx_codec_destroy(&encoder->context);
    free(encoder);
    return NULL;
  }
  return encoder;
}

void gr_vp8_encoder_free(gr_vp8_encoder *encoder) {
  vpx_codec_destroy(&encoder->context);
  free(encoder);
}

int32_t gr_vp8_encoder_set_rate(gr_vp8_encoder *encoder, uint32_t kilobits, uint32_t max_intra_percent) {
  encoder->config.rc_target_bitrate = kilobits;
  vpx_codec_err_t error = vpx_codec_enc_config_set(&encoder->context, &encoder->config);
  if (!error) error = vpx_codec_control(&encoder->context, VP8E_SET_MAX_INTRA_BITRATE_PCT, max_intra_percent);
  return error;
}

/* What `gr_vp8_encode` makes of a picture; twin of `Role` in vp8.rs. */
enum { GR_VP8_ANY = 0, GR_VP8_KEY = 1, GR_VP8_REPEATABLE = 2 };

/* While it copies, a frame is the one before once more: no macroblock is active, and none may be dropped. */
static vpx_codec_err_t set_copying(gr_vp8_encoder *encoder, int copying) {
  vpx_active_map_t map = {.rows = (encoder->config.g_h + 15) / 16, .cols = (encoder->config.g_w + 15) / 16};
  if (copying && !(map.active_map = calloc(map.rows, map.cols))) return VPX_CODEC_MEM_ERROR;
  encoder->config.rc_dropframe_thresh = copying ? 0 : encoder->drop_below_percent;
  vpx_codec_err_t error = vpx_codec_enc_config_set(&encoder->context, &encoder->config);
  if (!error) error = vpx_codec_control(&encoder->context, VP8E_SET_ACTIVEMAP, &map);
  free(map.active_map);
  return error;
}

/* A repeatable frame leaves nothing behind in a decoder, so that it may come any number of times. */
static vpx_enc_frame_flags_t frame_flags(int32_t role) {
  if (role == GR_VP8_KEY) return VPX_EFLAG_FORCE_KF;
  if (role == GR_VP8_REPEATABLE)
    return VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_GF | VP8_EFLAG_NO_UPD_ARF | VP8_EFLAG_NO_UPD_ENTROPY;
  return 0;
}

/* Encodes one picture. `packet->data` stays valid until the next call and is NULL when the picture was dropped. */
int32_t gr_vp8_encode(gr_vp8_encoder *encoder, const gr_vp8_image *source, int64_t timestamp, uint32_t duration,
                      int32_t role, gr_vp8_packet *packet) {
  vpx_image_t image;
  memset(packet, 0, sizeof *packet);
  /* The planes are set below; the pointer given here is only looked at for being there. */
  if (!vpx_img_wrap(&image, VPX_IMG_FMT_I420, source->width, source->height, 1, (unsigned char *)source->planes[0]))
    return VPX_CODEC_MEM_ERROR;
  for (int plane = 0; plane < 3; plane++) {
    image.planes[plane] = (unsigned char *)source->planes[plane];
    image.stride[plane] = source->strides[plane];
  }
  vpx_codec_err_t error = VPX_CODEC_OK;
  if (role == GR_VP8_REPEATABLE) error = set_copying(encoder, 1);
  if (!error) error = vpx_codec_encode(&encoder->context, &image, timestamp, duration, frame_flags(role), VPX_DL_REALTIME);
  if (!error && role == GR_VP8_REPEATABLE) error = set_copying(encoder, 0);
  if (error) return error;
  vpx_codec_iter_t iterator = NULL;
  const vpx_codec_cx_pkt_t *next;
  while ((next = vpx_codec_get_cx_data(&encoder->context, &iterator))) {
    if (next->kind != VPX_CODEC_CX_FRAME_PKT) continue;
    packet->data = next->data.frame.buf;
    packet->length = next->data.frame.sz;
    packet->keyframe = (next->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
  }
  return VPX_CODEC_OK;
}

gr_vp8_decoder *gr_vp8_decoder_new(int32_t *error) {
  gr_vp8_decoder *decoder = calloc(1, sizeof *decoder);
  if (!decoder) {
    *error = VPX_CODEC_MEM_ERROR;
    return NULL;
  }
  vpx_codec_dec_cfg_t config = {.threads = 1, .w = 0, .h = 0};
  *error = vpx_codec_dec_init(&decoder->context, vpx_codec_vp8_dx(), &config, 0);
  if (*error) {
    free(decoder);
    return NULL;
  }
  return decoder;
}

void gr_vp8_decoder_free(gr_vp8_decoder *decoder) {
  vpx_codec_destroy(&decoder->context);
  free(decoder);
}

/* Decodes one frame. The planes stay valid until the next call; `planes[0]` is NULL when there is nothing to show. */
int32_t gr_vp8_decode(gr_vp8_decoder *decoder, const uint8_t *data, uint32_t length, gr_vp8_image *picture) {
  memset(picture, 0, sizeof *picture);
  vpx_codec_err_t error = vpx_codec_decode(&decoder->context, data, length, NULL, 0);
  if (error) return error;
  vpx_codec_iter_t iterator = NULL;
  const vpx_image_t *image = vpx_codec_get_frame(&decoder->context, &iterator);
  if (!image) return VPX_CODEC_OK;
  int corrupted = 0;
  if (!vpx_codec_control(&decoder->context, VP8D_GET_FRAME_CORRUPTED, &corrupted) && corrupted)
    return VPX_CODEC_CORRUPT_FRAME;
  for (int plane = 0; plane < 3; plane++) {
    picture->planes[plane] = image->planes[plane];
    picture->strides[plane] = image->stride[plane];
  }
  picture->width = image->d_w;
  picture->height = image->d_h;
  return VPX_CODEC_OK;
}
