// Forward pass and gradients of a convolution by Winograd's algorithm, from what differs between operations: how a
// tile's outputs are finished, and how the gradients of its outputs come in.
//
// For all tiles and channels, the products are a matrix product at each of the 16 positions. The gradients are the same
// in reverse. A band of tiles is taken at a time, so that all between its pixels and its outputs stays in the cache.
// Each function returns whether there was memory enough.
#pragma once
#include "winograd.hpp"

namespace {

// What a forward pass or the gradient of images has of each part: transformed tiles, and products.
template <class E>
struct Products {
    const int64_t row, tile_step, product_step;
    Scratch<int32_t> tiles;
    Scratch<float> products;

    // `summed`: the channels of a transformed tile
    Products(const Sizes &sizes, int64_t summed)
        : row(rounded_up(summed, LANES * E::IN_WORD) / E::IN_WORD),
          tile_step(apart(sizes.tiles() * row)),
          product_step(apart(sizes.tiles() * COLUMNS)),
          tiles(sizes.parts() * POSITIONS * tile_step),
          products(sizes.parts() * POSITIONS * product_step) {}
    bool have_memory() const { return tiles.is_there() && products.is_there(); }
    int32_t *tiles_of(int64_t part) const { return tiles + part * POSITIONS * tile_step; }
    float *products_of(int64_t part) const { return products + part * POSITIONS * product_step; }

    // The products of `count` tiles with the filters, for COLUMNS channels from `column` on.
    void multiply_tiles(int64_t part, int64_t count, const Transformed<E> &filters, int64_t column) const {
        for (int p = 0; p < POSITIONS; p++)
            multiply<E, false>(count, {tiles_of(part) + p * tile_step, row, 1}, filters.at(p, column), filters.depth,
                               products_of(part) + p * product_step, COLUMNS);
    }
    // A vector of channels of the tile whose place `to` is, at a position.
    INLINE void put(int32_t *to, int64_t position, int64_t channel, Vector values) const {
        E::store_narrow(reinterpret_cast<typename E::Number *>(to + position * tile_step) + channel, values, LANES);
    }
};

// finish(tile of all, channel, outputs[2][2]) takes a vector of channels at a time.
template <class E, class Finish>
bool forward(const Sizes &sizes, const typename E::Number *numbers, const Filters<const float> &filters,
             const Finish &finish) {
    const Images<E> images(numbers, sizes);
    const Transformed<E> transformed(filters, sizes, false);
    const Products<E> work(sizes, sizes.c);
    if (!transformed.has_memory() || !work.have_memory()) return false;
    sizes.bands([&](int64_t part, int64_t top, int64_t rows) {
        const int64_t across = sizes.across(), count = rows * across;
        for (int64_t r = 0; r < rows; r++) {
            int32_t *of_row = work.tiles_of(part) + r * across * work.row;
            transform_patches(images, sizes, top + r,
                              [&work, of_row, row = work.row](int64_t position, int64_t tile, int64_t channel,
                                                              Vector values) {
                                  work.put(of_row + tile * row, position, channel, values);
                              });
        }
        for (int64_t column = 0; column < sizes.k; column += COLUMNS) {
            work.multiply_tiles(part, count, transformed, column);
            for (int64_t channel = column; channel < std::min(sizes.k, column + COLUMNS); channel += LANES) {
                const float *products = work.products_of(part) + channel - column;
                for (int64_t tile = 0; tile < count; tile++) {
                    Vector outputs[2][2];
                    transform_products(products + tile * COLUMNS, work.product_step, outputs);
                    finish(top * across + tile, channel, outputs);
                }
            }
        }
    });
    return true;
}

// The gradients of the images of a band, each with a border, as patches reach over the edge.
template <class E>
struct Bordered {
    const Sizes &sizes;
    const int64_t pixel, line, size;
    Scratch<float> sums;

    explicit Bordered(const Sizes &of)
        : sizes(of),
          pixel(rounded_up(of.c, LANES)),
          line((2 * of.across() + 2) * pixel),
          size((2 * of.down() + 2) * line),
          sums(of.parts() * of.images() * size) {}
    // A band's images, or the one that a band is a part of: cleared before their first row, written after the last.
    float *image(int64_t part, int64_t row, int64_t top) const {
        return sums + (part * sizes.images() + row / sizes.down() - top / sizes.down()) * size;
    }
    void clear(int64_t part, int64_t top, int64_t rows) const {
        for (int64_t row = top; row < top + rows; row++)
            if (row % sizes.down() == 0) std::fill_n(image(part, row, top), size, 0.0f);
    }
    // Where the patches of a row of tiles begin.
    float *patches(int64_t part, int64_t row, int64_t top) const {
        return image(part, row, top) + 2 * (row % sizes.down()) * line;
    }
    void write(int64_t part, int64_t top, int64_t rows, typename E::Number *out) const {
        for (int64_t row = top; row < top + rows; row++)
            if ((row + 1) % sizes.down() == 0)
                write_image(image(part, row, top), out + row / sizes.down() * sizes.h * sizes.w * sizes.c);
    }

