// Debug key 'g': a domain's limits and the entries in use.
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/table.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kMaxLines = 64;  ///< a table may have 32,768 entries in use

}  // namespace

void dump(Domain& domain) {
    if (!domain.grants) return;
    GrantTable& table = *domain.grants;
    LockGuard guard(table.lock);
    report("grant table of d{}: version {}, {} of {} frames, {} handles of others", domain.id,
           table.version, table.frame_count, table.limits.max_frames, table.mapped_handles.load());
    uint32_t lines = 0;
    for (uint32_t ref = 0; ref < table.entry_count(); ++ref) {
        ActiveEntry& entry = table.active(ref);
        if (!entry.seems_pinned()) continue;
        EntryGuard entry_guard(entry);
        if (++lines > kMaxLines) {
            report(" …");
            return;
        }
        report(" ref {:4} to d{}: mfn {:x}, {} readers, {} writers", ref, entry.user, entry.frame,
               entry.readers(), entry.writers());
    }
}

}  // namespace hv::grant
