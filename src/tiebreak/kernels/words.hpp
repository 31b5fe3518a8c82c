// Vectors and matrices of words: a word is one float32, or two bfloat16 that are multiplied and added together.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <new>

namespace {

constexpr int64_t LANES = 16;    // words of a vector
constexpr int64_t COLUMNS = 32;  // of the part of a product that stays in registers: two vectors,
constexpr int ROWS = 8;          // and so many rows

using Vector = __m512;   // float32
using Words = __m512i;

inline int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

inline __mmask16 first_lanes(int64_t count) { return count >= LANES ? 0xffff : (1u << count) - 1; }

struct Float32 {
    using Number = float;
    static constexpr int64_t IN_WORD = 1;
    static Vector load(const Number *from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
    static void store(Number *to, Vector value, __mmask16 mask) { _mm512_mask_storeu_ps(to, mask, value); }
    static Words bits(Vector value) { return _mm512_castps_si512(value); }
    static Vector add_product(Vector sum, Words a, Words b) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
    }
    // Of a tile's gradients, and of where they came from, as many channels as a vector of words holds.
    static Words channels(const Number *from, int64_t count) {
        return _mm512_castps_si512(_mm512_maskz_loadu_ps(first_lanes(count), from));
    }
    static Words channels(const uint8_t *from, int64_t count) {
        return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), from));
    }
    // The same of as many tiles as a word holds numbers: one.
    template <class T>
    static Words tiles(const T *from, int64_t count, bool, int64_t) { return channels(from, count); }
    static constexpr uint32_t SIGN = 0x80000000, ONE = 1;
    static Words all_bits_if(Words one) { return _mm512_sub_epi32(_mm512_setzero_si512(), one); }
};

#ifdef __AVX512BF16__
struct BFloat16 {
    using Number = uint16_t;
    static constexpr int64_t IN_WORD = 2;
    static Vector load(const Number *from, __mmask16 mask) {
        const Words words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
        return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
    }
    static void store(Number *to, Vector value, __mmask16 mask) {
        _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(value));
    }
    static Words bits(Vector value) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value)); }
    static Vector add_product(Vector sum, Words a, Words b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
    static __mmask32 first_numbers(int64_t count) { return count >= 32 ? 0xffffffff : (1u << count) - 1; }
    static Words channels(const Number *from, int64_t count) {
        return _mm512_maskz_loadu_epi16(first_numbers(count), from);
    }
    static Words channels(const uint8_t *from, int64_t count) {
        return _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(first_numbers(count), from));
    }
    static Words one_tile(const Number *from, int64_t count) {
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), from));
    }
    static Words one_tile(const uint8_t *from, int64_t count) {
        return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), from));
    }
    // 16 channels of a tile and of the next one, if there is one: those of a channel share a word.
    template <class T>
    static Words tiles(const T *from, int64_t count, bool has_next, int64_t next) {
        const Words one = one_tile(from, count);
        return has_next ? _mm512_or_si512(one, _mm512_slli_epi32(one_tile(from + next, count), 16)) : one;
    }
    static constexpr uint32_t SIGN = 0x80008000, ONE = 0x00010001;
    static Words all_bits_if(Words one) { return _mm512_sub_epi16(_mm512_setzero_si512(), one); }
};
#endif

// Memory for the time of a call, on the lines of the cache; zero.
template <class T>
class Scratch {
  public:
    explicit Scratch(int64_t count) : memory(new (std::align_val_t(64)) T[count]()) {}
    ~Scratch() { ::operator delete[](memory, std::align_val_t(64)); }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    operator T *() { return memory; }

  private:
    T *memory;
};

// A matrix of words: the word of row r and column s is at words[r * row + s * column].
struct Matrix {
    const int32_t *words;
    int64_t row, column;
};

// out[R x 32] = or += a[R x depth] b[depth x 32]
template <class E, int R, bool ADD>
void multiply_rows(const Matrix &a, const Matrix &b, int64_t depth, float *out, int64_t out_row) {
    Vector left[R], right[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        left[r] = ADD ? _mm512_loadu_ps(out + r * out_row) : _mm512_setzero_ps();
        right[r] = ADD ? _mm512_loadu_ps(out + r * out_row + LANES) : _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < depth; s++) {
        const int32_t *of_b = b.words + s * b.row;
        const Words b_left = _mm512_loadu_si512(of_b), b_right = _mm512_loadu_si512(of_b + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const Words of_a = _mm512_set1_epi32(a.words[r * a.row + s * a.column]);
            left[r] = E::add_product(left[r], of_a, b_left);
            right[r] = E::add_product(right[r], of_a, b_right);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        _mm512_storeu_ps(out + r * out_row, left[r]);
        _mm512_storeu_ps(out + r * out_row + LANES, right[r]);
    }
}

// The same for any number of rows; up to seven more are read and written.
template <class E, bool ADD>
void multiply(int64_t rows, const Matrix &a, const Matrix &b, int64_t depth, float *out, int64_t out_row) {
    for (int64_t r = 0; r < rows; r += ROWS) {
        const auto part = rows - r <= ROWS / 2 ? multiply_rows<E, ROWS / 2, ADD> : multiply_rows<E, ROWS, ADD>;
        part({a.words + r * a.row, a.row, a.column}, b, depth, out + r * out_row, out_row);
    }
}

}  // namespace
