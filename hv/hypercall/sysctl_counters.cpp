// sysctl: performance counters, as `xenperf` shows them; of the debug build.
#include <cstring>

#include "hv/hypercall/counters.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"

namespace hv::sysctl {

namespace {

/// One counter, with a value for each hypercall; xenperf knows this name and adds theirs.
constexpr char kName[] = "hypercalls";

Result<> describe(xen_sysctl_perfc_op& op) {
    const GuestOut<xen_sysctl_perfc_desc> descriptions(op.desc);
    const GuestOut<xen_sysctl_perfc_val_t> values(op.val);
    op.nr_counters = 1;
    op.nr_vals = counters::kHypercallNumbers;
    if (descriptions.is_null() || values.is_null()) return {};
    xen_sysctl_perfc_desc description = {};
    std::memcpy(description.name, kName, sizeof kName);
    description.nr_vals = counters::kHypercallNumbers;
    TRY(descriptions.store(description));
    for (unsigned n = 0; n < counters::kHypercallNumbers; ++n)
        TRY(values.store(static_cast<xen_sysctl_perfc_val_t>(counters::calls(n)), n));
    return {};
}

}  // namespace

Outcome perfc_op(xen_sysctl& op) {
    if (!counters::kOn) return Errno::kENOSYS;
    switch (op.u.perfc_op.cmd) {
        case XEN_SYSCTL_PERFCOP_reset: {
            const auto told = describe(op.u.perfc_op);
            counters::reset();
            return told;
        }
        case XEN_SYSCTL_PERFCOP_query:
            return describe(op.u.perfc_op);
    }
    return Errno::kEINVAL;
}

}  // namespace hv::sysctl
