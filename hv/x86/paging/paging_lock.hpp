// The lock of a domain's page tables: two that are shared, each for a while of its own length.
//
//                         tables_    leaves_
//   AloneGuard            alone      alone     entries of higher tables change; a domain dies
//   TablesGuard           shared               frames become tables, and cease to be (long)
//   TablesGuard, within   shared     alone     a checked L1 table is taken from who changes it
//   (short) LeavesGuard                      shared    entries of L1 tables change (short)
//
// Who shares `leaves_` may take that the vCPU's tables lead where they lead, and that a checked L1
// table stays one. Since nobody keeps that long, nobody waits for it long either: two vCPUs make
// and drop tables at the same time, and others go on changing entries meanwhile.
#pragma once

#include "base/shared_lock.hpp"
#include "hv/lock_rank.hpp"

namespace hv {

class XEN_TSA(capability("shared_mutex")) PagingLock {
    using TablesLock =
        base::StripedLock<1>;  // each is held for so long that a common line is no matter
    using LeavesLock = base::SharedSpinLock;

  public:
    PagingLock() = default;
    PagingLock(const PagingLock&) = delete;
    PagingLock& operator=(const PagingLock&) = delete;

    // The analysis follows this lock and not those within.
    void lock() XEN_TSA(acquire_capability()) XEN_TSA(no_thread_safety_analysis) {
        tables_.lock();
        leaves_.lock();
    }
    void unlock() XEN_TSA(release_capability()) XEN_TSA(no_thread_safety_analysis) {
        leaves_.unlock();
        tables_.unlock();
    }
    /// For who has it alone: whether others wait.
    bool is_wanted() const { return tables_.is_wanted() || leaves_.is_wanted(); }

    using LeavesShare = LeavesLock::Share;
    [[nodiscard]] LeavesShare lock_leaves(base::LockStripe stripe)
        XEN_TSA(acquire_shared_capability()) XEN_TSA(no_thread_safety_analysis) {
        return leaves_.lock_shared(stripe);
    }
    void unlock_leaves(LeavesShare share) XEN_TSA(release_shared_capability())
        XEN_TSA(no_thread_safety_analysis) {
        leaves_.unlock_shared(share);
    }

    using TablesShare = TablesLock::Share;
    [[nodiscard]] TablesShare lock_tables() XEN_TSA(acquire_shared_capability())
        XEN_TSA(no_thread_safety_analysis) {
        return tables_.lock_shared(base::LockStripe::first());
    }
    void unlock_tables(TablesShare share) XEN_TSA(release_shared_capability())
        XEN_TSA(no_thread_safety_analysis) {
        tables_.unlock_shared(share);
    }
    /// For who shares the tables: whether others wait to have all alone.
    bool is_wanted_alone() const { return tables_.is_wanted_alone(); }

    /// For who changes leaves: whether others wait to keep them out.
    bool are_leaves_wanted() const { return leaves_.is_wanted_alone(); }
    /// For who shares the tables: nobody changes leaves until let go on.
    void stop_leaves() XEN_TSA(no_thread_safety_analysis) { leaves_.lock(); }
    void let_leaves_go_on() XEN_TSA(no_thread_safety_analysis) { leaves_.unlock(); }

  private:
    TablesLock tables_{static_cast<uint8_t>(Rank::kPaging)};
    LeavesLock leaves_{static_cast<uint8_t>(Rank::kLeaves)};
};

using AloneGuard = base::LockGuard<PagingLock>;

class XEN_TSA(scoped_lockable) LeavesGuard {
  public:
    LeavesGuard(PagingLock& lock, base::LockStripe stripe) XEN_TSA(acquire_shared_capability(lock))
        : lock_(lock), share_(lock.lock_leaves(stripe)) {}
    ~LeavesGuard() XEN_TSA(release_capability()) { lock_.unlock_leaves(share_); }
    LeavesGuard(const LeavesGuard&) = delete;
    LeavesGuard& operator=(const LeavesGuard&) = delete;

  private:
    PagingLock& lock_;
    PagingLock::LeavesShare share_;
};

class XEN_TSA(scoped_lockable) TablesGuard {
  public:
    explicit TablesGuard(PagingLock& lock) XEN_TSA(acquire_shared_capability(lock))
        : lock_(lock), share_(lock.lock_tables()) {}
    ~TablesGuard() XEN_TSA(release_capability()) { lock_.unlock_tables(share_); }
    TablesGuard(const TablesGuard&) = delete;
    TablesGuard& operator=(const TablesGuard&) = delete;

  private:
    PagingLock& lock_;
    PagingLock::TablesShare share_;
};

}  // namespace hv
