// 3x3 convolution (stride 1, padding 1), ReLU and 2x2 max pooling as one operation, by Winograd's F(2x2, 3x3).
//
// A tile is the 2x2 outputs under one pooling window. They depend on a 4x4 patch of the image. Transformed, patch and
// filter are multiplied position by position, 16 products instead of the 36 of the plain sum (Lavin & Gray,
// arXiv:1509.09308):
//
//   outputs = A' [ sum over channels (G filter G') * (B' patch B) ] A
//
// For all tiles and channels, that is a matrix product at each of the 16 positions. The gradients are the same in
// reverse. An image is taken a band of tiles at a time, so that all between its pixels and its outputs stays in the cache.
//
// Images are dense with the channels innermost. Letters: n images of h x w pixels, c channels in, k channels out.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "threads.hpp"
#include "words.hpp"

namespace {

constexpr int POSITIONS = 16;
constexpr int64_t BAND = 64;  // tiles that are taken together, but whole rows of them
constexpr int NO_PIXEL = 4;   // an output that ReLU made 0 came from none of the four

// Distances of a power of two would let the 16 positions of a tile compete for the same few lines of the cache.
inline int64_t apart(int64_t words) { return words + LANES; }

// The sizes of one call, and what follows from them.
struct Sizes {
    int64_t n, h, w, c, k, threads;
    int64_t down() const { return h / 2; }    // tiles; an odd last row or column of pixels is under none
    int64_t across() const { return w / 2; }
    int64_t band() const { return std::max<int64_t>(1, BAND / across()); }  // rows of tiles
    int64_t first_tile(int64_t image, int64_t row) const { return (image * down() + row) * across(); }

    // Calls work(part, first image, last image) for each thread's part.
    template <class Work>
    void share(const Work &work) const { in_parallel(threads, n, work); }
    // Calls work(first row of tiles, rows) for each band of an image.
    template <class Work>
    void bands(const Work &work) const {
        for (int64_t row = 0; row < down(); row += band()) work(row, std::min(band(), down() - row));
    }
};

// ---- Transforms ----------------------------------------------------------------------------------------------------
// Each is applied along both directions of a patch or tile: B', A', B, G and G'.

inline void of_patch(const Vector in[4], Vector out[4]) {
    out[0] = in[0] - in[2];
    out[1] = in[1] + in[2];
    out[2] = in[2] - in[1];
    out[3] = in[1] - in[3];
}

inline void to_outputs(const Vector in[4], Vector out[2]) {
    out[0] = in[0] + in[1] + in[2];
    out[1] = in[1] - in[2] - in[3];
}

inline void to_patch(const Vector in[4], Vector out[4]) {
    out[0] = in[0];
    out[1] = in[1] - in[2] + in[3];
    out[2] = in[1] + in[2] - in[0];
    out[3] = _mm512_setzero_ps() - in[3];
}

inline void of_filter(const float in[3], float out[4]) {
    out[0] = in[0];
    out[1] = (in[0] + in[1] + in[2]) / 2;
    out[2] = (in[0] - in[1] + in[2]) / 2;
    out[3] = in[2];
}

inline void to_filter(const float in[4], float out[3]) {  // G'
    out[0] = in[0] + (in[1] + in[2]) / 2;
    out[1] = (in[1] - in[2]) / 2;
    out[2] = (in[1] + in[2]) / 2 + in[3];
}

// The patches of a row of tiles. put(position, tile, channel, values) takes 16 channels at a time.
template <class E, class Put>
void transform_patches(const typename E::Number *image, const Sizes &sizes, int64_t row, const Put &put) {
    for (int64_t channel = 0; channel < sizes.c; channel += LANES) {
        const __mmask16 mask = first_lanes(sizes.c - channel);
        const auto column = [&](int64_t x, Vector out[4]) {
            Vector in[4];
#pragma GCC unroll 4
            for (int64_t i = 0; i < 4; i++) {
                const int64_t y = 2 * row - 1 + i;
                const bool inside = x >= 0 && x < sizes.w && y >= 0 && y < sizes.h;
                in[i] = inside ? E::load(image + (y * sizes.w + x) * sizes.c + channel, mask) : _mm512_setzero_ps();
            }
            of_patch(in, out);
        };
        Vector columns[4][4];  // the last two of a patch are the first two of the next
        column(-1, columns[0]);
        column(0, columns[1]);
        for (int64_t tile = 0; tile < sizes.across(); tile++) {
            column(2 * tile + 1, columns[2]);
            column(2 * tile + 2, columns[3]);
#pragma GCC unroll 4
            for (int64_t i = 0; i < 4; i++) {
                const Vector in[4] = {columns[0][i], columns[1][i], columns[2][i], columns[3][i]};
                Vector out[4];
                of_patch(in, out);
#pragma GCC unroll 4
                for (int64_t j = 0; j < 4; j++) put(4 * i + j, tile, channel, out[j]);
                columns[0][i] = columns[2][i];
                columns[1][i] = columns[3][i];
            }
        }
    }
}

// The gradient at a tile's four outputs is g at one of them and 0 at the others. Transformed, A gradient A', it is g, -g
// or 0 at each position: no sum, so nothing is rounded. put(position, words) takes the numbers of a vector.
template <class E, class Put>
inline __attribute__((always_inline)) void transform_gradients(Words g, Words from, const Put &put) {
    const Words one = _mm512_set1_epi32(E::ONE), sign = _mm512_set1_epi32(E::SIGN);
    const auto has_bit = [&](int bit) {
        return E::all_bits_if(_mm512_and_si512(_mm512_srli_epi32(from, bit), one));
    };
    const Words right = has_bit(0), below = has_bit(1), none = has_bit(2);  // 1 and 3; 2 and 3; 4
    const auto along = [&](Words value, Words second, int i) {              // rows of A: 1 0, 1 1, 1 -1, 0 -1
        if (i == 0) return _mm512_andnot_si512(second, value);
        if (i == 1) return value;
        const Words negated = _mm512_xor_si512(value, _mm512_and_si512(second, sign));
        return i == 2 ? negated : _mm512_and_si512(second, negated);
    };
    const Words live = _mm512_andnot_si512(none, g);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) put(4 * i + j, along(along(live, below, i), right, j));
}

