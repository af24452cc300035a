// What binds a port and what undoes it, one function an operation, after its arguments have been
// copied in. Each changes nothing when it fails. Errors are those of <xen/event_channel.h> as
// stock Xen gives them; Linux and the tools tell them apart.
#pragma once

#include <cstdint>

#include <xen/event_channel.h>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {
struct Domain;

namespace event {

/// A port of `domain` to which only `remote` may bind. kEINVAL: dying; kENOSPC; kENOMEM.
Result<Port> alloc_unbound_port(Domain& domain, DomId remote);

/// Connects a new port of `domain` with the unbound port `remote_port` of `remote`, and leaves an
/// event on it, since notifications sent before may have been lost.
/// kEINVAL: no such port, not unbound, or meant for somebody else; kENOSPC; kENOMEM.
Result<Port> bind_interdomain(Domain& domain, Domain& remote, Port remote_port);

/// kEINVAL: no such VIRQ, or a global one on another vCPU than 0; kENOENT: no such vCPU;
/// kEEXIST: bound already.
Result<Port> bind_virq(Domain& domain, uint32_t virq, uint32_t vcpu);

/// kENOENT: no such vCPU.
Result<Port> bind_ipi(Domain& domain, uint32_t vcpu);

/// kEINVAL, kEPERM: not a PIRQ of this domain; kEEXIST: bound already.
Result<Port> bind_pirq(Domain& domain, Pirq pirq, bool will_share);

/// Moves what is heard on `port` to another vCPU.
/// kENOENT: no such vCPU; kEINVAL: no such port, or one that cannot move (IPI, per-vCPU VIRQ).
Result<> bind_vcpu(Domain& domain, Port port, uint32_t vcpu);

/// Fills in `out` but for dom and port, which the caller has set. kEINVAL: no such port;
/// kEACCES: a port of the hypervisor's.
Result<> status(Domain& domain, Port port, evtchn_status& out);

/// kEINVAL: no such port, or of a kind that nothing can be sent to.
Result<> send(Domain& domain, Port port);

/// Closes every port from close_cursor on; true: stopped early, call again.
bool close_all_ports(Domain& domain, bool by_guest);

}  // namespace event
}  // namespace hv
