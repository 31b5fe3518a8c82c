// Runs one kernel in a process of its own, which may be an emulated processor's. In: how many pointers and sizes the
// kernel takes, each pointer's bytes, the sizes. Out: whether it had memory, and the bytes as it left them.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

using Word = int64_t;  // a pointer or a size
#define KERNELS(ONE)                                                                                       \
    ONE(conv_relu_pool_float32, 12) ONE(conv_relu_pool_images_float32, 11)                                 \
    ONE(conv_relu_pool_filters_float32, 12) ONE(conv3x3_float32, 11) ONE(conv3x3_images_float32, 10)         \
    ONE(conv3x3_filters_float32, 10) ONE(pool_relu_float32, 8) ONE(pool_relu_bfloat16, 8)           \
    ONE(pool_relu_backward_float32, 8) ONE(pool_relu_backward_bfloat16, 8) ONE(adam_float32, 7) ONE(adam_bfloat16, 7)

#define WORDS_7 Word, Word, Word, Word, Word, Word, Word
#define WORDS_8 WORDS_7, Word
#define WORDS_10 WORDS_8, Word, Word
#define WORDS_11 WORDS_10, Word
#define WORDS_12 WORDS_11, Word
#define CALL_7 w[0], w[1], w[2], w[3], w[4], w[5], w[6]
#define CALL_8 CALL_7, w[7]
#define CALL_10 CALL_8, w[8], w[9]
#define CALL_11 CALL_10, w[10]
#define CALL_12 CALL_11, w[11]

#define DECLARE(NAME, COUNT) extern "C" bool NAME(WORDS_##COUNT);
KERNELS(DECLARE)

static Word read_word() {
    Word word = 0;
    if (std::fread(&word, sizeof word, 1, stdin) != 1) std::exit(2);
    return word;
}

int main(int, char **arguments) {
    const std::string name = arguments[1];
    const Word pointers = read_word(), sizes = read_word();
    std::vector<std::vector<char>> memory(pointers);
    std::vector<Word> w;
    for (auto &bytes : memory) {
        bytes.resize(read_word());
        if (std::fread(bytes.data(), 1, bytes.size(), stdin) != bytes.size()) return 2;
        w.push_back(reinterpret_cast<Word>(bytes.data()));
    }
    for (Word i = 0; i < sizes; i++) w.push_back(read_word());
    bool done = false;
#define RUN(NAME, COUNT) \
    if (name == #NAME && w.size() == COUNT) done = NAME(CALL_##COUNT);
    KERNELS(RUN)
    for (const auto &bytes : memory) std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    return done ? 0 : 1;
}