// Filters in PyTorch's order k x c x 3 x 3, laid out with any strides.
template <class T>
struct Filters {
    T *numbers;
    const int64_t *strides;
    T *at(int64_t out, int64_t in, int64_t y, int64_t x) const {
        return numbers + out * strides[0] + in * strides[1] + y * strides[2] + x * strides[3];
    }
};

// Transformed filters: at each position a matrix of words from the channels that are summed over (those in; those out
// for the gradient of images) to the others, padded to whole vectors.
template <class E>
class Transformed {
  public:
    Transformed(const Filters<const float> &filters, const Sizes &sizes, bool backward)
        : depth(rounded_up(backward ? sizes.k : sizes.c, E::IN_WORD) / E::IN_WORD),
          columns(rounded_up(backward ? sizes.c : sizes.k, COLUMNS)),
          words(POSITIONS * depth * columns) {
        for (int64_t out = 0; out < sizes.k; out++)
            for (int64_t in = 0; in < sizes.c; in++) {
                float half[4][3], whole[4];
                for (int x = 0; x < 3; x++) {
                    const float column[3] = {*filters.at(out, in, 0, x), *filters.at(out, in, 1, x),
                                             *filters.at(out, in, 2, x)};
                    float transformed[4];
                    of_filter(column, transformed);
                    for (int y = 0; y < 4; y++) half[y][x] = transformed[y];
                }
                for (int y = 0; y < 4; y++) {
                    of_filter(half[y], whole);
                    for (int x = 0; x < 4; x++) set(4 * y + x, backward ? out : in, backward ? in : out, whole[x]);
                }
            }
    }
    Matrix at(int position, int64_t column) {
        return {words + position * depth * columns + column, columns, 1};
    }
    const int64_t depth;

  private:
    void set(int position, int64_t summed, int64_t other, float value) {
        const int64_t word = (position * depth + summed / E::IN_WORD) * columns + other;
        auto *numbers = reinterpret_cast<typename E::Number *>(static_cast<int32_t *>(words));
        E::store(numbers + word * E::IN_WORD + summed % E::IN_WORD, _mm512_set1_ps(value), 1);
    }
    const int64_t columns;
    Scratch<int32_t> words;
};

// ---- Forward and backward ------------------------------------------------------------------------------------------

