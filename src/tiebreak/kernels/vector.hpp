// Vectors as wide as the processor's, by the vector types that GCC and Clang have in common: what is written with them
// is written once. What depends on the width stands here at the top.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// LANES: float32 numbers of a vector. ROWS x ACROSS vectors of a matrix product stay in registers, of which there are
// 32 with AVX-512 and NEON, else 16; one row of the right factor and a number of the left one need some, too.
#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8, ACROSS = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 6, ACROSS = 2;
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 6, ACROSS = 4;
#else
constexpr int LANES = 4, ROWS = 6, ACROSS = 2;
#endif
constexpr int64_t COLUMNS = ACROSS * LANES;
constexpr int WIDTH = 4 * LANES;  // bytes

typedef float Vector __attribute__((vector_size(WIDTH)));
typedef int32_t Words __attribute__((vector_size(WIDTH)));
typedef int16_t Halves __attribute__((vector_size(WIDTH)));         // two in the place of each word
typedef int16_t HalfWords __attribute__((vector_size(WIDTH / 2)));  // one for each word
typedef uint8_t BytesOfWords __attribute__((vector_size(LANES)));
typedef uint8_t BytesOfHalves __attribute__((vector_size(2 * LANES)));

#define INLINE inline __attribute__((always_inline))

template <class V, class T>
INLINE V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class V, class T>
INLINE void store(T *to, V value) {
    std::memcpy(to, &value, sizeof value);
}

// As much of a vector as `count` numbers fill.
template <class V, class T>
INLINE void store_first(T *to, V value, int64_t count) {
    if (count * int64_t(sizeof(T)) >= int64_t(sizeof value)) return store(to, value);
    std::memcpy(to, &value, count * sizeof(T));
}

// The first `count` of a vector of integers, then zeros. Where memory goes on up to `end` a whole vector is read, as
// reading a few numbers one by one takes several times as long.
template <class V, class T>
INLINE V load_first(const T *from, int64_t count, const T *end) {
    constexpr int64_t MANY = sizeof(V) / sizeof(T);
    if (count >= MANY) return load<V>(from);
    V value{};
    if (end - from < MANY) {
        std::memcpy(&value, from, count * sizeof(T));
        return value;
    }
    V lanes{};
    using Number = std::decay_t<decltype(lanes[0])>;
    for (int i = 0; i < MANY; i++) lanes[i] = Number(i);
    return lanes < V{} + Number(count) ? load<V>(from) : value;
}

// a * b + c, rounded once where the processor can.
INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

// Words as bytes, and back; of what the language has for this, GCC makes an instruction for each number.
INLINE BytesOfWords to_bytes(Words words) {
#if defined(__AVX512F__)
    return (BytesOfWords)_mm512_cvtepi32_epi8((__m512i)words);
#elif defined(__AVX2__)
    const __m256i wide = (__m256i)words;
    const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    const int64_t all = _mm_cvtsi128_si64(_mm_packus_epi16(halves, halves));
    return load<BytesOfWords>(&all);
#else
    return __builtin_convertvector(__builtin_convertvector(words, HalfWords), BytesOfWords);
#endif
}

INLINE Words to_words(BytesOfWords bytes) {
#if defined(__AVX512F__)
    return (Words)_mm512_cvtepu8_epi32((__m128i)bytes);
#elif defined(__AVX2__)
    int64_t all;
    store(&all, bytes);
    return (Words)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(all));
#else
    return __builtin_convertvector(__builtin_convertvector(bytes, HalfWords), Words);
#endif
}

inline int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace
