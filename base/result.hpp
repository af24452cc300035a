// Result<T>: a value or an Errno. Errors are values; TRY() passes them up.
#pragma once

#include <new>
#include <utility>

#include "base/errno.hpp"

namespace base {

/// An error on its way into a Result: `return Fail{Errno::kEINVAL};`
struct Fail {
    Errno error;
};

template <class T = void>
class [[nodiscard]] Result {
  public:
    using Value = T;

    constexpr Result(const T& value) : ok_(true), value_(value) {}
    constexpr Result(T&& value) : ok_(true), value_(std::move(value)) {}
    constexpr Result(Fail fail) : ok_(false), error_(fail.error) {}
    constexpr Result(Errno error) : ok_(false), error_(error) {}
    constexpr Result(Result&& other) : ok_(other.ok_), error_(Errno{}) {
        if (ok_) {
            ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
        } else {
            error_ = other.error_;
        }
    }
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    Result& operator=(Result&&) = delete;
    constexpr ~Result() {
        if (ok_) value_.~T();
    }

    constexpr explicit operator bool() const { return ok_; }
    constexpr bool ok() const { return ok_; }
    constexpr Errno error() const { return error_; }
    constexpr T& value() & { return value_; }
    constexpr const T& value() const& { return value_; }
    constexpr T&& value() && { return std::move(value_); }
    constexpr T& operator*() & { return value_; }
    constexpr const T& operator*() const& { return value_; }
    constexpr T* operator->() { return &value_; }
    constexpr const T* operator->() const { return &value_; }
    constexpr T value_or(T other) const& { return ok_ ? value_ : other; }

  private:
    bool ok_;
    union {
        T value_;
        Errno error_;
    };
};

template <>
class [[nodiscard]] Result<void> {
  public:
    using Value = void;

    constexpr Result() : error_(Errno{}) {}
    constexpr Result(Fail fail) : error_(fail.error) {}
    constexpr Result(Errno error) : error_(error) {}

    constexpr explicit operator bool() const { return ok(); }
    constexpr bool ok() const { return static_cast<int>(error_) == 0; }
    constexpr Errno error() const { return error_; }
    constexpr void value() const {}

  private:
    Errno error_;  // 0: success
};

}  // namespace base

/// The value of a Result, or a return of its error from the surrounding function.
#define TRY(expression)                                            \
    ({                                                             \
        auto try_result_ = (expression);                           \
        if (!try_result_.ok()) [[unlikely]]                        \
            return ::base::Fail{try_result_.error()};              \
        static_cast<decltype(try_result_)&&>(try_result_).value(); \
    })
