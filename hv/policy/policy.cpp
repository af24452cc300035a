// The default policy, as Xen's dummy XSM module has it: one row for each operation.
#include "hv/policy/policy.hpp"

#include "hv/domain/domain.hpp"

namespace hv::policy {

namespace {

/// Who may. Each implies that the subject may do it to the host or to any domain.
enum class Rule : uint8_t {
    kAnyone,
    kPrivileged,          ///< the control domain
    kTargetOrPrivileged,  ///< also the device model of the object, and the object itself
    kHardware,            ///< the domain with the machine's devices
};

struct Row {
    Op op;
    Rule rule;
};

constexpr Row kRows[] = {
    {Op::kControlHost, Rule::kPrivileged},
    {Op::kControlDomain, Rule::kPrivileged},
    {Op::kManageMemory, Rule::kTargetOrPrivileged},
    {Op::kMapForeign, Rule::kTargetOrPrivileged},
    {Op::kSendTo, Rule::kAnyone},
    {Op::kEventForOther, Rule::kTargetOrPrivileged},
    {Op::kGrantForOther, Rule::kTargetOrPrivileged},
    {Op::kPhysdev, Rule::kHardware},
    {Op::kConsoleIo, Rule::kPrivileged},
    {Op::kReadConsole, Rule::kPrivileged},
    {Op::kShutdownHost, Rule::kPrivileged},
    {Op::kRemoteShutdown, Rule::kTargetOrPrivileged},
    {Op::kSetTimeHost, Rule::kPrivileged},
    {Op::kVersionDetail, Rule::kPrivileged},
};

constexpr bool rows_are_in_order() {
    for (size_t i = 0; i < std::size(kRows); ++i)
        if (kRows[i].op != static_cast<Op>(i)) return false;
    return std::size(kRows) == static_cast<size_t>(Op::kCount);
}
static_assert(rows_are_in_order(), "one row for each operation, in their order");

bool allowed(Rule rule, const Domain& subject, const Domain* object) {
    switch (rule) {
        case Rule::kAnyone:
            return true;
        case Rule::kPrivileged:
            return subject.privileged;
        case Rule::kTargetOrPrivileged:
            return subject.privileged || object == &subject ||
                   (object && subject.device_model == object->id);
        case Rule::kHardware:
            return subject.is_hardware;
    }
    return false;
}

}  // namespace

Result<> check(Op op, const Domain& subject, const Domain* object) {
    if (op >= Op::kCount) return Errno::kEPERM;
    if (!allowed(kRows[static_cast<size_t>(op)].rule, subject, object)) return Errno::kEPERM;
    return {};
}

}  // namespace hv::policy
