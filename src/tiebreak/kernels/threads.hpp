// Work in PyTorch's own threads: a second set of them would wait for the same cores.
#pragma once
#include <algorithm>
#include <cstdint>

#ifdef __linux__  // where PyTorch brings GNU's OpenMP; its names are found when the library is loaded, or are null
extern "C" void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
extern "C" int omp_get_thread_num() __attribute__((weak));
extern "C" int omp_get_num_threads() __attribute__((weak));
#endif

// How many parts `count` things are dealt into.
inline int64_t parts_of(int64_t threads, int64_t count) { return std::max<int64_t>(1, std::min(threads, count)); }

// Calls work(part, first, last) for each of `parts_of` the things, at the same time where that can be had. The parts
// depend on the number of threads asked for, not on how many there are.
template <class Work>
void in_parallel(int64_t threads, int64_t count, const Work &work) {
    struct Call {
        const Work &work;
        int64_t parts, count;
        void part(int64_t i) const { work(i, count * i / parts, count * (i + 1) / parts); }
    } call{work, parts_of(threads, count), count};
#ifdef __linux__
    if (call.parts > 1 && GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
        const auto some = [](void *it) {
            const Call &all = *static_cast<Call *>(it);
            // OpenMP may give fewer threads than were asked for.
            for (int64_t i = omp_get_thread_num(); i < all.parts; i += omp_get_num_threads()) all.part(i);
        };
        GOMP_parallel(some, &call, unsigned(call.parts), 0);
        return;
    }
#endif
    for (int64_t i = 0; i < call.parts; i++) call.part(i);
}