  private:
    void write_image(const float *from, typename E::Number *out) const {
        for (int64_t y = 0; y < sizes.h; y++)
            for (int64_t x = 0; x < sizes.w; x++)
                for (int64_t channel = 0; channel < sizes.c; channel += LANES)
                    E::store_narrow(out + (y * sizes.w + x) * sizes.c + channel,
                                    load<Vector>(from + (y + 1) * line + (x + 1) * pixel + channel),
                                    sizes.c - channel);
    }
};

// fill(work, to, first row, rows) puts the transformed gradients of a band's outputs there.
template <class E, class Fill>
bool backward_images(const Sizes &sizes, const Filters<const float> &filters, typename E::Number *out,
                     const Fill &fill) {
    const Transformed<E> transformed(filters, sizes, true);
    const Products<E> work(sizes, sizes.k);
    const Bordered<E> border(sizes);
    if (!transformed.has_memory() || !work.have_memory() || !border.sums.is_there()) return false;
    sizes.bands([&](int64_t part, int64_t top, int64_t rows) {
        const int64_t across = sizes.across(), count = rows * across;
        border.clear(part, top, rows);
        fill(work, work.tiles_of(part), top, rows);
        for (int64_t column = 0; column < sizes.c; column += COLUMNS) {
            work.multiply_tiles(part, count, transformed, column);
            for (int64_t channel = column; channel < std::min(sizes.c, column + COLUMNS); channel += LANES)
                for (int64_t r = 0; r < rows; r++) {
                    const float *products = work.products_of(part) + r * across * COLUMNS + channel - column;
                    float *sums = border.patches(part, top + r, top) + channel;
                    for (int64_t tile = 0; tile < across; tile++)
                        add_patch(products + tile * COLUMNS, work.product_step, sums + 2 * tile * border.pixel,
                                  border.line, border.pixel);
                }
        }
        border.write(part, top, rows, out);
    });
    return true;
}

// What the gradient of filters has of each part: transformed patches and gradients of a band, and sums over all bands.
template <class E>
struct Sums {
    const int64_t steps, rows, columns, patch_step, tile_step, matrix;
    Scratch<int32_t> patches, tiles;
    Scratch<float> sums;

    explicit Sums(const Sizes &sizes)
        : steps(rounded_up(sizes.tiles(), E::IN_WORD) / E::IN_WORD),
          rows(rounded_up(sizes.c, LANES)),
          columns(rounded_up(sizes.k, COLUMNS)),
          patch_step(apart(steps * rows)),
          tile_step(apart(steps * columns)),
          matrix(rows * columns),
          patches(sizes.parts() * POSITIONS * patch_step),
          tiles(sizes.parts() * POSITIONS * tile_step),
          sums(sizes.parts() * POSITIONS * matrix) {}
    bool have_memory() const { return patches.is_there() && tiles.is_there() && sums.is_there(); }
    int32_t *patches_of(int64_t part) const { return patches + part * POSITIONS * patch_step; }
    int32_t *tiles_of(int64_t part) const { return tiles + part * POSITIONS * tile_step; }

    void transform_band(const Images<E> &images, const Sizes &sizes, int64_t part, int64_t top, int64_t count) const {
        for (int64_t r = 0; r < count; r++)
            transform_patches(images, sizes, top + r,
                              [to = patches_of(part), step = patch_step, row = rows, first = r * sizes.across()](
                                  int64_t position, int64_t tile, int64_t channel, Vector values) {
                                  const int64_t index = first + tile;
                                  put_half<E>(to + position * step + index / E::IN_WORD * row + channel, values,
                                              index % E::IN_WORD);
                              });
    }
    void add_products(int64_t part, int64_t count, const Sizes &sizes) const {
        const int64_t depth = rounded_up(count, E::IN_WORD) / E::IN_WORD;
        for (int p = 0; p < POSITIONS; p++)
            for (int64_t column = 0; column < sizes.k; column += COLUMNS)
                multiply<E, true>(sizes.c, {patches_of(part) + p * patch_step, 1, rows},
                                  {tiles_of(part) + p * tile_step + column, columns, 1}, depth,
                                  sums + (part * POSITIONS + p) * matrix + column, columns);
    }
    // All parts' sums, in their order, in the first one's place; then back from Winograd's to filters.
    void write_filters(const Sizes &sizes, const Filters<float> &out) const {
        for (int64_t part = 1; part < sizes.parts(); part++)
            for (int64_t i = 0; i < POSITIONS * matrix; i++) sums[i] += sums[part * POSITIONS * matrix + i];
        for (int64_t c = 0; c < sizes.c; c++)
            for (int64_t k = 0; k < sizes.k; k += LANES) {
                Vector half[4][3], filter[3][3];
                for (int x = 0; x < 4; x++) {
                    Vector column[4];
                    for (int y = 0; y < 4; y++) column[y] = load<Vector>(sums + (4 * y + x) * matrix + c * columns + k);
                    to_filter(column, half[x]);
                }
                for (int y = 0; y < 3; y++) {
                    const Vector row[4] = {half[0][y], half[1][y], half[2][y], half[3][y]};
                    to_filter(row, filter[y]);
                }
                for (int i = 0; i < 9; i++)
                    for (int lane = 0; lane < LANES && k + lane < sizes.k; lane++)
                        *out.at(k + lane, c, i) = filter[i / 3][i % 3][lane];
            }
    }
};

// fill(work, to, part, first row, rows) puts the transformed gradients of a band's outputs there.
template <class E, class Fill>
bool backward_filters(const Sizes &sizes, const typename E::Number *numbers, const Filters<float> &out,
                      const Fill &fill) {
    const Images<E> images(numbers, sizes);
    const Sums<E> work(sizes);
    if (!work.have_memory()) return false;
    sizes.bands([&](int64_t part, int64_t top, int64_t rows) {
        work.transform_band(images, sizes, part, top, rows);
        fill(work, work.tiles_of(part), part, top, rows);
        work.add_products(part, rows * sizes.across(), sizes);
    });
    work.write_filters(sizes, out);
    return true;
}

}  // namespace
