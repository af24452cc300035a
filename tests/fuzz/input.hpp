// The fuzzer's bytes as what a harness wants of them: numbers, choices, pieces. Behind the end
// everything is zero, so any bytes are a valid input and a shorter one is a simpler one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace fuzz {

class Input {
  public:
    Input(const uint8_t* data, size_t size) : left_(data, size) {}

    bool done() const { return left_.empty(); }
    template <class T>
    T take() {
        T value{};
        const size_t n = std::min(sizeof value, left_.size());
        memcpy(&value, left_.data(), n);
        left_ = left_.subspan(n);
        return value;
    }
    uint8_t byte() { return take<uint8_t>(); }
    /// Below `bound`, which is at least 1.
    uint32_t below(uint32_t bound) { return take<uint16_t>() % bound; }
    /// One of them.
    template <class T, size_t N>
    T one_of(const T (&list)[N]) {
        return list[byte() % N];
    }
    std::span<const uint8_t> bytes(size_t most) {
        const auto piece = left_.first(std::min(most, left_.size()));
        left_ = left_.subspan(piece.size());
        return piece;
    }
    std::span<const uint8_t> rest() { return bytes(left_.size()); }

  private:
    std::span<const uint8_t> left_;
};

/// A broken invariant: both engines take it for a find.
#define FUZZ_CHECK(condition)                                                              \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

}  // namespace fuzz

/// Runs one input. Both engines call it: libFuzzer, and replay.cpp.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
