// 2x2 max pooling with ReLU; pooling.py says in PyTorch's words what is computed, and the values are the same.
#include <cstdint>
#include <cstring>

#include "threads.hpp"

namespace {

// As many numbers as fit into 64 bytes with a byte for each; and one, for what is left.
typedef int16_t Many16 __attribute__((vector_size(64)));
typedef uint8_t Bytes16 __attribute__((vector_size(32)));
typedef int16_t One16 __attribute__((vector_size(2)));
typedef int32_t Many32 __attribute__((vector_size(64)));
typedef uint8_t Bytes32 __attribute__((vector_size(16)));
typedef int32_t One32 __attribute__((vector_size(4)));
typedef uint8_t Byte __attribute__((vector_size(1)));

template <class V, class T>
inline V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class V, class T>
inline void store(const V &value, T *to) {
    std::memcpy(to, &value, sizeof value);
}

// Pooling looks at the bits of a number as at an integer: among numbers above zero the order is the same, the
// sign makes the others negative, and ReLU does not ask which of those is largest. NaN is the largest.
template <class T>
constexpr T NOT_A_NUMBER = sizeof(T) == 2 ? 0x7fff : 0x7fffffff;
template <class T>
constexpr T INFINITE = sizeof(T) == 2 ? 0x7f80 : 0x7f800000;

// Some channels of one output pixel: the largest of 2x2, then ReLU. `from` keeps which of the four it was (the
// first of equals, the last NaN), or 4 where ReLU gave 0 and lets no gradient through.
template <class V, class B, class T>
inline __attribute__((always_inline)) void pool(const T *above, const T *below, T *out, uint8_t *from, int64_t c) {
    const V four[4] = {load<V>(above), load<V>(above + c), load<V>(below), load<V>(below + c)};
    V most = V{}, which = V{} + T(4);
    for (T k = 0; k < 4; k++) {
        V value = (four[k] & NOT_A_NUMBER<T>) > INFINITE<T> ? V{} + NOT_A_NUMBER<T> : four[k];
        V larger = (value > most) | (value == NOT_A_NUMBER<T>);
        most = larger ? value : most;
        which = larger ? V{} + k : which;
    }
    store(most, out);
    store(__builtin_convertvector(which, B), from);
}

template <class V, class B, class T>
inline __attribute__((always_inline)) void spread(const T *gradient, const uint8_t *from, T *above, T *below,
                                                  int64_t c) {
    const V value = load<V>(gradient), which = __builtin_convertvector(load<B>(from), V);
    store(which == T(0) ? value : V{}, above);
    store(which == T(1) ? value : V{}, above + c);
    store(which == T(2) ? value : V{}, below);
    store(which == T(3) ? value : V{}, below + c);
}

// Images are dense with the channels innermost: n x h x w x c. An odd last row or column is left out.
template <class Many, class Bytes, class One, class T>
void pool_all(const T *images, T *out, uint8_t *from, int64_t n, int64_t h, int64_t w, int64_t c) {
    constexpr int64_t LANES = sizeof(Many) / sizeof(T);
    for (int64_t row = 0; row < n * (h / 2); row++) {
        const T *above = images + (row / (h / 2) * h + row % (h / 2) * 2) * w * c, *below = above + w * c;
        for (int64_t column = 0; column < w / 2; column++, above += 2 * c, below += 2 * c, out += c, from += c) {
            int64_t i = 0;
            for (; i + LANES <= c; i += LANES) pool<Many, Bytes>(above + i, below + i, out + i, from + i, c);
            for (; i < c; i++) pool<One, Byte>(above + i, below + i, out + i, from + i, c);
        }
    }
}

template <class Many, class Bytes, class One, class T>
void spread_all(const T *gradient, const uint8_t *from, T *images, int64_t n, int64_t h, int64_t w, int64_t c) {
    constexpr int64_t LANES = sizeof(Many) / sizeof(T);
    for (int64_t row = 0; row < n * (h / 2); row++) {
        T *above = images + (row / (h / 2) * h + row % (h / 2) * 2) * w * c, *below = above + w * c;
        for (int64_t column = 0; column < w / 2; column++, above += 2 * c, below += 2 * c, gradient += c, from += c) {
            int64_t i = 0;
            for (; i + LANES <= c; i += LANES) spread<Many, Bytes>(gradient + i, from + i, above + i, below + i, c);
            for (; i < c; i++) spread<One, Byte>(gradient + i, from + i, above + i, below + i, c);
        }
    }
}

}  // namespace

// Each thread takes some of the images.
#define EXPORT(NAME, T, MANY, BYTES, ONE)                                                                       \
    extern "C" void pool_relu_##NAME(const T *images, T *out, uint8_t *from, int64_t n, int64_t h, int64_t w,   \
                                     int64_t c, int64_t threads) {                                              \
        const int64_t size = h * w * c, pooled = h / 2 * (w / 2) * c;                                           \
        in_parallel(threads, n, [=](int64_t, int64_t first, int64_t last) {                                     \
            pool_all<MANY, BYTES, ONE>(images + first * size, out + first * pooled, from + first * pooled,      \
                                       last - first, h, w, c);                                                  \
        });                                                                                                     \
    }                                                                                                           \
    extern "C" void pool_relu_backward_##NAME(const T *gradient, const uint8_t *from, T *images, int64_t n,     \
                                              int64_t h, int64_t w, int64_t c, int64_t threads) {               \
        const int64_t size = h * w * c, pooled = h / 2 * (w / 2) * c;                                           \
        in_parallel(threads, n, [=](int64_t, int64_t first, int64_t last) {                                     \
            spread_all<MANY, BYTES, ONE>(gradient + first * pooled, from + first * pooled, images + first * size, \
                                         last - first, h, w, c);                                                \
        });                                                                                                     \
    }

EXPORT(float32, int32_t, Many32, Bytes32, One32)
EXPORT(bfloat16, int16_t, Many16, Bytes16, One16)
