// Number formats and matrix products. A word is one float32, or two bfloat16 that are multiplied and added together.
#pragma once
#include <array>
#include <new>
#include <utility>

#include "vector.hpp"

namespace {

struct Float32 {
    using Number = float;
    using Units = Words;  // the numbers of a vector of words, as integers
    using Bytes = BytesOfWords;
    static constexpr int64_t IN_WORD = 1;
    static constexpr int32_t SIGN = INT32_MIN;

    static INLINE Vector load_wide(const Number *from, int64_t count, const Number *end) {
        return (Vector)load_first<Words>(from, count, end);
    }
    static INLINE void store_narrow(Number *to, Vector value, int64_t count) { store_first(to, value, count); }
    static INLINE Words bits(Vector value) { return (Words)value; }
    static INLINE Vector add_product(Vector sum, Words a, Words b) {
        return multiply_add((Vector)a, (Vector)b, sum);
    }
    // Of a tile's gradients, and of where they came from, as many channels as a vector of words holds.
    static INLINE Units channels(const Number *from, int64_t count) { return load_first<Words>(from, count, from); }
    static INLINE Units channels(const uint8_t *from, int64_t count) {
        return to_words(load_first<Bytes>(from, count, from));
    }
    // The same of as many tiles as a word holds numbers: one.
    template <class T>
    static INLINE Units tiles(const T *from, int64_t count, bool, int64_t) { return channels(from, count); }
};

#ifdef __AVX512BF16__
struct BFloat16 {
    using Number = uint16_t;
    using Units = Halves;
    using Bytes = BytesOfHalves;
    static constexpr int64_t IN_WORD = 2;
    static constexpr int16_t SIGN = INT16_MIN;
    // Of what the language has for this, GCC makes four instructions.
    static INLINE Words words(HalfWords numbers) { return (Words)_mm512_cvtepu16_epi32((__m256i)numbers); }
    static INLINE Vector load_wide(const Number *from, int64_t count, const Number *end) {
        return (Vector)(words(load_first<HalfWords>(from, count, end)) << 16);
    }
    static INLINE HalfWords narrowed(Vector value) { return (HalfWords)_mm512_cvtneps_pbh(value); }
    static INLINE void store_narrow(Number *to, Vector value, int64_t count) {
        store_first(to, narrowed(value), count);
    }
    static INLINE Words bits(Vector value) { return words(narrowed(value)); }
    static INLINE Vector add_product(Vector sum, Words a, Words b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
    static INLINE Units channels(const Number *from, int64_t count) { return load_first<Halves>(from, count, from); }
    static INLINE Units channels(const uint8_t *from, int64_t count) {
        return __builtin_convertvector(load_first<Bytes>(from, count, from), Units);
    }
    static INLINE Words one_tile(const Number *from, int64_t count) {
        return words(load_first<HalfWords>(from, count, from));
    }
    static INLINE Words one_tile(const uint8_t *from, int64_t count) {
        return to_words(load_first<BytesOfWords>(from, count, from));
    }
    // The channels of a tile and of the next one, if there is one: those of a channel share a word.
    template <class T>
    static INLINE Units tiles(const T *from, int64_t count, bool has_next, int64_t next) {
        const Words one = one_tile(from, count);
        return (Units)(has_next ? one | one_tile(from + next, count) << 16 : one);
    }
};
#endif

// A number into the first or second half of each word; the first one first.
template <class E>
INLINE void put_half(int32_t *words, Vector numbers, int64_t half) {
    const Words bits = E::bits(numbers);
    store(words, half == 0 ? bits : load<Words>(words) | bits << 16);
}

// Memory for the time of a call, on the lines of the cache; zero. Whoever asks for it looks whether it is there: an
// exception must not leave a thread or the library.
template <class T>
class Scratch {
  public:
    explicit Scratch(int64_t count) : memory(new (std::align_val_t(64), std::nothrow) T[count]()) {}
    ~Scratch() { ::operator delete[](memory, std::align_val_t(64)); }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    bool is_there() const { return memory != nullptr; }
    operator T *() const { return memory; }

  private:
    T *memory;
};

// A matrix of words: the word of row r and column s is at words[r * row + s * column].
struct Matrix {
    const int32_t *words;
    int64_t row, column;
};

// out[R x COLUMNS] = or += a[R x depth] b[depth x COLUMNS]
template <class E, int R, bool ADD>
void multiply_rows(const Matrix &a, const Matrix &b, int64_t depth, float *out, int64_t out_row) {
    Vector sums[R][ACROSS];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < ACROSS; i++)
            sums[r][i] = ADD ? load<Vector>(out + r * out_row + i * LANES) : Vector{};
    for (int64_t s = 0; s < depth; s++) {
        Words of_b[ACROSS];
#pragma GCC unroll 4
        for (int i = 0; i < ACROSS; i++) of_b[i] = load<Words>(b.words + s * b.row + i * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const Words of_a = Words{} + a.words[r * a.row + s * a.column];
#pragma GCC unroll 4
            for (int i = 0; i < ACROSS; i++) sums[r][i] = E::add_product(sums[r][i], of_a, of_b[i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < ACROSS; i++) store(out + r * out_row + i * LANES, sums[r][i]);
}

using Part = void (*)(const Matrix &, const Matrix &, int64_t, float *, int64_t);

template <class E, bool ADD, int... R>
constexpr std::array<Part, sizeof...(R)> parts(std::integer_sequence<int, R...>) {
    return {multiply_rows<E, R + 1, ADD>...};
}

// The same for any number of rows.
template <class E, bool ADD>
void multiply(int64_t rows, const Matrix &a, const Matrix &b, int64_t depth, float *out, int64_t out_row) {
    static constexpr auto of_rows = parts<E, ADD>(std::make_integer_sequence<int, ROWS>());
    for (int64_t r = 0; r < rows; r += ROWS) {
        const int64_t count = rows - r < ROWS ? rows - r : ROWS;
        of_rows[count - 1]({a.words + r * a.row, a.row, a.column}, b, depth, out + r * out_row, out_row);
    }
}

}  // namespace
