// 3x3 convolution (stride 1, padding 1) by Winograd's F(2x2, 3x3), whatever comes after it. Tiles may reach over the
// edge of an image with an odd number of rows or columns.
#include "stages.hpp"

namespace {

template <class E>
bool plain_forward(const Sizes &sizes, const typename E::Number *images, const Filters<const float> &filters,
                   const float *bias, typename E::Number *outputs) {
    const int64_t tiles = sizes.down() * sizes.across();
    return forward<E>(sizes, images, filters, [=](int64_t tile, int64_t channel, const Vector out[2][2]) {
        const int64_t left = sizes.k - channel, image = tile / tiles;
        const int64_t top = tile % tiles / sizes.across() * 2, first = tile % sizes.across() * 2;
        const Vector of_bias = bias ? (Vector)load_first<Words>(bias + channel, left, bias + sizes.k) : Vector{};
        for (int64_t y = top; y < std::min(top + 2, sizes.h); y++)
            for (int64_t x = first; x < std::min(first + 2, sizes.w); x++)
                E::store_narrow(outputs + ((image * sizes.h + y) * sizes.w + x) * sizes.k + channel,
                                out[y - top][x - first] + of_bias, left);
    });
}

// The gradients of a row of tiles' outputs, A gradient A'; a vector of channels at a time goes to
// put(position, tile, channel, values).
template <class E, class Put>
INLINE void transform_outputs(const Sizes &sizes, const typename E::Number *gradients, int64_t row_of_all,
                              const Put &put) {
    const int64_t row = row_of_all % sizes.down() * 2, line = sizes.w * sizes.k;
    const auto *first = gradients + (row_of_all / sizes.down() * sizes.h + row) * line;
    const auto *end = gradients + sizes.n * sizes.h * line;
    const auto of_outputs = [](const Vector in[2], Vector out[4]) {
        out[0] = in[0];
        out[1] = in[0] + in[1];
        out[2] = in[0] - in[1];
        out[3] = Vector{} - in[1];
    };
    for (int64_t tile = 0; tile < sizes.across(); tile++)
        for (int64_t channel = 0; channel < sizes.k; channel += LANES) {
            Vector columns[2][4];
            for (int64_t x = 0; x < 2; x++) {
                const auto *pixel = first + (2 * tile + x) * sizes.k + channel;
                Vector in[2]{};
                if (2 * tile + x < sizes.w) {
                    in[0] = E::load_wide(pixel, sizes.k - channel, end);
                    if (row + 1 < sizes.h) in[1] = E::load_wide(pixel + line, sizes.k - channel, end);
                }
                of_outputs(in, columns[x]);
            }
#pragma GCC unroll 4
            for (int64_t i = 0; i < 4; i++) {
                const Vector in[2] = {columns[0][i], columns[1][i]};
                Vector out[4];
                of_outputs(in, out);
#pragma GCC unroll 4
                for (int64_t j = 0; j < 4; j++) put(4 * i + j, tile, channel, out[j]);
            }
        }
}

template <class E>
bool plain_images(const Sizes &sizes, const typename E::Number *gradients, const Filters<const float> &filters,
                  typename E::Number *out) {
    return backward_images<E>(sizes, filters, out, [&](const auto &work, int32_t *tiles, int64_t top, int64_t rows) {
        for (int64_t r = 0; r < rows; r++)
            transform_outputs<E>(
                sizes, gradients, top + r,
                [&work, row = work.row, to = tiles + r * sizes.across() * work.row](
                    int64_t position, int64_t tile, int64_t channel, Vector values) {
                    work.put(to + tile * row, position, channel, values);
                });
    });
}

template <class E>
bool plain_filters(const Sizes &sizes, const typename E::Number *gradients, const typename E::Number *images,
                   const Filters<float> &out) {
    return backward_filters<E>(
        sizes, images, out, [&](const auto &work, int32_t *tiles, int64_t, int64_t top, int64_t rows) {
            for (int64_t r = 0; r < rows; r++)
                transform_outputs<E>(
                    sizes, gradients, top + r,
                    [=, step = work.tile_step, columns = work.columns, first = r * sizes.across()](
                        int64_t position, int64_t tile, int64_t channel, Vector values) {
                        const int64_t index = first + tile;
                        int32_t *to = tiles + position * step + index / E::IN_WORD * columns + channel;
                        put_half<E>(to, values, index % E::IN_WORD);
                    });
        });
}

}  // namespace

#define EXPORT(NAME, E)                                                                                            \
    extern "C" bool conv3x3_##NAME(const E::Number *images, const float *filters, const int64_t *strides,          \
                                   const float *bias, E::Number *outputs, int64_t n, int64_t h, int64_t w,         \
                                   int64_t c, int64_t k, int64_t threads) {                                        \
        return plain_forward<E>({n, h, w, c, k, threads, true}, images, {filters, strides}, bias, outputs);        \
    }                                                                                                              \
    extern "C" bool conv3x3_images_##NAME(const E::Number *gradients, const float *filters, const int64_t *strides, \
                                          E::Number *out, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k,   \
                                          int64_t threads) {                                                       \
        return plain_images<E>({n, h, w, c, k, threads, true}, gradients, {filters, strides}, out);                \
    }                                                                                                              \
    extern "C" bool conv3x3_filters_##NAME(const E::Number *gradients, const E::Number *images, float *out,        \
                                           const int64_t *strides, int64_t n, int64_t h, int64_t w, int64_t c,     \
                                           int64_t k, int64_t threads) {                                           \
        return plain_filters<E>({n, h, w, c, k, threads, true}, gradients, images, {out, strides});                \
    }

EXPORT(float32, Float32)
#ifdef __AVX512BF16__
EXPORT(bfloat16, BFloat16)
#endif
