// The page tables that Domain 0 starts on, written before the page-type engine knows them: it
// checks them like any guest's when the L4 is pinned.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/pv/dom0_layout.hpp"
#include "hv/x86/pv/dom0_memory.hpp"

namespace hv::pv {

class Dom0PageTables {
  public:
    Dom0PageTables(Dom0Frames& frames, const Dom0Layout& layout)
        : frames_(frames), layout_(layout) {}

    /// Writes them all: the initial mapping, with the tables themselves read-only, and the p2m
    /// list's where the kernel wants it elsewhere.
    void build();
    /// The top table's frame, once built.
    Mfn l4() const { return frames_.mfn(layout_.pfn_of(layout_.tables)); }

  private:
    /// Frames for tables: consecutive pfns, taken one after the other.
    struct Pool {
        Pfn next;
        Pfn end;
    };
    void map_range(uint64_t linear, Pfn first, uint64_t count, Pool& pool);
    paging::Entry* table(Mfn mfn) const;
    paging::Entry* l1_for(uint64_t linear, Pool& pool);
    Mfn new_table(Pool& pool);
    bool is_table(Pfn pfn) const;

    Dom0Frames& frames_;
    const Dom0Layout& layout_;
};

}  // namespace hv::pv
