// The one point that says who may do what (the role of XSM). Every operation asks it, after its
// arguments are decoded and before anything changes.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;

namespace policy {

enum class Op : uint8_t {
    kControlHost,     // sysctl, platform_op: the privileged domain only
    kControlDomain,   // domctl on another domain: its controller
    kManageMemory,    // memory reservation of oneself or of a domain one controls
    kMapForeign,      // map frames of `object`: controller, or `object`'s device model
    kSendTo,          // interdomain event channels, grants: everyone, unless SILO
    kEventForOther,   // alloc_unbound, status, reset on behalf of another domain
    kGrantForOther,   // set up, query the grant table of another domain
    kPhysdev,         // interrupts and PCI: a domain with hardware
    kConsoleIo,       // the machine's console
    kReadConsole,     // ring of messages
    kShutdownHost,    // reboot and the like
    kRemoteShutdown,  // SCHEDOP_remote_shutdown
    kSetTimeHost,     // wall clock of the machine
    kVersionDetail,   // xen_version sub-calls that tell of the host (changeset, command line)
};

/// Who may. Each implies that the subject may do it to the host or to any domain.
enum class Rule : uint8_t {
    kAnyone,
    kPrivileged,          ///< the control domain
    kTargetOrPrivileged,  ///< also the device model of the object, and the object itself
    kHardware,            ///< the domain with the machine's devices
};

/// The default policy, as Xen's dummy XSM module has it. No operation is without a rule: -Wswitch.
constexpr Rule rule_of(Op op) {
    switch (op) {
        case Op::kSendTo:
            return Rule::kAnyone;
        case Op::kManageMemory:
        case Op::kMapForeign:
        case Op::kEventForOther:
        case Op::kGrantForOther:
        case Op::kRemoteShutdown:
            return Rule::kTargetOrPrivileged;
        case Op::kPhysdev:
            return Rule::kHardware;
        case Op::kControlHost:
        case Op::kControlDomain:
        case Op::kConsoleIo:
        case Op::kReadConsole:
        case Op::kShutdownHost:
        case Op::kSetTimeHost:
        case Op::kVersionDetail:
            break;
    }
    return Rule::kPrivileged;
}

/// kEPERM unless `rule` lets `subject` at `object` (nullptr: the host).
Result<> check_rule(Rule rule, const Domain& subject, const Domain* object);

/// kEPERM unless `subject` may do `op` to `object` (nullptr: the host).
inline Result<> check(Op op, const Domain& subject, const Domain* object = nullptr) {
    const Rule rule = rule_of(op);
    if (rule == Rule::kAnyone) return {};  // known where it is compiled: grants and events are hot
    return check_rule(rule, subject, object);
}

}  // namespace policy
}  // namespace hv
