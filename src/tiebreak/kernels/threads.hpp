// Work in PyTorch's own threads: a second set of them would wait for the same cores.
#pragma once
#include <algorithm>
#include <cstdint>

#ifdef __linux__  // where PyTorch brings GNU's OpenMP; its names are found when the library is loaded, or are null
extern "C" void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
extern "C" int omp_get_thread_num() __attribute__((weak));
#endif

// Calls work(thread, first, last) for as many parts of `count` things as there are threads, at the same time where
// that can be had. The parts depend on the number of threads alone.
template <class Work>
void in_parallel(int64_t threads, int64_t count, const Work &work) {
    struct Call {
        const Work &work;
        int64_t threads, count;
        void part(int64_t i) const { work(i, count * i / threads, count * (i + 1) / threads); }
    } call{work, std::max<int64_t>(1, std::min(threads, count)), count};
#ifdef __linux__
    if (call.threads > 1 && GOMP_parallel && omp_get_thread_num) {
        const auto part = [](void *it) { static_cast<Call *>(it)->part(omp_get_thread_num()); };
        GOMP_parallel(part, &call, unsigned(call.threads), 0);
        return;
    }
#endif
    for (int64_t i = 0; i < call.threads; i++) call.part(i);
}
