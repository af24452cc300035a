// Frames of RAM: a buddy allocator over blocks of 2^order frames, and who gets them.
//
// Free memory is described by its block heads only; the page structs of a section are backed when
// its first frame is handed out (page.hpp).
// A frame that a domain gives back is scrubbed before anybody else gets it, and no CPU keeps a
// TLB entry for it (the block remembers the flush stamp of its freeing).
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/memory/nodes.hpp"
#include "hv/memory/page.hpp"

namespace hv::memory {

inline constexpr unsigned kMaxOrder = 18;  ///< 1 GiB

struct MachineRange {
    uint64_t start;  ///< machine address, bytes
    uint64_t end;    ///< exclusive
};

/// At boot, once the direct map stands: a range of RAM that nobody uses. Also later, for what boot
/// itself needed (modules). Rounded inwards to whole frames.
void add_free_range(MachineRange range);
/// At boot, for each range of RAM in the machine's map, used or not: counts for total_pages().
void describe_ram(MachineRange range);
/// A frame for the page structs or the page tables that map them; for arch::back_frame_table()
/// only. Never given back. kENOMEM.
Result<Mfn> take_table_frame();

struct AllocOptions {
    unsigned address_bits = 64;  ///< the whole block lies below 2^address_bits
    bool zeroed = true;          ///< false: the caller overwrites it all (it is scrubbed anyway)
    static constexpr uint8_t kAnyNode = 0xff;
    uint8_t node = kAnyNode;  ///< asked first; one that is not there is asked in vain
    bool exact_node = false;  ///< and no other
    /// The nodes asked next; the rest comes last. Ignored by alloc_domain_frames(), which knows.
    NodeMask near = NodeMask::all();
};

/// 2^order contiguous frames for the hypervisor itself, aligned to their size; from the calling
/// CPU's node if it has some. kENOMEM.
Result<Mfn> alloc_frames(unsigned order, AllocOptions options = {});
void free_frames(Mfn mfn, unsigned order);

/// 2^order contiguous frames for `domain`, each with kAllocated and one reference; counted in its
/// total. They are taken from the nodes it is near to in turn, then from others. kENOMEM: none
/// free, or beyond its max_pages; kEINVAL: the domain is dying.
Result<Mfn> alloc_domain_frames(Domain& domain, unsigned order, AllocOptions options = {});

/// Shows a hypervisor frame to `domain` (its shared info, grant frames): it may map it, read-only
/// or not, but it never counts as the domain's memory. The frame keeps one reference of ours.
enum class Access { kReadOnly, kReadWrite };
void share_frame(Mfn mfn, Domain& domain, Access access);
/// Takes it back; kEBUSY while a mapping is left.
Result<> unshare_frame(Mfn mfn, Domain& domain);

/// Shows 2^order frames of the hypervisor's for good to whom may map DOMID_XEN's.
void show_to_control_domain(Mfn first, unsigned order, Access access);

/// As unshare_frame() without asking for it back: freed when the last mapping goes. For a domain's
/// end.
void retire_shared_frame(Mfn mfn, Domain& domain);

/// Takes a frame out of `domain` that nobody maps or uses (XENMEM_exchange, grant transfer): it
/// belongs to nobody until assign_page() or free_frames(). The M2P is left as it is. kEINVAL: not
/// its frame; kEBUSY: in use.
Result<PageInfo*> steal_page(Mfn mfn, Domain& domain);
/// Makes such a frame (or one of alloc_frames()) the property of `domain`, as
/// alloc_domain_frames() does. kENOMEM: beyond its max_pages; kEINVAL: it is dying.
Result<> assign_page(PageInfo& page, Domain& domain);
/// The same for 2^order contiguous frames, all or none.
Result<> assign_block(Mfn first, unsigned order, Domain& domain);

/// Called by PageInfo::put() at zero.
void free_domain_frame(PageInfo& page);

/// Gives every frame of `domain` up that is still allocated (its reservation), from frame
/// `cursor` on; stops early (true, cursor moved) when preempt_requested(). Runs when it dies.
Result<bool> relinquish_frames(Domain& domain, Mfn& cursor);

/// Moves `pages` of free memory aside for `domain` (XENMEM_claim_pages); 0 cancels. kENOMEM.
Result<> set_claim(Domain& domain, uint64_t pages);
uint64_t outstanding_claims();

inline constexpr uint64_t kUsualLowMemoryLimit = UINT64_MAX;  ///< 64 MiB, or half the free
/// From now on `handler` is called, under the allocator's lock, whenever little memory is left
/// (low_memory.hpp): at first at `limit` bytes, at most 1 GiB and what is free now. 0: never. Gives
/// the threshold in frames.
uint64_t watch_low_memory(uint64_t limit, void (*handler)());

uint64_t free_pages();
uint64_t free_pages_of(Node node);
uint64_t total_pages();  ///< RAM that the machine has for guests and us
Mfn max_page();          ///< one above the highest frame of RAM

/// Scrubs some of the freed frames while a CPU idles; true if there is more to do.
bool scrub_some();

}  // namespace hv::memory
