// 2x2 max pooling with ReLU; pooling.py says in PyTorch's words what is computed, and the values are the same.
#include "threads.hpp"
#include "vector.hpp"

namespace {

// A number's bits; as many of them as a vector holds, with a byte for each; some; and one, for what is left.
struct Float32 {
    using Number = int32_t;
    using Many = Words;
    using Bytes = BytesOfWords;
    typedef int32_t Few __attribute__((vector_size(16)));
    typedef int32_t One __attribute__((vector_size(4)));
    static constexpr Number NOT_A_NUMBER = 0x7fffffff, INFINITE = 0x7f800000;
};

struct BFloat16 {
    using Number = int16_t;
    using Many = Halves;
    using Bytes = BytesOfHalves;
    typedef int16_t Few __attribute__((vector_size(8)));
    typedef int16_t One __attribute__((vector_size(2)));
    static constexpr Number NOT_A_NUMBER = 0x7fff, INFINITE = 0x7f80;
};

typedef uint8_t FewBytes __attribute__((vector_size(4)));
typedef uint8_t Byte __attribute__((vector_size(1)));

template <class B, class V>
INLINE B bytes_of(V numbers) {
    if constexpr (std::is_same_v<V, Words>)
        return to_bytes(numbers);
    else
        return __builtin_convertvector(numbers, B);
}

template <class V, class B>
INLINE V of_bytes(B bytes) {
    if constexpr (std::is_same_v<V, Words>)
        return to_words(bytes);
    else
        return __builtin_convertvector(bytes, V);
}

// Some channels of one output pixel: the largest of 2x2, then ReLU. `from` keeps which of the four it was (the
// first of equals, the last NaN), or 4 where ReLU gave 0 and lets no gradient through.
//
// Bits are compared as integers: among numbers above zero the order is the same, the sign makes the others negative,
// and ReLU does not ask which of those is largest. NaN is the largest.
template <class E, class V, class B>
INLINE void pool(const typename E::Number *above, const typename E::Number *below, typename E::Number *out,
                 uint8_t *from, int64_t c) {
    using Number = typename E::Number;
    const V four[4] = {load<V>(above), load<V>(above + c), load<V>(below), load<V>(below + c)};
    V most = V{}, which = V{} + Number(4);
    for (Number k = 0; k < 4; k++) {
        const V value = (four[k] & E::NOT_A_NUMBER) > E::INFINITE ? V{} + E::NOT_A_NUMBER : four[k];
        const V larger = (value > most) | (value == E::NOT_A_NUMBER);
        most = larger ? value : most;
        which = larger ? V{} + k : which;
    }
    store(out, most);
    store(from, bytes_of<B>(which));
}

template <class E, class V, class B>
INLINE void spread(const typename E::Number *gradient, const uint8_t *from, typename E::Number *above,
                   typename E::Number *below, int64_t c) {
    using Number = typename E::Number;
    const V value = load<V>(gradient), which = of_bytes<V>(load<B>(from));
    store(above, which == Number(0) ? value : V{});
    store(above + c, which == Number(1) ? value : V{});
    store(below, which == Number(2) ? value : V{});
    store(below + c, which == Number(3) ? value : V{});
}

// Images are dense with the channels innermost: n x h x w x c. An odd last row or column is left out. Calls
// work(pixel above, output) for the upper left pixel of each window.
template <class Work>
INLINE void windows(int64_t n, int64_t h, int64_t w, int64_t c, const Work &work) {
    for (int64_t row = 0; row < n * (h / 2); row++)
        for (int64_t column = 0; column < w / 2; column++)
            work(((row / (h / 2) * h + row % (h / 2) * 2) * w + 2 * column) * c, (row * (w / 2) + column) * c);
}

template <class E>
void pool_all(const typename E::Number *images, typename E::Number *out, uint8_t *from, int64_t n, int64_t h,
              int64_t w, int64_t c) {
    constexpr int64_t MANY = sizeof(typename E::Many) / sizeof(typename E::Number);
    windows(n, h, w, c, [=](int64_t pixel, int64_t to) {
        const auto *above = images + pixel, *below = above + w * c;
        int64_t i = 0;
        for (; i + MANY <= c; i += MANY)
            pool<E, typename E::Many, typename E::Bytes>(above + i, below + i, out + to + i, from + to + i, c);
        for (; i + 4 <= c; i += 4)
            pool<E, typename E::Few, FewBytes>(above + i, below + i, out + to + i, from + to + i, c);
        for (; i < c; i++) pool<E, typename E::One, Byte>(above + i, below + i, out + to + i, from + to + i, c);
    });
}

template <class E>
void spread_all(const typename E::Number *gradient, const uint8_t *from, typename E::Number *images, int64_t n,
                int64_t h, int64_t w, int64_t c) {
    constexpr int64_t MANY = sizeof(typename E::Many) / sizeof(typename E::Number);
    windows(n, h, w, c, [=](int64_t pixel, int64_t at) {
        auto *above = images + pixel, *below = above + w * c;
        int64_t i = 0;
        for (; i + MANY <= c; i += MANY)
            spread<E, typename E::Many, typename E::Bytes>(gradient + at + i, from + at + i, above + i, below + i, c);
        for (; i + 4 <= c; i += 4)
            spread<E, typename E::Few, FewBytes>(gradient + at + i, from + at + i, above + i, below + i, c);
        for (; i < c; i++) spread<E, typename E::One, Byte>(gradient + at + i, from + at + i, above + i, below + i, c);
    });
}

}  // namespace

// Each thread takes some of the images. As of all kernels, the result is whether there was memory enough.
#define EXPORT(NAME, E)                                                                                            \
    extern "C" bool pool_relu_##NAME(const E::Number *images, E::Number *out, uint8_t *from, int64_t n, int64_t h, \
                                     int64_t w, int64_t c, int64_t threads) {                                      \
        const int64_t size = h * w * c, pooled = h / 2 * (w / 2) * c;                                              \
        in_parallel(threads, n, [=](int64_t, int64_t first, int64_t last) {                                        \
            pool_all<E>(images + first * size, out + first * pooled, from + first * pooled, last - first, h, w, c); \
        });                                                                                                        \
        return true;                                                                                               \
    }                                                                                                              \
    extern "C" bool pool_relu_backward_##NAME(const E::Number *gradient, const uint8_t *from, E::Number *images,   \
                                              int64_t n, int64_t h, int64_t w, int64_t c, int64_t threads) {       \
        const int64_t size = h * w * c, pooled = h / 2 * (w / 2) * c;                                              \
        in_parallel(threads, n, [=](int64_t, int64_t first, int64_t last) {                                        \
            spread_all<E>(gradient + first * pooled, from + first * pooled, images + first * size, last - first, h, \
                          w, c);                                                                                   \
        });                                                                                                        \
        return true;                                                                                               \
    }

EXPORT(float32, Float32)
EXPORT(bfloat16, BFloat16)
