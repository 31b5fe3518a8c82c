// The few inner loops that PyTorch has no fast form of. kernels.py compiles and calls them, and says what each
// computes in PyTorch's words; the values are the same, so that everything works without this file too.
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t LANES = 32;  // channels at a time: a number the compiler knows, so that it uses vectors

using bf16 = uint16_t;  // its bits

inline float widen(float value) { return value; }

inline float widen(bf16 value) {
    uint32_t bits = uint32_t(value) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline void narrow(float value, float &out) { out = value; }

inline void narrow(float value, bf16 &out) {  // to nearest, ties to even; value is no NaN
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    out = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// One output pixel's channels: the largest of 2x2, then ReLU. `from` keeps which of the four it was (the first
// of equals, the last NaN), or 4 where ReLU gave 0 and lets no gradient through.
template <class T>
inline __attribute__((always_inline)) void pool(const T *above, const T *below, T *__restrict out,
                                                uint8_t *__restrict from, int64_t c, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const T four[4] = {above[i], above[c + i], below[i], below[c + i]};
        T best = four[0];
        float most = widen(best);
        uint8_t which = 0;
        for (uint8_t k = 1; k < 4; k++) {
            float value = widen(four[k]);
            bool larger = (value > most) | (value != value);
            most = larger ? value : most;
            best = larger ? four[k] : best;
            which = larger ? k : which;
        }
        bool silent = most <= 0;
        out[i] = silent ? T(0) : best;
        from[i] = silent ? 4 : which;
    }
}

template <class T>
inline __attribute__((always_inline)) void spread(const T *__restrict gradient, const uint8_t *__restrict from,
                                                  T *__restrict above, T *__restrict below, int64_t c,
                                                  int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        T value = gradient[i];
        uint8_t which = from[i];
        above[i] = which == 0 ? value : T(0);
        above[c + i] = which == 1 ? value : T(0);
        below[i] = which == 2 ? value : T(0);
        below[c + i] = which == 3 ? value : T(0);
    }
}

// Images are dense with the channels innermost: n x h x w x c. An odd last row or column is left out.
template <class T>
void pool_all(const T *images, T *out, uint8_t *from, int64_t n, int64_t h, int64_t w, int64_t c) {
    for (int64_t row = 0; row < n * (h / 2); row++) {
        const T *above = images + (row / (h / 2) * h + row % (h / 2) * 2) * w * c;
        for (int64_t column = 0; column < w / 2; column++, above += 2 * c, out += c, from += c) {
            int64_t i = 0;
            for (; i + LANES <= c; i += LANES) pool(above + i, above + w * c + i, out + i, from + i, c, LANES);
            pool(above + i, above + w * c + i, out + i, from + i, c, c - i);
        }
    }
}

template <class T>
void spread_all(const T *gradient, const uint8_t *from, T *images, int64_t n, int64_t h, int64_t w, int64_t c) {
    for (int64_t row = 0; row < n * (h / 2); row++) {
        T *above = images + (row / (h / 2) * h + row % (h / 2) * 2) * w * c;
        for (int64_t column = 0; column < w / 2; column++, above += 2 * c, gradient += c, from += c) {
            int64_t i = 0;
            for (; i + LANES <= c; i += LANES)
                spread(gradient + i, from + i, above + i, above + w * c + i, c, LANES);
            spread(gradient + i, from + i, above + i, above + w * c + i, c, c - i);
        }
    }
}

// Chosen images (each c x pixels bytes) as byte * scale + shift, rounded twice as PyTorch does; the value of
// (channel, pixel) goes to channel * channel_step + pixel * pixel_step of its image.
template <class T>
void gather(const uint8_t *images, const int64_t *chosen, T *out, const float *scale, const float *shift, int64_t n,
            int64_t c, int64_t pixels, bool channels_last) {
    const int64_t size = c * pixels;
    for (int64_t image = 0; image < n; image++, out += size) {
        const uint8_t *bytes = images + chosen[image] * size;
        if (channels_last && c == 3) {  // the common case, with constant steps
            for (int64_t i = 0; i < pixels; i++)
                for (int64_t k = 0; k < 3; k++) narrow(bytes[k * pixels + i] * scale[k] + shift[k], out[i * 3 + k]);
        } else if (channels_last) {
            for (int64_t i = 0; i < pixels; i++)
                for (int64_t k = 0; k < c; k++) narrow(bytes[k * pixels + i] * scale[k] + shift[k], out[i * c + k]);
        } else {
            for (int64_t k = 0; k < c; k++)
                for (int64_t i = 0; i < pixels; i++)
                    narrow(bytes[k * pixels + i] * scale[k] + shift[k], out[k * pixels + i]);
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                         \
    extern "C" void pool_relu_##NAME(const T *images, T *out, uint8_t *from, int64_t n, int64_t h, int64_t w,  \
                                     int64_t c) {                                                              \
        pool_all(images, out, from, n, h, w, c);                                                               \
    }                                                                                                          \
    extern "C" void pool_relu_backward_##NAME(const T *gradient, const uint8_t *from, T *images, int64_t n,    \
                                              int64_t h, int64_t w, int64_t c) {                               \
        spread_all(gradient, from, images, n, h, w, c);                                                        \
    }                                                                                                          \
    extern "C" void gather_##NAME(const uint8_t *images, const int64_t *chosen, T *out, const float *scale,    \
                                  const float *shift, int64_t n, int64_t c, int64_t pixels, int64_t last) {    \
        gather(images, chosen, out, scale, shift, n, c, pixels, last != 0);                                    \
    }

EXPORT(float32, float)
EXPORT(bfloat16, bf16)