// 16 channels of a tile: its outputs from the products at its positions, which are `step` apart; then ReLU and pooling.
// `from` keeps which of the four pixels it was, the first of equals; NaN is the largest.
template <class E>
inline void pool_tile(const float *products, int64_t step, Vector bias, __mmask16 mask, typename E::Number *pooled,
                      uint8_t *from) {
    Vector half[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        Vector in[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) in[j] = _mm512_loadu_ps(products + (4 * i + j) * step);
        to_outputs(in, half[i]);
    }
    Vector columns[2][2];
#pragma GCC unroll 4
    for (int j = 0; j < 2; j++) {
        const Vector in[4] = {half[0][j], half[1][j], half[2][j], half[3][j]};
        to_outputs(in, columns[j]);
    }
    Vector most = _mm512_setzero_ps();
    Words which = _mm512_set1_epi32(NO_PIXEL);
#pragma GCC unroll 4
    for (int pixel = 0; pixel < 4; pixel++) {
        const Vector value = columns[pixel % 2][pixel / 2] + bias;
        const __mmask16 larger =
            _mm512_cmp_ps_mask(value, most, _CMP_GT_OQ) | _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
        most = _mm512_mask_mov_ps(most, larger, value);
        which = _mm512_mask_mov_epi32(which, larger, _mm512_set1_epi32(pixel));
    }
    E::store(pooled, most, mask);
    _mm_mask_storeu_epi8(from, mask, _mm512_cvtepi32_epi8(which));
}

template <class E>
void forward(const Sizes &sizes, const typename E::Number *images, const Filters<const float> &filters,
             const float *bias, typename E::Number *pooled, uint8_t *from) {
    using Number = typename E::Number;
    const int64_t across = sizes.across(), tiles = rounded_up(sizes.band() * across, ROWS);
    const int64_t row = rounded_up(sizes.c, LANES * E::IN_WORD) / E::IN_WORD;  // words of a tile's channels
    const int64_t patch_step = apart(tiles * row), product_step = apart(tiles * COLUMNS);
    Transformed<E> transformed(filters, sizes, false);
    sizes.share([&](int64_t, int64_t first, int64_t last) {
        Scratch<int32_t> patches(POSITIONS * patch_step);
        Scratch<float> products(POSITIONS * product_step);
        for (int64_t image = first; image < last; image++)
            sizes.bands([&](int64_t top, int64_t rows) {
                const int64_t start = sizes.first_tile(image, top);
                for (int64_t r = 0; r < rows; r++) {
                    int32_t *of_row = patches + r * across * row;
                    transform_patches<E>(
                        images + image * sizes.h * sizes.w * sizes.c, sizes, top + r,
                        [=](int64_t position, int64_t tile, int64_t channel, Vector values) {
                            int32_t *to = of_row + position * patch_step + tile * row;
                            E::store(reinterpret_cast<Number *>(to) + channel, values, 0xffff);
                        });
                }
                for (int64_t column = 0; column < sizes.k; column += COLUMNS) {
                    for (int p = 0; p < POSITIONS; p++)
                        multiply<E, false>(rows * across, {patches + p * patch_step, row, 1},
                                           transformed.at(p, column), transformed.depth,
                                           products + p * product_step, COLUMNS);
                    for (int64_t channel = column; channel < std::min(sizes.k, column + COLUMNS); channel += LANES) {
                        const __mmask16 mask = first_lanes(sizes.k - channel);
                        const Vector of_bias = _mm512_maskz_loadu_ps(mask, bias + channel);
                        for (int64_t tile = 0; tile < rows * across; tile++) {
                            const int64_t at = (start + tile) * sizes.k + channel;
                            pool_tile<E>(products + tile * COLUMNS + channel - column, product_step, of_bias, mask,
                                         pooled + at, from + at);
                        }
                    }
                }
            });
    });
}

// 16 channels of a tile: the products at its positions, transformed and added to its patch of `sums`.
inline void add_patch(const float *products, int64_t step, float *sums, int64_t row, int64_t pixel) {
    Vector half[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        Vector in[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) in[j] = _mm512_loadu_ps(products + (4 * i + j) * step);
        to_patch(in, half[i]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const Vector in[4] = {half[0][j], half[1][j], half[2][j], half[3][j]};
        Vector out[4];
        to_patch(in, out);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            float *sum = sums + i * row + j * pixel;
            _mm512_storeu_ps(sum, _mm512_loadu_ps(sum) + out[i]);
        }
    }
}

