// Sets of CPU features by whom they are for, and what depends on what.
#pragma once

#include "hv/x86/cpu/policy.hpp"

namespace hv::arch::cpu_policy {

/// Words of a featureset, by the leaf (and register) or MSR that they show.
enum FeatureWord : size_t {
    kWord1d,
    kWord1c,
    kWordE1d,
    kWordE1c,
    kWordDa1,
    kWord7b0,
    kWord7c0,
    kWordE7d,
    kWordE8b,
    kWord7d0,
    kWord7a1,
    kWordE21a,
    kWord7b1,
    kWord7d2,
    kWord7c1,
    kWord7d1,
    kWordArchCapsLow,
    kWordArchCapsHigh,
    kWordE21c,
};
static_assert(kWordE21c + 1 == kFeatureWords);

constexpr bool test(const Featureset& set, uint32_t feature) {
    return (set[feature / 32] >> (feature % 32)) & 1;
}
constexpr void assign(Featureset& set, uint32_t feature, bool on) {
    uint32_t bit = 1u << (feature % 32);
    set[feature / 32] = on ? set[feature / 32] | bit : set[feature / 32] & ~bit;
}

/// What a PV guest sees by default, and may see at most.
const Featureset& pv_default_mask();
const Featureset& pv_max_mask();

/// Removes every feature that lacks another it is built on.
void clear_dependents(Featureset& set);

}  // namespace hv::arch::cpu_policy
