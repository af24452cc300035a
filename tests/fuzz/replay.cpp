// The brief run of a fuzzer, in the build of the unit tests: every kept input, and then inputs
// derived from them, the same ones in every run. Searching for new paths is libFuzzer's business
// (README.md); this one only sees to it that what was found stays mended.
//
//   NAME_fuzz CORPUS [derived inputs]      NAME_fuzz FILE
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "input.hpp"

namespace {

using Bytes = std::vector<uint8_t>;
namespace fs = std::filesystem;

constexpr size_t kMaxBytes = 4096;

Bytes read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

std::vector<Bytes> read_corpus(const fs::path& folder) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());  // the order of the file system is not always the same
    std::vector<Bytes> corpus;
    for (const auto& path : paths) corpus.push_back(read_file(path));
    return corpus;
}

class Mutator {
  public:
    explicit Mutator(const std::vector<Bytes>& corpus) : corpus_(corpus) {}

    Bytes next() {
        Bytes bytes = any();
        for (size_t changes = 1 + below(6); changes; --changes) change(bytes);
        bytes.resize(std::min(bytes.size(), kMaxBytes));
        return bytes;
    }

  private:
    size_t below(size_t bound) { return random_() % bound; }
    const Bytes& any() { return corpus_[below(corpus_.size())]; }
    uint8_t byte() {
        constexpr uint8_t kSharp[] = {0, 1, 0x7f, 0x80, 0xff, 0x10, 0xf0};
        return below(2) ? static_cast<uint8_t>(random_()) : kSharp[below(std::size(kSharp))];
    }
    void change(Bytes& bytes) {
        const size_t at = below(bytes.size() + 1);
        const size_t span = std::min(bytes.size() - at, 1 + below(16));
        switch (below(6)) {
            case 0:  // other values
                for (size_t i = 0; i < std::min<size_t>(span, 4); ++i) bytes[at + i] = byte();
                return;
            case 1:
                if (at < bytes.size()) bytes[at] ^= static_cast<uint8_t>(1 << below(8));
                return;
            case 2:
                bytes.erase(bytes.begin() + long(at), bytes.begin() + long(at + span));
                return;
            case 3:
                for (size_t n = 1 + below(8); n; --n)
                    bytes.insert(bytes.begin() + long(at), byte());
                return;
            case 4: {  // what there was once more
                const Bytes piece(bytes.begin() + long(at), bytes.begin() + long(at + span));
                const size_t to = below(bytes.size() + 1);
                bytes.insert(bytes.begin() + long(to), piece.begin(), piece.end());
                return;
            }
            default: {  // the end of another input
                const Bytes& other = any();
                const size_t from = below(other.size() + 1);
                bytes.resize(at);
                bytes.insert(bytes.end(), other.begin() + long(from), other.end());
                return;
            }
        }
    }

    const std::vector<Bytes>& corpus_;
    std::mt19937 random_{1};
};

Bytes now_running;

/// What was running, for a sanitizer's or abort()'s last word.
void keep_input() {
    const char* path = "fuzz_find";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(now_running.data()), long(now_running.size()));
    fprintf(stderr, "the input (%zu bytes) is kept in %s\n", now_running.size(), path);
}

void run(const Bytes& bytes) {
    now_running = bytes;
    LLVMFuzzerTestOneInput(now_running.data(), now_running.size());
}

}  // namespace

extern "C" void __sanitizer_set_death_callback(void (*)());
/// The sanitizers are to take abort() for a find as well, and tell keep_input().
extern "C" const char* __asan_default_options() {
    return "handle_abort=1";
}

int main(int argc, char** argv) {
    if (argc < 2) return fprintf(stderr, "usage: %s CORPUS|FILE [count]\n", argv[0]), 2;
    __sanitizer_set_death_callback(keep_input);
    if (fs::is_regular_file(argv[1])) return run(read_file(argv[1])), 0;
    const auto corpus = read_corpus(argv[1]);
    if (corpus.empty()) return fprintf(stderr, "%s is empty\n", argv[1]), 2;
    for (const Bytes& bytes : corpus) run(bytes);
    const unsigned long derived = argc > 2 ? strtoul(argv[2], nullptr, 10) : 0;
    Mutator mutator(corpus);
    for (unsigned long i = 0; i < derived; ++i) run(mutator.next());
    printf("%zu kept inputs, %lu derived\n", corpus.size(), derived);
}