template <class E>
void backward_images(const Sizes &sizes, const typename E::Number *gradients, const uint8_t *from,
                     const Filters<const float> &filters, typename E::Number *out) {
    const int64_t across = sizes.across(), tiles = rounded_up(sizes.band() * across, ROWS);
    const int64_t row = rounded_up(sizes.k, LANES * E::IN_WORD) / E::IN_WORD;  // words of a tile's channels
    const int64_t tile_step = apart(tiles * row), product_step = apart(tiles * COLUMNS);
    // An image's gradient with a border, as patches reach over the edge.
    const int64_t pixel = rounded_up(sizes.c, LANES), line = (sizes.w + 2) * pixel, size = (sizes.h + 2) * line;
    Transformed<E> transformed(filters, sizes, true);
    sizes.share([&](int64_t, int64_t first, int64_t last) {
        Scratch<int32_t> transformed_gradients(POSITIONS * tile_step);
        Scratch<float> products(POSITIONS * product_step), sums(size);
        for (int64_t image = first; image < last; image++) {
            std::fill_n(static_cast<float *>(sums), size, 0.0f);
            sizes.bands([&](int64_t top, int64_t rows) {
                for (int64_t tile = 0; tile < rows * across; tile++)
                    for (int64_t channel = 0; channel < sizes.k; channel += LANES * E::IN_WORD) {
                        const int64_t at = (sizes.first_tile(image, top) + tile) * sizes.k + channel;
                        int32_t *to = transformed_gradients + tile * row + channel / E::IN_WORD;
                        transform_gradients<E>(
                            E::channels(gradients + at, sizes.k - channel), E::channels(from + at, sizes.k - channel),
                            [&](int position, Words words) { _mm512_storeu_si512(to + position * tile_step, words); });
                    }
                for (int64_t column = 0; column < sizes.c; column += COLUMNS) {
                    for (int p = 0; p < POSITIONS; p++)
                        multiply<E, false>(rows * across, {transformed_gradients + p * tile_step, row, 1},
                                           transformed.at(p, column), transformed.depth,
                                           products + p * product_step, COLUMNS);
                    for (int64_t channel = column; channel < std::min(sizes.c, column + COLUMNS); channel += LANES)
                        for (int64_t tile = 0; tile < rows * across; tile++)
                            add_patch(products + tile * COLUMNS + channel - column, product_step,
                                      sums + 2 * (top + tile / across) * line + 2 * (tile % across) * pixel + channel,
                                      line, pixel);
                }
            });
            for (int64_t y = 0; y < sizes.h; y++)
                for (int64_t x = 0; x < sizes.w; x++)
                    for (int64_t channel = 0; channel < sizes.c; channel += LANES)
                        E::store(out + ((image * sizes.h + y) * sizes.w + x) * sizes.c + channel,
                                 _mm512_loadu_ps(sums + (y + 1) * line + (x + 1) * pixel + channel),
                                 first_lanes(sizes.c - channel));
        }
    });
}

// Adds the gradients of some tiles' outputs to the bias's.
template <class E>
void add_to_bias(const typename E::Number *gradients, const uint8_t *from, int64_t tiles, int64_t k, float *bias) {
    for (int64_t channel = 0; channel < k; channel += LANES) {
        const __mmask16 mask = first_lanes(k - channel);
        Vector sum = _mm512_loadu_ps(bias + channel);
        for (int64_t at = channel; at < tiles * k; at += k) {
            const __m128i source = _mm_maskz_loadu_epi8(mask, from + at);
            const __mmask16 live = _mm_mask_cmplt_epu8_mask(mask, source, _mm_set1_epi8(NO_PIXEL));
            sum = sum + E::load(gradients + at, live);
        }
        _mm512_storeu_ps(bias + channel, sum);
    }
}

