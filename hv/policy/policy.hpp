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
    kCount,
};

/// kEPERM unless `subject` may do `op` to `object` (nullptr: the host).
Result<> check(Op op, const Domain& subject, const Domain* object = nullptr);

}  // namespace policy
}  // namespace hv
