// An element of an array of the guest's that is read, worked on, and answered in place: its address
// is checked once for both. For the batches that hot paths work through; others use guest_ptr.hpp.
#pragma once

#include "hv/hypercall/guest_ptr.hpp"

namespace hv {

template <class T>
class GuestElement {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    GuestElement(GuestAddress array, uint64_t index) : linear_(array.at(index, sizeof(T))) {}

    /// Reads it; false if it cannot be, and then nothing else may be asked.
    [[gnu::always_inline]] bool fetch(T& into) {
#ifdef XENOLITH_HOST
        return arch::copy_from_guest(&into, linear_, sizeof(T)).ok();
#else
        if (!cpu::confine_to_guest<sizeof(T)>(linear_)) [[unlikely]]
            return false;
        return copy_words<0, sizeof(T)>([&]<class Word>(size_t offset) {
            return cpu::fetch_word<Word>(reinterpret_cast<char*>(&into) + offset, linear_ + offset);
        });
#endif
    }
    /// Writes back bytes [kFrom, kTo) of what was fetched; false if that cannot be.
    template <size_t kFrom, size_t kTo>
    [[gnu::always_inline]] bool store(const T& from) const {
        static_assert(kFrom < kTo && kTo <= sizeof(T));
        const auto* bytes = reinterpret_cast<const char*>(&from);
#ifdef XENOLITH_HOST
        return arch::copy_to_guest(linear_ + kFrom, bytes + kFrom, kTo - kFrom).ok();
#else
        return copy_words<kFrom, kTo>([&]<class Word>(size_t offset) {
            return cpu::store_word<Word>(linear_ + offset, bytes + offset);
        });
#endif
    }
    /// The same for the member at kAt alone, whose new value need not be in what was fetched.
    template <size_t kAt, class Member>
    [[gnu::always_inline]] bool store_member(Member value) const {
        static_assert(kAt + sizeof(Member) <= sizeof(T));
#ifdef XENOLITH_HOST
        return arch::copy_to_guest(linear_ + kAt, &value, sizeof(Member)).ok();
#else
        return copy_words<0, sizeof(Member)>([&]<class Word>(size_t) {
            static_assert(sizeof(Word) == sizeof(Member));
            return cpu::store_word<Word>(linear_ + kAt, &value);
        });
#endif
    }

  private:
#ifndef XENOLITH_HOST
    template <size_t kFrom, size_t kTo, class Step>
    [[gnu::always_inline]] static bool copy_words(Step step) {
        cpu::allow_user_access();
        const bool copied = cpu::for_each_word<kTo, kFrom>(step);
        cpu::forbid_user_access();
        return copied;
    }
#endif

    uint64_t linear_;  ///< from fetch() on: the guest's for sure, also under speculation
};

}  // namespace hv
