// 3x3 convolution (stride 1, padding 1), ReLU and 2x2 max pooling as one operation, by Winograd's F(2x2, 3x3): a tile
// is just the outputs under one pooling window. An odd last row or column of outputs is under none.
#include "stages.hpp"

namespace {

constexpr int NO_PIXEL = 4;  // an output that ReLU made 0 came from none of the four

// A vector of channels of a tile: ReLU and pooling of its four outputs. `from` keeps which of them it was, the first of
// equals; NaN is the largest.
template <class E>
INLINE void pool_tile(const Vector outputs[2][2], Vector bias, int64_t count, typename E::Number *pooled,
                      uint8_t *from) {
    Vector most{};
    Words which = Words{} + NO_PIXEL;
#pragma GCC unroll 4
    for (int pixel = 0; pixel < 4; pixel++) {
        const Vector value = outputs[pixel / 2][pixel % 2] + bias;
        const Words larger = (value > most) | (value != value);
        most = larger ? value : most;
        which = larger ? Words{} + pixel : which;
    }
    E::store_narrow(pooled, most, count);
    store_first(from, to_bytes(which), count);
}

template <class E>
bool pooled_forward(const Sizes &sizes, const typename E::Number *images, const Filters<const float> &filters,
                    const float *bias, typename E::Number *pooled, uint8_t *from) {
    return forward<E>(sizes, images, filters, [=, k = sizes.k](int64_t tile, int64_t channel, const Vector out[2][2]) {
        const Vector of_bias = (Vector)load_first<Words>(bias + channel, k - channel, bias + k);
        const int64_t at = tile * k + channel;
        pool_tile<E>(out, of_bias, k - channel, pooled + at, from + at);
    });
}

// The gradient at a tile's four outputs is g at one of them and 0 at the others. Transformed, A gradient A', it is g,
// -g or 0 at each position: no sum, so nothing is rounded. put(position, units) takes the numbers of a vector.
template <class E, class Put>
INLINE void transform_gradients(typename E::Units g, typename E::Units from, const Put &put) {
    using Units = typename E::Units;
    const auto has_bit = [&](int bit) { return -((from >> bit) & 1); };
    const Units right = has_bit(0), below = has_bit(1), none = has_bit(2);  // 1 and 3; 2 and 3; 4
    const auto along = [&](Units value, Units second, int i) {              // rows of A: 1 0, 1 1, 1 -1, 0 -1
        if (i == 0) return value & ~second;
        if (i == 1) return value;
        const Units negated = value ^ (second & E::SIGN);
        return i == 2 ? negated : second & negated;
    };
    const Units live = g & ~none;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) put(4 * i + j, along(along(live, below, i), right, j));
}

template <class E>
bool pooled_images(const Sizes &sizes, const typename E::Number *gradients, const uint8_t *from,
                   const Filters<const float> &filters, typename E::Number *out) {
    return backward_images<E>(sizes, filters, out, [&](const auto &work, int32_t *tiles, int64_t top, int64_t rows) {
        const int64_t across = sizes.across(), k = sizes.k;
        for (int64_t tile = 0; tile < rows * across; tile++)
            for (int64_t channel = 0; channel < k; channel += LANES * E::IN_WORD) {
                const int64_t at = (top * across + tile) * k + channel;
                int32_t *to = tiles + tile * work.row + channel / E::IN_WORD;
                transform_gradients<E>(
                    E::channels(gradients + at, k - channel), E::channels(from + at, k - channel),
                    [=, step = work.tile_step](int position, auto units) { store(to + position * step, units); });
            }
    });
}

// Adds the gradients of some tiles' outputs to the bias's.
template <class E>
void add_to_bias(const typename E::Number *gradients, const uint8_t *from, int64_t tiles, int64_t k, float *bias) {
    for (int64_t channel = 0; channel < k; channel += LANES) {
        Vector sum = load<Vector>(bias + channel);
        for (int64_t at = channel; at < tiles * k; at += k) {
            const auto source = load_first<BytesOfWords>(from + at, k - channel, from);
            const Words live = to_words(source) < NO_PIXEL;
            sum = sum + (Vector)((Words)E::load_wide(gradients + at, k - channel, gradients) & live);
        }
        store(bias + channel, sum);
    }
}

template <class E>
bool pooled_filters(const Sizes &sizes, const typename E::Number *gradients, const uint8_t *from,
                    const typename E::Number *images, const Filters<float> &out, float *bias) {
    const int64_t k = sizes.k, of_part = rounded_up(k, COLUMNS);
    const Scratch<float> biases(sizes.parts() * of_part);
    const auto fill = [&](const auto &work, int32_t *tiles, int64_t part, int64_t top, int64_t rows) {
        const int64_t count = rows * sizes.across(), start = top * sizes.across() * k;
        for (int64_t tile = 0; tile < count; tile += E::IN_WORD)
            for (int64_t channel = 0; channel < k; channel += LANES) {
                const int64_t at = start + tile * k + channel, left = k - channel;
                const bool has_next = tile + 1 < count;
                int32_t *to = tiles + tile / E::IN_WORD * work.columns + channel;
                transform_gradients<E>(
                    E::tiles(gradients + at, left, has_next, k), E::tiles(from + at, left, has_next, k),
                    [=, step = work.tile_step](int position, auto units) { store(to + position * step, units); });
            }
        add_to_bias<E>(gradients + start, from + start, count, k, biases + part * of_part);
    };
    if (!biases.is_there() || !backward_filters<E>(sizes, images, out, fill)) return false;
    for (int64_t part = 1; part < sizes.parts(); part++)
        for (int64_t i = 0; i < k; i++) biases[i] += biases[part * of_part + i];
    std::copy_n(static_cast<const float *>(biases), k, bias);
    return true;
}

}  // namespace

#define EXPORT(NAME, E)                                                                                               \
    extern "C" bool conv_relu_pool_##NAME(const E::Number *images, const float *filters, const int64_t *strides,      \
                                          const float *bias, E::Number *pooled, uint8_t *from, int64_t n, int64_t h,  \
                                          int64_t w, int64_t c, int64_t k, int64_t threads) {                         \
        return pooled_forward<E>({n, h, w, c, k, threads, false}, images, {filters, strides}, bias, pooled, from);    \
    }                                                                                                                 \
    extern "C" bool conv_relu_pool_images_##NAME(const E::Number *gradients, const uint8_t *from,                     \
                                                 const float *filters, const int64_t *strides, E::Number *out,        \
                                                 int64_t n, int64_t h, int64_t w, int64_t c, int64_t k,               \
                                                 int64_t threads) {                                                   \
        return pooled_images<E>({n, h, w, c, k, threads, false}, gradients, from, {filters, strides}, out);           \
    }                                                                                                                 \
    extern "C" bool conv_relu_pool_filters_##NAME(const E::Number *gradients, const uint8_t *from,                    \
                                                  const E::Number *images, float *out, const int64_t *strides,        \
                                                  float *bias, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, \
                                                  int64_t threads) {                                                  \
        return pooled_filters<E>({n, h, w, c, k, threads, false}, gradients, from, images, {out, strides}, bias);     \
    }

EXPORT(float32, Float32)
#ifdef __AVX512BF16__
EXPORT(bfloat16, BFloat16)
#endif
