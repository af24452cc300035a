// TLB flushes across CPUs. Requests lie in memory, so that a CPU which spins with interrupts off
// serves them too (base::spin_wait()); an IPI only hurries along CPUs that run a guest or sleep.
#pragma once

#include "hv/limits.hpp"

namespace hv::arch {

/// From the flush vector's interrupt, and from every wait loop.
void serve_flush_request();

/// Whether a guest's page tables are loaded on this CPU. One that idles has flushed everything and
/// caches nothing of any guest, so nobody has to wait for it.
void note_guest_loaded(bool loaded);

/// This CPU only: everything, global entries included.
void flush_tlb_local();

}  // namespace hv::arch