template <class E>
void backward_filters(const Sizes &sizes, const typename E::Number *gradients, const uint8_t *from,
                      const typename E::Number *images, const Filters<float> &out, float *bias) {
    const int64_t across = sizes.across(), steps = rounded_up(sizes.band() * across, E::IN_WORD) / E::IN_WORD;
    const int64_t rows_in = rounded_up(sizes.c, LANES), columns = rounded_up(sizes.k, COLUMNS);
    const int64_t patch_step = apart(steps * rows_in), tile_step = apart(steps * columns);
    const int64_t matrix = rows_in * columns, size = POSITIONS * matrix;
    const int64_t parts = parts_of(sizes.threads, sizes.n);
    Scratch<float> sums(parts * size), biases(parts * columns);
    sizes.share([&](int64_t part, int64_t first, int64_t last) {
        Scratch<int32_t> patches(POSITIONS * patch_step), transformed_gradients(POSITIONS * tile_step);
        for (int64_t image = first; image < last; image++)
            sizes.bands([&](int64_t top, int64_t rows) {
                const int64_t tiles = rows * across, start = sizes.first_tile(image, top) * sizes.k;
                for (int64_t r = 0; r < rows; r++)
                    transform_patches<E>(
                        images + image * sizes.h * sizes.w * sizes.c, sizes, top + r,
                        [&](int64_t position, int64_t tile, int64_t channel, Vector values) {
                            const int64_t index = r * across + tile, half = index % E::IN_WORD;
                            int32_t *to = patches + position * patch_step + index / E::IN_WORD * rows_in + channel;
                            const Words words = E::bits(values);
                            _mm512_storeu_si512(to, half == 0 ? words
                                                              : _mm512_or_si512(_mm512_loadu_si512(to),
                                                                                _mm512_slli_epi32(words, 16)));
                        });
                for (int64_t tile = 0; tile < tiles; tile += E::IN_WORD)
                    for (int64_t channel = 0; channel < sizes.k; channel += LANES) {
                        const int64_t at = start + tile * sizes.k + channel, count = sizes.k - channel;
                        const bool has_next = tile + 1 < tiles;
                        int32_t *to = transformed_gradients + tile / E::IN_WORD * columns + channel;
                        transform_gradients<E>(
                            E::tiles(gradients + at, count, has_next, sizes.k),
                            E::tiles(from + at, count, has_next, sizes.k),
                            [&](int position, Words words) { _mm512_storeu_si512(to + position * tile_step, words); });
                    }
                const int64_t depth = rounded_up(tiles, E::IN_WORD) / E::IN_WORD;
                for (int p = 0; p < POSITIONS; p++)
                    for (int64_t column = 0; column < sizes.k; column += COLUMNS)
                        multiply<E, true>(sizes.c, {patches + p * patch_step, 1, rows_in},
                                          {transformed_gradients + p * tile_step + column, columns, 1}, depth,
                                          sums + part * size + p * matrix + column, columns);
                add_to_bias<E>(gradients + start, from + start, tiles, sizes.k, biases + part * columns);
            });
    });
    for (int64_t part = 1; part < parts; part++) {
        for (int64_t i = 0; i < size; i++) sums[i] += sums[part * size + i];
        for (int64_t i = 0; i < columns; i++) biases[i] += biases[part * columns + i];
    }
    std::copy_n(static_cast<float *>(biases), sizes.k, bias);
    for (int64_t k = 0; k < sizes.k; k++)
        for (int64_t c = 0; c < sizes.c; c++) {
            float half[3][4], whole[3];
            for (int x = 0; x < 4; x++) {
                float column[4], filter[3];
                for (int y = 0; y < 4; y++) column[y] = sums[(4 * y + x) * matrix + c * columns + k];
                to_filter(column, filter);
                for (int y = 0; y < 3; y++) half[y][x] = filter[y];
            }
            for (int y = 0; y < 3; y++) {
                to_filter(half[y], whole);
                for (int x = 0; x < 3; x++) *out.at(k, c, y, x) = whole[x];
            }
        }
}

}  // namespace

#define EXPORT(NAME, E)                                                                                               \
    extern "C" void conv_relu_pool_##NAME(const E::Number *images, const float *filters, const int64_t *strides,      \
                                          const float *bias, E::Number *pooled, uint8_t *from, int64_t n, int64_t h,  \
                                          int64_t w, int64_t c, int64_t k, int64_t threads) {                         \
        forward<E>({n, h, w, c, k, threads}, images, {filters, strides}, bias, pooled, from);                         \
    }                                                                                                                 \
    extern "C" void conv_relu_pool_images_##NAME(const E::Number *gradients, const uint8_t *from,                     \
                                                 const float *filters, const int64_t *strides, E::Number *out,        \
                                                 int64_t n, int64_t h, int64_t w, int64_t c, int64_t k,               \
                                                 int64_t threads) {                                                   \
        backward_images<E>({n, h, w, c, k, threads}, gradients, from, {filters, strides}, out);                       \
    }                                                                                                                 \
    extern "C" void conv_relu_pool_filters_##NAME(const E::Number *gradients, const uint8_t *from,                    \
                                                  const E::Number *images, float *out, const int64_t *strides,        \
                                                  float *bias, int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, \
                                                  int64_t threads) {                                                  \
        backward_filters<E>({n, h, w, c, k, threads}, gradients, from, images, {out, strides}, bias);                 \
    }

EXPORT(float32, Float32)
#ifdef __AVX512BF16__
EXPORT(bfloat16, BFloat16)
#endif
#endif  // processors without these instructions: nothing here, and PyTorch computes
