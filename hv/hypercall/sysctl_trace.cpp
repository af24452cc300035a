// sysctl: control of the trace buffers, as `xentrace` and `xentrace_setsize` use it.
#include "hv/console/trace.hpp"
#include "hv/hypercall/control_bitmap.hpp"
#include "hv/hypercall/sysctl.hpp"
#include "hv/hypercall/traced.hpp"

namespace hv::sysctl {

Outcome tbuf_op(xen_sysctl& op) {
    auto& tbuf = op.u.tbuf_op;
    switch (tbuf.cmd) {
        case XEN_SYSCTL_TBUFOP_get_info: {
            const trace::Info info = trace::info();
            tbuf.evt_mask = trace::events();
            tbuf.buffer_mfn = info.mfn;
            tbuf.size = info.bytes;
            return Outcome{};
        }
        case XEN_SYSCTL_TBUFOP_set_cpu_mask:
            trace::set_cpus(TRY(load_bitmap(tbuf.cpu_mask)));
            return Outcome{};
        case XEN_SYSCTL_TBUFOP_set_evt_mask:
            trace::set_events(tbuf.evt_mask);
            return Outcome{};
        case XEN_SYSCTL_TBUFOP_set_size:
            TRY(trace::set_size(tbuf.size));
            trace_hypercalls(true);
            return Outcome{};
        case XEN_SYSCTL_TBUFOP_enable:
            TRY(trace::start());
            trace_hypercalls(true);
            return Outcome{};
        case XEN_SYSCTL_TBUFOP_disable:
            trace::stop();
            trace_hypercalls(false);
            return Outcome{};
    }
    return Errno::kEINVAL;
}

}  // namespace hv::sysctl
