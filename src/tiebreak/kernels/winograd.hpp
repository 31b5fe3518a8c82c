// The transforms of Winograd's F(2x2, 3x3), and the sizes of a call.
//
// A tile is 2x2 outputs. They depend on a 4x4 patch of the image. Transformed, patch and filter are multiplied position
// by position, 16 products instead of the 36 of the plain sum (Lavin & Gray, arXiv:1509.09308):
//
//   outputs = A' [ sum over channels (G filter G') * (B' patch B) ] A
//
// Letters: n images of h x w pixels, c channels in, k channels out; dense, the channels innermost.
#pragma once
#include "product.hpp"
#include "threads.hpp"

namespace {

constexpr int POSITIONS = 16;
constexpr int64_t BAND = 64;  // tiles that are taken together, but whole rows of them

// Distances of a power of two would let the 16 positions of a tile compete for the same few lines of the cache.
inline int64_t apart(int64_t words) { return words + 16; }

// The sizes of one call, and what follows from them. Rows of tiles are counted through all images.
struct Sizes {
    int64_t n, h, w, c, k, threads;
    bool whole;                                          // an odd last row or column of pixels has tiles, too
    int64_t down() const { return (h + whole) / 2; }     // tiles of an image
    int64_t across() const { return (w + whole) / 2; }
    int64_t band() const {  // rows of tiles that are taken together: of an image, or whole images
        const int64_t rows = std::max<int64_t>(1, BAND / across());
        return rows < down() ? rows : rows / down() * down();
    }
    int64_t tiles() const { return band() * across(); }  // of a band, at most
    int64_t images() const { return std::max<int64_t>(1, band() / down()); }  // the same
    int64_t parts() const { return parts_of(threads, n); }

