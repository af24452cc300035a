// Steps of a domain's end that several files of hv/domain share.
#pragma once

namespace hv {

struct Domain;

namespace lifecycle {

/// Frees the vCPUs, which are off every CPU for good.
void destroy_vcpus(Domain& domain);

/// Has nobody write to frames that the guest registered for its vcpu_info any more, once an RCU
/// grace period is over …
void leave_vcpu_info(Domain& domain);
/// … after which the references on them are dropped.
void release_vcpu_info(Domain& domain);

}  // namespace lifecycle
}  // namespace hv
