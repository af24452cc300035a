// A fixed set of small integers. Not atomic; see AtomicBitmap for sets that CPUs share.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace base {

template <size_t N>
class Bitmap {
  public:
    static constexpr size_t kWords = (N + 63) / 64;
    static constexpr size_t kNone = N;  ///< what first() and next() say when there is no member

    constexpr bool test(size_t i) const { return (words_[i / 64] >> (i % 64)) & 1; }
    constexpr void set(size_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
    constexpr void clear(size_t i) { words_[i / 64] &= ~(uint64_t{1} << (i % 64)); }
    constexpr void assign(size_t i, bool on) { on ? set(i) : clear(i); }
    constexpr void reset() { *this = Bitmap{}; }

    static constexpr Bitmap single(size_t i) {
        Bitmap b;
        b.set(i);
        return b;
    }
    static constexpr Bitmap first_n(size_t n) {
        Bitmap b;
        for (size_t i = 0; i < n; ++i) b.set(i);
        return b;
    }
    static constexpr Bitmap all() { return first_n(N); }

    constexpr bool empty() const {
        for (auto w : words_)
            if (w) return false;
        return true;
    }
    constexpr size_t count() const {
        size_t n = 0;
        for (auto w : words_) n += static_cast<size_t>(std::popcount(w));
        return n;
    }
    /// The smallest member not below `from`, or kNone.
    constexpr size_t next(size_t from) const {
        for (size_t w = from / 64; w < kWords; ++w) {
            uint64_t bits = words_[w];
            if (w == from / 64) bits &= ~uint64_t{0} << (from % 64);
            if (bits) {
                size_t i = w * 64 + static_cast<size_t>(std::countr_zero(bits));
                return i < N ? i : kNone;
            }
        }
        return kNone;
    }
    constexpr size_t first() const { return next(0); }

    template <class Fn>
    constexpr void for_each(Fn fn) const {
        for (size_t i = first(); i != kNone; i = next(i + 1)) fn(i);
    }

    constexpr Bitmap& operator&=(const Bitmap& o) {
        for (size_t w = 0; w < kWords; ++w) words_[w] &= o.words_[w];
        return *this;
    }
    constexpr Bitmap& operator|=(const Bitmap& o) {
        for (size_t w = 0; w < kWords; ++w) words_[w] |= o.words_[w];
        return *this;
    }
    constexpr Bitmap without(const Bitmap& o) const {
        Bitmap b = *this;
        for (size_t w = 0; w < kWords; ++w) b.words_[w] &= ~o.words_[w];
        return b;
    }
    friend constexpr Bitmap operator&(Bitmap a, const Bitmap& b) { return a &= b; }
    friend constexpr Bitmap operator|(Bitmap a, const Bitmap& b) { return a |= b; }
    friend constexpr bool operator==(const Bitmap&, const Bitmap&) = default;

    constexpr uint64_t word(size_t w) const { return words_[w]; }
    constexpr void set_word(size_t w, uint64_t bits) { words_[w] = bits; }

  private:
    uint64_t words_[kWords] = {};
};

/// A set that several CPUs change at once; each operation is one atomic step on its word.
template <size_t N>
class AtomicBitmap {
  public:
    bool test(size_t i) const { return (word(i).load(std::memory_order_acquire) >> (i % 64)) & 1; }
    /// Adds `i`; true if it was a member already.
    bool test_and_set(size_t i) { return word(i).fetch_or(bit(i)) & bit(i); }
    /// Removes `i`; true if it was a member.
    bool test_and_clear(size_t i) { return word(i).fetch_and(~bit(i)) & bit(i); }
    void set(size_t i) { word(i).fetch_or(bit(i)); }
    void clear(size_t i) { word(i).fetch_and(~bit(i)); }

    bool empty() const {
        for (auto& w : words_)
            if (w.load()) return false;
        return true;
    }
    Bitmap<N> snapshot() const {
        Bitmap<N> b;
        for (size_t w = 0; w < Bitmap<N>::kWords; ++w) b.set_word(w, words_[w].load());
        return b;
    }

  private:
    static constexpr uint64_t bit(size_t i) { return uint64_t{1} << (i % 64); }
    std::atomic<uint64_t>& word(size_t i) { return words_[i / 64]; }
    const std::atomic<uint64_t>& word(size_t i) const { return words_[i / 64]; }

    std::atomic<uint64_t> words_[Bitmap<N>::kWords] = {};
};

}  // namespace base
