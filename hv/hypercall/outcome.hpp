// What a hypercall handler returns: a value or errno for the guest's rax, or "continue": the call
// has made progress, something else is waiting, and it is to be issued again with these arguments.
#pragma once

#include <array>
#include <initializer_list>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct [[nodiscard]] Outcome {
    int64_t value = 0;   ///< for rax: >= 0, or a negated Errno
    bool again = false;  ///< true: arguments are in current().continuation

    constexpr Outcome() = default;
    constexpr explicit Outcome(int64_t v) : value(v) {}
    constexpr Outcome(Errno error) : value(-static_cast<int64_t>(error)) {}
    constexpr Outcome(Fail fail) : Outcome(fail.error) {}
    Outcome(const Result<>& result) : value(-static_cast<int64_t>(result.error())) {}
    template <class T>
    requires std::is_integral_v<T> Outcome(const Result<T>& result)
        : value(result.ok() ? static_cast<int64_t>(*result)
                            : -static_cast<int64_t>(result.error())) {}
};

/// The arguments with which an interrupted call goes on. Unlisted ones keep their value.
struct Continuation {
    std::array<uint64_t, 5> args{};
    uint8_t count = 0;
};

/// Ends this round of a long hypercall. The guest issues it anew with the leading `args` replaced
/// (also within a multicall). Progress is thus in the guest's registers, where it can lie: the
/// handler checks it again like any argument.
Outcome continue_with(std::initializer_list<uint64_t> args);

/// True if a long operation should stop and be continued: something else is pending on this CPU.
/// Lets interrupts in (arch::poll_interrupts has the conditions). Cheap enough for every 64th step.
bool preempt_requested();

/// A handler takes the five argument registers (rdi, rsi, rdx, r10, r8) as they are.
using HypercallHandler = Outcome (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

}  // namespace hv
