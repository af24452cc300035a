// Typed pointers into the calling guest. A value is copied in once, checked, then used; copying
// the wrong way does not compile.
#pragma once

#include <span>
#include <type_traits>

#include "arch/guest_memory.hpp"

namespace hv {

/// An address that a guest handed over, from a register or from a XEN_GUEST_HANDLE.
class GuestAddress {
  public:
    constexpr GuestAddress() = default;
    constexpr explicit GuestAddress(uint64_t linear) : linear_(linear) {}
    template <class Handle>
    requires requires(const Handle& h) { h.p; }
    explicit GuestAddress(const Handle& handle) : linear_(reinterpret_cast<uint64_t>(handle.p)) {}

    constexpr bool is_null() const { return linear_ == 0; }
    constexpr uint64_t raw() const { return linear_; }
    /// The address of element `index` of an array of elements of `size` bytes; wraps into an
    /// address that faults rather than into somebody else's data.
    constexpr uint64_t at(uint64_t index, size_t size) const {
        uint64_t offset;
        uint64_t sum;
        if (__builtin_mul_overflow(index, size, &offset) ||
            __builtin_add_overflow(linear_, offset, &sum))
            return ~uint64_t{0};
        return sum;
    }

  private:
    uint64_t linear_ = 0;
};

template <class T>
class GuestIn : public GuestAddress {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    using GuestAddress::GuestAddress;

    /// One element; kEFAULT if the guest cannot read it.
    Result<T> load(uint64_t index = 0) const {
        T value;
        TRY(arch::fetch_from_guest<sizeof(T)>(&value, at(index, sizeof(T))));
        return value;
    }
    /// The same to where it is wanted, for paths where a second copy counts.
    Result<> fetch(T& into, uint64_t index = 0) const {
        return arch::fetch_from_guest<sizeof(T)>(&into, at(index, sizeof(T)));
    }
    Result<> load_many(std::span<T> into, uint64_t first = 0) const {
        return arch::copy_from_guest(into.data(), at(first, sizeof(T)), into.size_bytes());
    }
};

template <class T>
class GuestOut : public GuestAddress {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    using GuestAddress::GuestAddress;

    Result<> store(const T& value, uint64_t index = 0) const {
        return arch::store_to_guest<sizeof(T)>(at(index, sizeof(T)), &value);
    }
    Result<> store_many(std::span<const T> from, uint64_t first = 0) const {
        return arch::copy_to_guest(at(first, sizeof(T)), from.data(), from.size_bytes());
    }
};

/// A structure that is read, changed and written back (most operations' argument).
template <class T>
class GuestInOut : public GuestIn<T> {
  public:
    using GuestIn<T>::GuestIn;

    Result<> store(const T& value, uint64_t index = 0) const { return out().store(value, index); }
    /// Writes back one member only: `arg.store_field(value, &T::member)`.
    template <class M, class C = T>
    requires std::is_class_v<C> Result<> store_field(const C& value, M C::*member,
                                                     uint64_t index = 0)
    const {
        const auto offset =
            reinterpret_cast<const char*>(&(value.*member)) - reinterpret_cast<const char*>(&value);
        return arch::store_to_guest<sizeof(M)>(
            this->at(index, sizeof(T)) + static_cast<uint64_t>(offset), &(value.*member));
    }
    GuestOut<T> out() const { return GuestOut<T>(this->raw()); }
};

}  // namespace hv
