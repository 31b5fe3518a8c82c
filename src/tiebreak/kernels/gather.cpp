// Batches out of bytes; gather.py says in PyTorch's words what is computed, and the values are the same.
#include <cstdint>
#include <cstring>

namespace {

using bf16 = uint16_t;  // its bits

inline void narrow(float value, float &out) { out = value; }

inline void narrow(float value, bf16 &out) {  // to nearest, ties to even; value is no NaN
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    out = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
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
    extern "C" void gather_##NAME(const uint8_t *images, const int64_t *chosen, T *out, const float *scale,     \
                                  const float *shift, int64_t n, int64_t c, int64_t pixels, int64_t last) {     \
        gather(images, chosen, out, scale, shift, n, c, pixels, last != 0);                                     \
    }

EXPORT(float32, float)
EXPORT(bfloat16, bf16)
