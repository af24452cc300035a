// What the rules of the policy mean.
#include "hv/policy/policy.hpp"

#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"

namespace hv::policy {

namespace {

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

Result<> check_rule(Rule rule, const Domain& subject, const Domain* object) {
    if (!allowed(rule, subject, object)) return Errno::kEPERM;
    base::block_speculation();
    return {};
}

}  // namespace hv::policy