    // Calls work(part, first row, rows) for each band, the parts at the same time.
    template <class Work>
    void bands(const Work &work) const {
        in_parallel(threads, n, [&](int64_t part, int64_t first, int64_t last) {
            for (int64_t image = first; image < last; image += images()) {
                const int64_t end = std::min(image + images(), last) * down();
                for (int64_t row = image * down(); row < end; row += band())
                    work(part, row, std::min(band(), end - row));
            }
        });
    }
};

// Each is applied along both directions of a patch or tile: B', A', B, G and G'.

INLINE void of_patch(const Vector in[4], Vector out[4]) {
    out[0] = in[0] - in[2];
    out[1] = in[1] + in[2];
    out[2] = in[2] - in[1];
    out[3] = in[1] - in[3];
}

INLINE void to_outputs(const Vector in[4], Vector out[2]) {
    out[0] = in[0] + in[1] + in[2];
    out[1] = in[1] - in[2] - in[3];
}

INLINE void to_patch(const Vector in[4], Vector out[4]) {
    out[0] = in[0];
    out[1] = in[1] - in[2] + in[3];
    out[2] = in[1] + in[2] - in[0];
    out[3] = Vector{} - in[3];
}

INLINE void of_filter(const Vector in[3], Vector out[4]) {
    out[0] = in[0];
    out[1] = (in[0] + in[1] + in[2]) * 0.5f;
    out[2] = (in[0] - in[1] + in[2]) * 0.5f;
    out[3] = in[2];
}

INLINE void to_filter(const Vector in[4], Vector out[3]) {
    out[0] = in[0] + (in[1] + in[2]) * 0.5f;
    out[1] = (in[1] - in[2]) * 0.5f;
    out[2] = (in[1] + in[2]) * 0.5f + in[3];
}

// Images of which a band's patches are made.
template <class E>
struct Images {
    const typename E::Number *numbers, *end;
    Images(const typename E::Number *from, const Sizes &s) : numbers(from), end(from + s.n * s.h * s.w * s.c) {}
};

// The patches of a row of tiles. put(position, tile, channel, values) takes a vector of channels at a time.
template <class E, class Put>
INLINE void transform_patches(const Images<E> &images, const Sizes &sizes, int64_t row_of_all, const Put &put) {
    const int64_t row = row_of_all % sizes.down(), line = sizes.w * sizes.c;
    const auto *pixels = images.numbers + row_of_all / sizes.down() * sizes.h * line;
    const typename E::Number *lines[4];  // null where the patches reach over the edge
    for (int64_t i = 0, y = 2 * row - 1; i < 4; i++, y++)
        lines[i] = y >= 0 && y < sizes.h ? pixels + y * line : nullptr;
    for (int64_t channel = 0; channel < sizes.c; channel += LANES) {
        const auto column = [&](int64_t x, Vector out[4]) {
            Vector in[4];
            const bool inside = x >= 0 && x < sizes.w;
            const int64_t at = x * sizes.c + channel;
#pragma GCC unroll 4
            for (int64_t i = 0; i < 4; i++)
                in[i] = inside && lines[i] ? E::load_wide(lines[i] + at, sizes.c - channel, images.end) : Vector{};
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

// The outputs of a tile from the products at its positions, which are `step` apart.
INLINE void transform_products(const float *products, int64_t step, Vector outputs[2][2]) {
    Vector half[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        Vector in[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) in[j] = load<Vector>(products + (4 * i + j) * step);
        to_outputs(in, half[i]);
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const Vector in[4] = {half[0][j], half[1][j], half[2][j], half[3][j]};
        Vector column[2];
        to_outputs(in, column);
        outputs[0][j] = column[0];
        outputs[1][j] = column[1];
    }
}

// The products at a tile's positions, transformed and added to its patch of `sums`.
INLINE void add_patch(const float *products, int64_t step, float *sums, int64_t row, int64_t pixel) {
    Vector half[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        Vector in[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) in[j] = load<Vector>(products + (4 * i + j) * step);
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
            store(sum, load<Vector>(sum) + out[i]);
        }
    }
}

// Filters in PyTorch's order k x c x 3 x 3, laid out with any strides.
template <class T>
struct Filters {
    T *numbers;
    const int64_t *strides;
    T *at(int64_t out, int64_t in, int position) const {
        return numbers + out * strides[0] + in * strides[1] + position / 3 * strides[2] + position % 3 * strides[3];
    }
};

// Transformed filters: at each position a matrix of words from the channels that are summed over (those in; those out
// for the gradient of images) to the others, in panels as wide as a product's part and padded to them.
template <class E>
class Transformed {
  public:
    Transformed(const Filters<const float> &filters, const Sizes &sizes, bool backward)
        : depth(rounded_up(backward ? sizes.k : sizes.c, E::IN_WORD) / E::IN_WORD),
          columns(rounded_up(backward ? sizes.c : sizes.k, COLUMNS)),
          words(POSITIONS * depth * columns) {
        const int64_t summed = backward ? sizes.k : sizes.c, others = backward ? sizes.c : sizes.k;
        for (int64_t to = 0; has_memory() && to < others; to += LANES)
            for (int64_t from = 0; from < summed; from++) {
                Vector values[9]{};
                for (int i = 0; i < 9; i++)
                    for (int lane = 0; lane < LANES && to + lane < others; lane++)
                        values[i][lane] = backward ? *filters.at(from, to + lane, i) : *filters.at(to + lane, from, i);
                transform(values, from, to);
            }
    }
    // The panel from `column` on.
    Matrix at(int position, int64_t column) const { return {panel(position, column), COLUMNS, 1}; }
    bool has_memory() const { return words.is_there(); }
    const int64_t depth;

  private:
    int32_t *panel(int position, int64_t column) const { return words + (position * columns + column) * depth; }
    void transform(const Vector values[9], int64_t from, int64_t to) {
        Vector half[3][4];
        for (int x = 0; x < 3; x++) {
            const Vector column[3] = {values[x], values[3 + x], values[6 + x]};
            of_filter(column, half[x]);
        }
        for (int y = 0; y < 4; y++) {
            const Vector row[3] = {half[0][y], half[1][y], half[2][y]};
            Vector out[4];
            of_filter(row, out);
            for (int x = 0; x < 4; x++) {
                int32_t *word = panel(4 * y + x, to / COLUMNS * COLUMNS) + from / E::IN_WORD * COLUMNS + to % COLUMNS;
                put_half<E>(word, out[x], from % E::IN_WORD);
            }
        }
    }
    const int64_t columns;
    Scratch<int32_t> words;
};

}  // namespace
