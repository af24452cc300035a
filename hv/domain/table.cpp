#include "hv/domain/table.hpp"

#include <atomic>
#include <bit>

#include "base/lock.hpp"
#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"

namespace hv::domain_table {

namespace {

constexpr size_t kIds = kFirstReservedDomId;
constexpr size_t kWords = (kIds + 63) / 64;

// A flat array, so that a look-up is one load; the bits are only for walking through it.
constinit std::atomic<Domain*> domains[kIds];
constinit std::atomic<uint64_t> present[kWords];
/// The id that was given out last; under its lock also entering.
constinit Locked<uint16_t, Rank::kDomainList> last_id;

}  // namespace

Domain* peek(DomId id) {
    if (id.raw() >= kIds) return nullptr;
    return domains[base::index_nospec(id.raw(), kIds)].load(std::memory_order_acquire);
}

Result<> enter(Domain& domain) {
    const size_t id = domain.id.raw();
    if (id >= kIds) return Errno::kEINVAL;
    auto last = last_id.lock();
    if (domains[id].load() != nullptr) return Errno::kEEXIST;
    domains[id].store(&domain, std::memory_order_release);
    present[id / 64].fetch_or(uint64_t{1} << (id % 64));
    return {};
}

// Without the lock: the last reference may go anywhere, under any other lock.
void leave(Domain& domain) {
    const size_t id = domain.id.raw();
    present[id / 64].fetch_and(~(uint64_t{1} << (id % 64)));
    domains[id].store(nullptr, std::memory_order_release);
}

Domain* next(DomId from) {
    if (from.raw() >= kIds) return nullptr;
    for (size_t word = from.raw() / 64; word < kWords; ++word) {
        uint64_t bits = present[word].load(std::memory_order_acquire);
        if (word == from.raw() / 64) bits &= ~uint64_t{0} << (from.raw() % 64);
        for (; bits; bits &= bits - 1) {
            const size_t id = word * 64 + static_cast<size_t>(std::countr_zero(bits));
            if (Domain* domain = domains[id].load(std::memory_order_acquire)) return domain;
        }
    }
    return nullptr;
}

Result<DomId> free_id() {
    auto last = last_id.lock();
    for (size_t tried = 1; tried < kIds; ++tried) {
        *last = *last + 1u < kIds ? static_cast<uint16_t>(*last + 1) : uint16_t{1};
        if (domains[*last].load() == nullptr) return DomId{*last};
    }
    return Errno::kENOMEM;
}

}  // namespace hv::domain_table
