// Integers that do not mix: a machine frame is no guest frame, a port no domain.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace base {

template <class Tag, class Rep>
class Strong {
  public:
    using Raw = Rep;

    constexpr Strong() = default;
    constexpr explicit Strong(Rep raw) : raw_(raw) {}
    constexpr Rep raw() const { return raw_; }

    friend constexpr auto operator<=>(Strong, Strong) = default;
    friend constexpr Strong operator+(Strong a, Rep n) {
        return Strong(static_cast<Rep>(a.raw_ + n));
    }
    friend constexpr Strong operator-(Strong a, Rep n) {
        return Strong(static_cast<Rep>(a.raw_ - n));
    }
    friend constexpr Rep operator-(Strong a, Strong b) { return static_cast<Rep>(a.raw_ - b.raw_); }
    constexpr Strong& operator++() {
        ++raw_;
        return *this;
    }
    constexpr Strong& operator+=(Rep n) {
        raw_ = static_cast<Rep>(raw_ + n);
        return *this;
    }

  private:
    Rep raw_ = 0;
};

}  // namespace base
