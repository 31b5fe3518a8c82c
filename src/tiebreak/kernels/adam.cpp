// One update by Adam in one pass over memory; adam.py says in PyTorch's words what is computed, and the values are the
// same. Only where the processor rounds a product and a sum in one: elsewhere that takes a function call a number.
#if defined(__FMA__) || defined(__aarch64__)
#include <cmath>
#include <cstdint>
#include <cstring>

#include "threads.hpp"

namespace {

using bf16 = uint16_t;  // its bits

constexpr int64_t SHARED = 10000;  // fewer numbers than this are not worth waking another thread

inline float widened(float value) { return value; }

inline float widened(bf16 value) {
    const uint32_t bits = uint32_t(value) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

struct Settings {
    float beta1_rest, beta2, beta2_rest, eps, step_size, root_of_correction, decay, kept;
};

// The products that are added to are rounded where PyTorch's own loop rounds them.
template <class G, bool DECAY>
void update(float *parameter, const G *gradient, float *average, float *square, int64_t first, int64_t last,
            const Settings &s) {
    for (int64_t i = first; i < last; i++) {
        float g = widened(gradient[i]);
        if (DECAY) g = std::fma(parameter[i], s.decay, g);
        const float m = std::fma(s.beta1_rest, g - average[i], average[i]);
        const float v = std::fma(s.beta2_rest * g, g, square[i] * s.beta2);
        parameter[i] = parameter[i] * s.kept - s.step_size * m / (std::sqrt(v) / s.root_of_correction + s.eps);
        average[i] = m;
        square[i] = v;
    }
}

template <class G>
void update_all(float *parameter, const G *gradient, float *average, float *square, int64_t count,
                const Settings &settings, int64_t threads) {
    const auto part = settings.decay != 0 ? update<G, true> : update<G, false>;
    in_parallel(count < SHARED ? 1 : threads, count, [&](int64_t, int64_t first, int64_t last) {
        part(parameter, gradient, average, square, first, last, settings);
    });
}

}  // namespace

#define EXPORT(NAME, G)                                                                            \
    extern "C" bool adam_##NAME(float *parameter, const G *gradient, float *average, float *square, \
                                const Settings *settings, int64_t count, int64_t threads) {        \
        update_all(parameter, gradient, average, square, count, *settings, threads);               \
        return true;                                                                               \
    }

EXPORT(float32, float)
EXPORT(bfloat16, bf16)
#endif
