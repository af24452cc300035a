// Grant tables against a model: who may use what, what is undone when, and what is left behind.
#include <gtest/gtest.h>

#include "fake/small_machine.hpp"
#include "hv/grant/pin.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {
namespace {

constexpr int64_t error(Errno e) {
    return -static_cast<int64_t>(e);
}

class GrantTest : public SmallMachine {
  protected:
    GrantTest() : backend(create(0)), guest(create(1)) { run(backend); }

    template <class Op>
    int64_t ops(uint32_t command, Op* arguments, uint32_t count) {
        Outcome outcome =
            do_grant_table_op(command, reinterpret_cast<uint64_t>(arguments), count, 0, 0);
        while (outcome.again) {
            process_softirqs();
            ++continuations;
            auto& args = machine_.current->continuation.args;
            outcome = do_grant_table_op(args[0], args[1], args[2], 0, 0);
        }
        return outcome.value;
    }

    /// What a guest writes into its table.
    grant_entry_v1& entry(Domain& domain, uint32_t ref) { return domain.grants->entry_v1(ref); }
    void grant(Domain& granter, uint32_t ref, domid_t to, Mfn frame, uint16_t flags = 0) {
        entry(granter, ref).domid = to;
        entry(granter, ref).frame = static_cast<uint32_t>(frame.raw());
        entry(granter, ref).flags = GTF_permit_access | flags;
    }
    void grant_v2(Domain& granter, uint32_t ref, domid_t to, Mfn frame, uint16_t flags = 0) {
        grant_entry_v2& e = granter.grants->entry_v2(ref);
        e.full_page.frame = frame.raw();
        e.hdr.domid = to;
        e.hdr.flags = GTF_permit_access | flags;
    }

    static gnttab_map_grant_ref map_of(uint64_t address, domid_t domain, uint32_t ref,
                                       uint32_t flags = GNTMAP_host_map) {
        gnttab_map_grant_ref arg{};
        arg.host_addr = address;
        arg.flags = flags;
        arg.ref = ref;
        arg.dom = domain;
        arg.status = 77;
        return arg;
    }
    int map(gnttab_map_grant_ref& arg) {
        EXPECT_EQ(ops(GNTTABOP_map_grant_ref, &arg, 1), 0);
        return arg.status;
    }
    int unmap(uint32_t handle, uint64_t address, uint64_t bus = 0) {
        gnttab_unmap_grant_ref arg{};
        arg.host_addr = address;
        arg.dev_bus_addr = bus;
        arg.handle = handle;
        arg.status = 77;
        EXPECT_EQ(ops(GNTTABOP_unmap_grant_ref, &arg, 1), 0);
        return arg.status;
    }
    static gnttab_copy copy_of(bool from_grant, domid_t from_domain, uint64_t from, bool to_grant,
                               domid_t to_domain, uint64_t to, uint16_t length) {
        gnttab_copy arg{};
        arg.flags = static_cast<uint16_t>((from_grant ? GNTCOPY_source_gref : 0) |
                                          (to_grant ? GNTCOPY_dest_gref : 0));
        arg.source.domid = from_domain;
        arg.dest.domid = to_domain;
        if (from_grant)
            arg.source.u.ref = static_cast<uint32_t>(from);
        else
            arg.source.u.gmfn = from;
        if (to_grant)
            arg.dest.u.ref = static_cast<uint32_t>(to);
        else
            arg.dest.u.gmfn = to;
        arg.len = length;
        arg.status = 77;
        return arg;
    }
    int copy(gnttab_copy& arg) {
        EXPECT_EQ(ops(GNTTABOP_copy, &arg, 1), 0);
        return arg.status;
    }
    static char* bytes(Mfn mfn) { return arch::mfn_to_virt<char>(mfn); }

    Domain& backend;
    Domain& guest;
    unsigned continuations = 0;
};

TEST_F(GrantTest, MapAndUnmapLeaveNothing) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 0, 8);
    m.dom = 1;
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(m.dev_bus_addr, address_of(frame));
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_reading | GTF_writing);
    EXPECT_EQ(page_info(frame)->ref_count(), 2u);
    EXPECT_EQ(page_info(frame)->page_type(), PageType::kWritable);
    EXPECT_EQ(machine_.ptes[0x5000], (FakeMachine::Pte{frame, false}));

    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);
    EXPECT_EQ(page_info(frame)->type_count(), 0u);
    EXPECT_EQ(machine_.flushes, 1u);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_bad_handle);
    EXPECT_EQ(machine_.flushes, 1u) << "nothing to flush";
}

TEST_F(GrantTest, ReadOnlyMapMarksReading) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame, GTF_readonly);
    auto m = map_of(0x5000, 1, 8);
    EXPECT_EQ(map(m), GNTST_general_error) << "not for writing";
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_readonly);
    m = map_of(0x5000, 1, 8, GNTMAP_host_map | GNTMAP_readonly);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_readonly | GTF_reading);
    EXPECT_EQ(page_info(frame)->type_count(), 0u);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
}

TEST_F(GrantTest, WriterGoesReaderStays) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto reader = map_of(0x5000, 1, 8, GNTMAP_host_map | GNTMAP_readonly);
    auto writer = map_of(0x6000, 1, 8);
    ASSERT_EQ(map(reader), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_reading);
    ASSERT_EQ(map(writer), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_reading | GTF_writing);
    EXPECT_EQ(unmap(writer.handle, 0x6000), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_reading);
    // A frame changed in the entry while it is pinned changes nothing for its users.
    Mfn other = frame_of(guest);
    entry(guest, 8).frame = static_cast<uint32_t>(other.raw());
    ASSERT_EQ(map(writer), GNTST_okay);
    EXPECT_EQ(machine_.ptes[0x6000].frame, frame);
    // The granter makes it read-only meanwhile: no new writer.
    EXPECT_EQ(unmap(writer.handle, 0x6000), GNTST_okay);
    entry(guest, 8).flags |= GTF_readonly;
    EXPECT_EQ(map(writer), GNTST_general_error);
}

TEST_F(GrantTest, RefusalsOfMap) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 1, 8, 0);
    EXPECT_EQ(map(m), GNTST_bad_gntref) << "neither host nor device";
    m = map_of(0x5000, 9, 8);
    EXPECT_EQ(map(m), GNTST_bad_domain);
    m = map_of(0x5000, DOMID_SELF, 8);
    EXPECT_EQ(map(m), GNTST_bad_domain) << "has to be named by its id";
    m = map_of(0x5000, 1, 512);
    EXPECT_EQ(map(m), GNTST_bad_gntref) << "beyond the table";
    m = map_of(0x5000, 1, ~0u);
    EXPECT_EQ(map(m), GNTST_bad_gntref);
    m = map_of(0x5000, 1, 9);
    EXPECT_EQ(map(m), GNTST_general_error) << "an invalid entry";
    create(2);
    run(*machine_.domains[2]);
    m = map_of(0x5000, 1, 8);
    EXPECT_EQ(map(m), GNTST_general_error) << "granted to another";
    run(backend);
    grant(guest, 10, 0, frame_of(backend));
    m = map_of(0x5000, 1, 10);
    EXPECT_EQ(map(m), GNTST_bad_page) << "not its own frame";
    EXPECT_EQ(entry(guest, 10).flags, GTF_permit_access);
    entry(guest, 10).frame = 0xffffffff;
    EXPECT_EQ(map(m), GNTST_bad_page);
    grant(guest, 11, 0, frame);
    page_info(frame)->type = uint64_t{1} << PageInfo::kTypeShift | 1;  // in use as a page table
    m = map_of(0x5000, 1, 11);
    EXPECT_EQ(map(m), GNTST_general_error);
    EXPECT_EQ(entry(guest, 11).flags, GTF_permit_access);
    page_info(frame)->type = 0;
    machine_.refuse_map = true;
    EXPECT_EQ(map(m), GNTST_general_error);
    EXPECT_EQ(entry(guest, 11).flags, GTF_permit_access);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);
    EXPECT_EQ(guest.grants->mapped_handles, 0u);
    machine_.refuse_map = false;
    guest.dying = Dying::kDying;
    EXPECT_EQ(map(m), GNTST_bad_domain);
    guest.dying = Dying::kAlive;
}

TEST_F(GrantTest, UsedEntryIsOneDomains) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    create(2);
    grant(guest, 8, 2, frame);  // given to another while in use
    run(*machine_.domains[2]);
    auto n = map_of(0x6000, 1, 8);
    EXPECT_EQ(map(n), GNTST_general_error);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_bad_handle) << "somebody else's handle";
    run(backend);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
}

TEST_F(GrantTest, RefusalsOfUnmap) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    EXPECT_EQ(unmap(0, 0x5000), GNTST_bad_handle);
    EXPECT_EQ(unmap(~0u, 0x5000), GNTST_bad_handle);
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(unmap(m.handle + 1, 0x5000), GNTST_bad_handle);
    EXPECT_EQ(unmap(m.handle, 0x7000), GNTST_general_error) << "no such mapping there";
    EXPECT_EQ(unmap(m.handle, 0), GNTST_okay) << "names nothing, undoes nothing";
    EXPECT_EQ(unmap(m.handle, 0, address_of(frame)), GNTST_okay) << "no device map to undo";
    EXPECT_EQ(page_info(frame)->ref_count(), 2u);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
}

TEST_F(GrantTest, DeviceMapCountsByItself) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 1, 8, GNTMAP_host_map | GNTMAP_device_map);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(page_info(frame)->ref_count(), 3u);
    EXPECT_EQ(page_info(frame)->type_count(), 2u);
    EXPECT_EQ(unmap(m.handle, 0, 0x123000), GNTST_bad_dev_addr);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_reading | GTF_writing);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay) << "the host part is gone";
    EXPECT_EQ(unmap(m.handle, 0, m.dev_bus_addr), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access);
    EXPECT_EQ(unmap(m.handle, 0, m.dev_bus_addr), GNTST_bad_handle);
    m = map_of(0, 1, 8, GNTMAP_device_map | GNTMAP_readonly);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_TRUE(machine_.ptes.empty());
    EXPECT_EQ(unmap(m.handle, 0, m.dev_bus_addr), GNTST_okay);
}

TEST_F(GrantTest, UnmapAndReplaceMovesAnEntry) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    Mfn mine = frame_of(backend);
    machine_.ptes[0x9000] = {mine, false};
    gnttab_unmap_and_replace arg{};
    arg.host_addr = 0x5000;
    arg.new_addr = 0x9000;
    arg.handle = m.handle;
    EXPECT_EQ(ops(GNTTABOP_unmap_and_replace, &arg, 1), 0);
    EXPECT_EQ(arg.status, GNTST_okay);
    EXPECT_EQ(machine_.ptes[0x5000].frame, mine);
    EXPECT_FALSE(machine_.ptes.contains(0x9000));
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);
}

TEST_F(GrantTest, BatchIsFlushedOnceAndCanBeInterrupted) {
    std::vector<gnttab_map_grant_ref> maps;
    std::vector<gnttab_unmap_grant_ref> unmaps;
    for (uint32_t i = 0; i < 100; ++i) {
        grant(guest, 8 + i, 0, frame_of(guest));
        maps.push_back(map_of(0x100000 + i * 0x1000, 1, 8 + i));
    }
    machine_.preempt_after = 2;
    EXPECT_EQ(ops(GNTTABOP_map_grant_ref, maps.data(), 100), 0);
    EXPECT_EQ(continuations, 1u);
    for (auto& m : maps) {
        EXPECT_EQ(m.status, GNTST_okay);
        gnttab_unmap_grant_ref u{};
        u.host_addr = m.host_addr;
        u.handle = m.handle;
        u.status = 77;
        unmaps.push_back(u);
    }
    unmaps[50].handle = 4000;
    machine_.preempt_after = 1;
    EXPECT_EQ(ops(GNTTABOP_unmap_grant_ref, unmaps.data(), 100), 0);
    EXPECT_EQ(continuations, 2u);
    EXPECT_EQ(machine_.flushes, 4u) << "one for each 32";
    for (auto& u : unmaps) EXPECT_EQ(u.status, &u == &unmaps[50] ? GNTST_bad_handle : GNTST_okay);
    EXPECT_EQ(guest.grants->mapped_handles, 1u);
    EXPECT_EQ(unmap(maps[50].handle, maps[50].host_addr), GNTST_okay);
}

TEST_F(GrantTest, FaultInABatchLeavesWhatWasDoneFinished) {
    gnttab_unmap_grant_ref u[2] = {};
    for (uint32_t i = 0; i < 2; ++i) {
        grant(guest, 8 + i, 0, frame_of(guest));
        auto m = map_of(0x5000 + i * 0x1000, 1, 8 + i);
        ASSERT_EQ(map(m), GNTST_okay);
        u[i].host_addr = m.host_addr;
        u[i].handle = m.handle;
    }
    machine_.bad_address = reinterpret_cast<uint64_t>(&u[1]);
    EXPECT_EQ(ops(GNTTABOP_unmap_grant_ref, u, 2), error(Errno::kEFAULT));
    machine_.bad_address = 0;
    EXPECT_EQ(machine_.flushes, 1u);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access);
    EXPECT_EQ(ops(GNTTABOP_unmap_grant_ref, u + 1, 1), 0);
    EXPECT_EQ(u[1].status, GNTST_okay);
}

TEST_F(GrantTest, MapperDiesFirst) {
    Domain& mapper = create(2);
    std::vector<Mfn> frames;
    for (uint32_t i = 0; i < 40; ++i) {
        frames.push_back(frame_of(guest));
        grant(guest, 8 + i, 2, frames.back());
    }
    run(mapper);
    for (uint32_t i = 0; i < 40; ++i) {
        auto m = map_of(0x100000 + i * 0x1000, 1, 8 + i);
        ASSERT_EQ(map(m), GNTST_okay);
    }
    machine_.ptes.clear();  // they went with its page tables
    run(backend);
    machine_.preempt_after = 1;
    kill(mapper);
    for (uint32_t i = 0; i < 40; ++i) {
        EXPECT_EQ(entry(guest, 8 + i).flags, GTF_permit_access);
        EXPECT_EQ(page_info(frames[i])->ref_count(), 1u);
    }
    EXPECT_EQ(guest.grants->mapped_handles, 0u);
}

TEST_F(GrantTest, GranterDiesFirst) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    kill(guest);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u) << "the mapping's";
    EXPECT_TRUE(machine_.domains.contains(1)) << "a zombie until then";
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    EXPECT_FALSE(machine_.domains.contains(1));
    EXPECT_EQ(page_info(frame)->ref_count(), 0u);
}

TEST_F(GrantTest, OwnGrantCanBeMapped) {
    Mfn frame = frame_of(backend);
    grant(backend, 8, 0, frame);
    auto m = map_of(0x5000, 0, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    ASSERT_EQ(map(m), GNTST_okay);  // and goes with the domain
}

TEST_F(GrantTest, CopyBetweenFramesAndGrants) {
    Mfn theirs = frame_of(guest), mine = frame_of(backend);
    grant(guest, 8, 0, theirs);
    strcpy(bytes(mine) + 100, "xenolith");
    auto c = copy_of(false, DOMID_SELF, mine.raw(), true, 1, 8, 9);
    c.source.offset = 100;
    c.dest.offset = 4087;
    EXPECT_EQ(copy(c), GNTST_okay);
    EXPECT_STREQ(bytes(theirs) + 4087, "xenolith");
    c = copy_of(true, 1, 8, false, DOMID_SELF, mine.raw(), 9);
    c.source.offset = 4087;
    EXPECT_EQ(copy(c), GNTST_okay);
    EXPECT_STREQ(bytes(mine), "xenolith");
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access);
    EXPECT_EQ(page_info(theirs)->ref_count(), 1u);
    EXPECT_EQ(page_info(mine)->type_count(), 0u);
    // Within one frame, overlapping.
    c = copy_of(false, DOMID_SELF, mine.raw(), false, DOMID_SELF, mine.raw(), 9);
    c.dest.offset = 2;
    EXPECT_EQ(copy(c), GNTST_okay);
    EXPECT_STREQ(bytes(mine), "xexenolith");
    c.len = 0;
    EXPECT_EQ(copy(c), GNTST_okay);
}

TEST_F(GrantTest, RefusalsOfCopy) {
    Mfn theirs = frame_of(guest), mine = frame_of(backend);
    grant(guest, 8, 0, theirs, GTF_readonly);
    auto c = copy_of(true, 1, 8, false, DOMID_SELF, mine.raw(), 4096);
    EXPECT_EQ(copy(c), GNTST_okay);
    c.source.offset = 1;
    EXPECT_EQ(copy(c), GNTST_bad_copy_arg) << "across the end of a page";
    c.source.offset = 0;
    c.dest.offset = 65535;
    EXPECT_EQ(copy(c), GNTST_bad_copy_arg);
    c = copy_of(false, DOMID_SELF, mine.raw(), true, 1, 8, 16);
    EXPECT_EQ(copy(c), GNTST_general_error) << "read-only";
    c = copy_of(false, 1, theirs.raw(), false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_permission_denied) << "others' frames only by grants";
    c = copy_of(false, 0, mine.raw(), false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_permission_denied);
    c = copy_of(false, DOMID_SELF, theirs.raw(), false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_bad_page) << "not its own";
    c = copy_of(false, DOMID_SELF, ~uint64_t{0}, false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_bad_page);
    c = copy_of(true, 1, 3000, false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_bad_gntref);
    c = copy_of(true, 9, 8, false, DOMID_SELF, mine.raw(), 16);
    EXPECT_EQ(copy(c), GNTST_bad_domain);
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access | GTF_readonly);
    EXPECT_EQ(ops(GNTTABOP_copy, reinterpret_cast<gnttab_copy*>(8), 1), error(Errno::kEFAULT));
}

TEST_F(GrantTest, CopyBatchKeepsItsEndsOpenAndCloses) {
    Mfn theirs = frame_of(guest), mine = frame_of(backend);
    grant(guest, 8, 0, theirs);
    grant(guest, 9, 0, frame_of(guest));
    for (int i = 0; i < 4096; ++i) bytes(mine)[i] = static_cast<char>(i);
    std::vector<gnttab_copy> list;
    for (uint16_t i = 0; i < 64; ++i) {
        auto c = copy_of(false, DOMID_SELF, mine.raw(), true, 1, i % 8 == 7 ? 9 : 8, 64);
        c.source.offset = c.dest.offset = static_cast<uint16_t>(i * 64);
        list.push_back(c);
    }
    list[20].dest.u.ref = 400;  // one fails, the others do not
    machine_.preempt_after = 2;
    EXPECT_EQ(ops(GNTTABOP_copy, list.data(), 64), 0);
    EXPECT_EQ(continuations, 1u);
    for (uint16_t i = 0; i < 64; ++i) {
        EXPECT_EQ(list[i].status, i == 20 ? GNTST_general_error : GNTST_okay) << i;
        if (i == 20 || i % 8 == 7) continue;
        EXPECT_EQ(memcmp(bytes(mine) + i * 64, bytes(theirs) + i * 64, 64), 0);
    }
    EXPECT_EQ(entry(guest, 8).flags, GTF_permit_access);
    EXPECT_EQ(page_info(mine)->ref_count(), 1u);
}

TEST_F(GrantTest, SetupGrowsTheTableWithinItsLimit) {
    run(guest);
    uint64_t frames[70];
    gnttab_setup_table setup{};
    setup.dom = DOMID_SELF;
    setup.nr_frames = 4;
    setup.frame_list.p = frames;
    EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 1), 0);
    EXPECT_EQ(setup.status, GNTST_okay);
    EXPECT_EQ(arch::mfn_to_virt(Mfn{frames[3]}), &entry(guest, 3 * 512));
    EXPECT_TRUE(page_info(Mfn{frames[3]})->owned_by(guest.id));
    gnttab_query_size size{};
    size.dom = DOMID_SELF;
    EXPECT_EQ(ops(GNTTABOP_query_size, &size, 1), 0);
    EXPECT_EQ(size.status, GNTST_okay);
    EXPECT_EQ(size.nr_frames, 4u);
    EXPECT_EQ(size.max_nr_frames, 64u);
    setup.nr_frames = 65;
    EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 1), 0);
    EXPECT_EQ(setup.status, GNTST_general_error);
    setup.nr_frames = 2;
    setup.frame_list.p = nullptr;
    EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 1), 0);
    EXPECT_EQ(setup.status, GNTST_bad_virt_addr);
    setup.dom = 0;
    EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 1), 0);
    EXPECT_EQ(setup.status, GNTST_permission_denied);
    EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 2), error(Errno::kEINVAL));
    size.dom = 5;
    EXPECT_EQ(ops(GNTTABOP_query_size, &size, 1), 0);
    EXPECT_EQ(size.status, GNTST_bad_domain);
    EXPECT_EQ(grant::table_frame(guest, 3, false).value().raw(), frames[3]);
    EXPECT_EQ(grant::table_frame(guest, 64, false).error(), Errno::kEINVAL);
    EXPECT_TRUE(grant::table_frame(guest, 63, false).ok());
    EXPECT_EQ(grant::table_frame(guest, 0, true).error(), Errno::kEINVAL) << "version 1";
}

TEST_F(GrantTest, UnknownOperationsAndCounts) {
    run(guest);
    EXPECT_EQ(do_grant_table_op(99, 0, 1, 0, 0).value, error(Errno::kENOSYS));
    EXPECT_EQ(do_grant_table_op(GNTTABOP_dump_table, 0, 1, 0, 0).value, error(Errno::kENOSYS));
    EXPECT_EQ(do_grant_table_op(GNTTABOP_copy, 0, 0x80000000, 0, 0).value, error(Errno::kEINVAL));
    EXPECT_EQ(do_grant_table_op(GNTTABOP_copy, 0, 0, 0, 0).value, 0);
}

TEST_F(GrantTest, VersionsKeepTheReservedEntries) {
    Mfn console = frame_of(guest);
    EXPECT_TRUE(grant::seed(guest, GrantRef{0}, DomId{0}, Gfn{console.raw()}).ok());
    EXPECT_EQ(grant::seed(guest, GrantRef{8}, DomId{0}, Gfn{1}).error(), Errno::kEINVAL);
    auto m = map_of(0x5000, 1, 0);
    ASSERT_EQ(map(m), GNTST_okay);

    run(guest);
    gnttab_set_version set{3};
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), error(Errno::kEINVAL));
    EXPECT_EQ(set.version, 1u);
    set.version = 2;
    ASSERT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    gnttab_get_version get{};
    get.dom = DOMID_SELF;
    EXPECT_EQ(ops(GNTTABOP_get_version, &get, 1), 0);
    EXPECT_EQ(get.version, 2u);
    EXPECT_EQ(guest.grants->entry_v2(0).full_page.frame, console.raw());
    EXPECT_EQ(guest.grants->entry_v2(0).hdr.flags, GTF_permit_access);
    EXPECT_EQ(guest.grants->status_v2(0), GTF_reading | GTF_writing);

    run(backend);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    EXPECT_EQ(guest.grants->status_v2(0), 0);
    run(guest);
    set.version = 1;
    ASSERT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    EXPECT_EQ(entry(guest, 0).frame, console.raw());
    EXPECT_EQ(entry(guest, 0).flags, GTF_permit_access);
}

TEST_F(GrantTest, VersionCannotChangeUnderAUser) {
    grant(guest, 8, 0, frame_of(guest));
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    run(guest);
    gnttab_set_version set{2};
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), error(Errno::kEBUSY));
    EXPECT_EQ(set.version, 1u);
    run(backend);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    run(guest);
    set.version = 2;
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    Mfn status = *grant::table_frame(guest, 0, true);
    page_info(status)->get_again();  // mapped by the guest
    set.version = 1;
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), error(Errno::kEBUSY));
    page_info(status)->put();
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    DomainConfig old;
    old.grant.max_version = 1;
    run(create(3, old));
    set.version = 2;
    EXPECT_EQ(ops(GNTTABOP_set_version, &set, 1), error(Errno::kENOSYS));
}

TEST_F(GrantTest, VersionTwoKeepsMarksInTheStatusFrames) {
    run(guest);
    gnttab_set_version set{2};
    ASSERT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    uint64_t list[2];
    gnttab_get_status_frames get{};
    get.dom = DOMID_SELF;
    get.nr_frames = 1;
    get.frame_list.p = list;
    EXPECT_EQ(ops(GNTTABOP_get_status_frames, &get, 1), 0);
    EXPECT_EQ(get.status, GNTST_okay);
    auto* status = arch::mfn_to_virt<uint16_t>(Mfn{list[0]});
    get.nr_frames = 2;
    EXPECT_EQ(ops(GNTTABOP_get_status_frames, &get, 1), 0);
    EXPECT_EQ(get.status, GNTST_general_error);

    Mfn frame = frame_of(guest);
    grant_v2(guest, 20, 0, frame);
    run(backend);
    auto m = map_of(0x5000, 1, 20);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(status[20], GTF_reading | GTF_writing);
    EXPECT_EQ(guest.grants->entry_v2(20).hdr.flags, GTF_permit_access);
    EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
    EXPECT_EQ(status[20], 0);
    m = map_of(0x5000, 1, 256);
    EXPECT_EQ(map(m), GNTST_bad_gntref) << "half as many entries in a frame";
    // The same for who looked at the count while the version was 1, and locks the entry now.
    grant::Pin pin;
    EXPECT_EQ(grant::pin_any(*guest.grants, 256, guest.grants->active(256), DomId{0},
                             grant::Access::kRead, grant::Purpose::kCopy, pin),
              GNTST_bad_gntref);

    // A part of a page: may be copied within its bounds, not mapped.
    guest.grants->entry_v2(20).sub_page.page_off = 256;
    guest.grants->entry_v2(20).sub_page.length = 64;
    guest.grants->entry_v2(20).hdr.flags = GTF_permit_access | GTF_sub_page;
    m = map_of(0x5000, 1, 20);
    EXPECT_EQ(map(m), GNTST_general_error);
    Mfn mine = frame_of(backend);
    auto c = copy_of(false, DOMID_SELF, mine.raw(), true, 1, 20, 64);
    c.dest.offset = 256;
    EXPECT_EQ(copy(c), GNTST_okay);
    c.dest.offset = 257;
    EXPECT_EQ(copy(c), GNTST_general_error);
    c.dest.offset = 255;
    EXPECT_EQ(copy(c), GNTST_general_error);
    // The granter's bounds may lead beyond the page; what is copied may not.
    guest.grants->entry_v2(20).sub_page.page_off = kPageSize - 10;
    c.dest.offset = kPageSize - 10;
    c.len = 10;
    EXPECT_EQ(copy(c), GNTST_okay);
    c.len = 11;
    EXPECT_EQ(copy(c), GNTST_bad_copy_arg);
    EXPECT_EQ(status[20], 0);
}

TEST_F(GrantTest, TransitiveGrantIsFollowedOneStep) {
    Domain& middle = create(2);
    for (Domain* domain : {&guest, &middle}) {
        run(*domain);
        gnttab_set_version set{2};
        ASSERT_EQ(ops(GNTTABOP_set_version, &set, 1), 0);
    }
    // The guest grants to the middle, and the middle passes it on to the backend.
    Mfn frame = frame_of(guest), mine = frame_of(backend);
    grant_v2(guest, 20, 2, frame);
    auto pass_on = [&](Domain& domain, uint32_t ref, domid_t to, domid_t via, uint32_t via_ref) {
        grant_entry_v2& e = domain.grants->entry_v2(ref);
        e.transitive.trans_domid = via;
        e.transitive.gref = via_ref;
        e.hdr.domid = to;
        e.hdr.flags = GTF_transitive;
    };
    pass_on(middle, 30, 0, 1, 20);
    strcpy(bytes(frame), "xenolith");
    run(backend);
    auto c = copy_of(true, 2, 30, false, DOMID_SELF, mine.raw(), 9);
    EXPECT_EQ(copy(c), GNTST_okay);
    EXPECT_STREQ(bytes(mine), "xenolith");
    EXPECT_EQ(guest.grants->status_v2(20) | middle.grants->status_v2(30), 0);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);
    gnttab_copy twice[] = {c, c};
    ASSERT_EQ(ops(GNTTABOP_copy, twice, 2), 0);
    EXPECT_EQ(twice[0].status | twice[1].status, GNTST_okay);
    EXPECT_EQ(guest.grants->status_v2(20) | middle.grants->status_v2(30), 0);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);

    auto direct = copy_of(true, 1, 20, false, DOMID_SELF, mine.raw(), 9);
    EXPECT_EQ(copy(direct), GNTST_general_error) << "only by way of the middle";
    auto m = map_of(0x5000, 2, 30);
    EXPECT_EQ(map(m), GNTST_general_error) << "cannot be mapped";
    pass_on(middle, 30, 0, 2, 31);
    EXPECT_EQ(copy(c), GNTST_general_error) << "leads back to itself";
    pass_on(middle, 30, 0, 9, 31);
    EXPECT_EQ(copy(c), GNTST_general_error) << "leads nowhere";
    pass_on(middle, 30, 0, 1, 21);
    pass_on(guest, 21, 2, 0, 8);
    EXPECT_EQ(copy(c), GNTST_general_error) << "two steps";
    EXPECT_EQ(middle.grants->status_v2(30), 0);
    EXPECT_FALSE(middle.grants->active(30).pinned());
}

TEST_F(GrantTest, TransferGivesAFrameAway) {
    Mfn gift = frame_of(backend);
    strcpy(bytes(gift), "gift");
    auto expect = [&](domid_t from) {
        entry(guest, 8).domid = from;
        entry(guest, 8).frame = 0x77;
        entry(guest, 8).flags = GTF_accept_transfer;
    };
    auto transfer = [&](Mfn mfn, domid_t to, uint32_t ref) {
        gnttab_transfer arg{mfn.raw(), to, ref, 77};
        EXPECT_EQ(ops(GNTTABOP_transfer, &arg, 1), 0);
        return int{arg.status};
    };
    expect(0);
    EXPECT_EQ(transfer(gift, 1, 8), GNTST_okay);
    EXPECT_EQ(entry(guest, 8).flags,
              GTF_accept_transfer | GTF_transfer_committed | GTF_transfer_completed);
    EXPECT_EQ(entry(guest, 8).frame, gift.raw());
    EXPECT_TRUE(page_info(gift)->owned_by(guest.id));
    EXPECT_EQ(machine_.m2p[gift.raw()], 0x77u);
    EXPECT_STREQ(bytes(gift), "gift");
    EXPECT_EQ(machine_.flushes, 1u);

    EXPECT_EQ(transfer(gift, 1, 8), GNTST_bad_page) << "no longer its own";
    EXPECT_EQ(transfer(kInvalidMfn, 1, 8), GNTST_bad_page);
    Mfn used = frame_of(backend);
    page_info(used)->get_again();
    EXPECT_EQ(transfer(used, 1, 8), GNTST_bad_page) << "mapped somewhere";
    page_info(used)->put();
    // From here on the frame is lost, but to nobody.
    size_t before = machine_.frames_in_use;
    EXPECT_EQ(transfer(used, 1, 8), GNTST_general_error) << "the entry has been served";
    EXPECT_EQ(transfer(frame_of(backend), 1, 4000), GNTST_general_error);
    EXPECT_EQ(transfer(frame_of(backend), 9, 8), GNTST_bad_domain);
    expect(2);
    EXPECT_EQ(transfer(frame_of(backend), 1, 8), GNTST_general_error) << "expected of another";
    EXPECT_EQ(entry(guest, 8).flags, GTF_accept_transfer);
    expect(0);
    guest.dying = Dying::kDying;
    EXPECT_EQ(transfer(frame_of(backend), 1, 8), GNTST_general_error);
    EXPECT_EQ(entry(guest, 8).flags, GTF_accept_transfer) << "no longer committed";
    guest.dying = Dying::kAlive;
    EXPECT_EQ(machine_.frames_in_use, before - 1);
}

TEST_F(GrantTest, CacheFlushReachesWhatTheCallerMayUse) {
    Mfn mine = frame_of(backend), theirs = frame_of(guest);
    auto flush = [&](Mfn mfn, uint16_t offset, uint16_t length, uint32_t operation) {
        gnttab_cache_flush arg{};
        arg.a.dev_bus_addr = address_of(mfn);
        arg.offset = offset;
        arg.length = length;
        arg.op = operation;
        return ops(GNTTABOP_cache_flush, &arg, 1);
    };
    constexpr uint32_t kBoth = GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL;
    EXPECT_EQ(flush(mine, 64, 128, kBoth), 0);
    EXPECT_EQ(machine_.flushed_lines.back(), std::pair(address_of(mine) + 64, size_t{128}));
    EXPECT_EQ(flush(mine, 0, 4096, GNTTAB_CACHE_CLEAN), 0);
    EXPECT_EQ(flush(mine, 1, 4096, GNTTAB_CACHE_CLEAN), error(Errno::kEINVAL));
    EXPECT_EQ(flush(mine, 4096, 0, GNTTAB_CACHE_CLEAN), error(Errno::kEINVAL));
    EXPECT_EQ(flush(mine, 0, 64, 4), error(Errno::kEINVAL));
    EXPECT_EQ(flush(mine, 0, 64, GNTTAB_CACHE_INVAL), error(Errno::kEOPNOTSUPP));
    EXPECT_EQ(flush(mine, 0, 0, GNTTAB_CACHE_CLEAN), 0);
    EXPECT_EQ(flush(theirs, 0, 64, kBoth), error(Errno::kEINVAL)) << "not granted";
    EXPECT_EQ(flush(kInvalidMfn, 0, 64, kBoth), error(Errno::kEINVAL));
    EXPECT_EQ(flush(Mfn{machine_.free_list.back()}, 0, 64, kBoth), error(Errno::kEPERM));
    grant(guest, 8, 0, theirs);
    EXPECT_EQ(flush(theirs, 0, 64, kBoth), error(Errno::kEINVAL)) << "granted, not in use";
    auto m = map_of(0x5000, 1, 8);
    ASSERT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(flush(theirs, 0, 64, kBoth), 0);
    EXPECT_EQ(page_info(theirs)->ref_count(), 2u);
    EXPECT_EQ(machine_.flushed_lines.size(), 3u);
}

TEST_F(GrantTest, SwapExchangesIdleEntries) {
    Mfn a = frame_of(guest), b = frame_of(guest);
    grant(guest, 8, 0, a);
    grant(guest, 9, 0, b, GTF_readonly);
    run(guest);
    gnttab_swap_grant_ref swap{8, 9, 77};
    EXPECT_EQ(ops(GNTTABOP_swap_grant_ref, &swap, 1), 0);
    EXPECT_EQ(swap.status, GNTST_okay);
    EXPECT_EQ(entry(guest, 8).frame, b.raw());
    EXPECT_EQ(entry(guest, 9).flags, GTF_permit_access);
    run(backend);
    auto m = map_of(0x5000, 1, 9);
    ASSERT_EQ(map(m), GNTST_okay);
    run(guest);
    EXPECT_EQ(ops(GNTTABOP_swap_grant_ref, &swap, 1), 0);
    EXPECT_EQ(swap.status, GNTST_eagain);
    swap.ref_a = 512;
    EXPECT_EQ(ops(GNTTABOP_swap_grant_ref, &swap, 1), 0);
    EXPECT_EQ(swap.status, GNTST_bad_gntref);
}

TEST_F(GrantTest, HandlesRunOut) {
    DomainConfig config;
    config.grant.max_maptrack_frames = 1;
    Domain& mapper = create(2, config);
    Mfn frame = frame_of(guest);
    grant(guest, 8, 2, frame);
    run(mapper);
    std::vector<uint32_t> handles;
    for (uint32_t i = 0; i < grant::Maptrack::kPerFrame; ++i) {
        auto m = map_of(0x100000 + i * 0x1000, 1, 8);
        ASSERT_EQ(map(m), GNTST_okay);
        handles.push_back(m.handle);
    }
    auto m = map_of(0x5000, 1, 8);
    EXPECT_EQ(map(m), GNTST_no_space);
    EXPECT_EQ(unmap(handles[7], 0x100000 + 7 * 0x1000), GNTST_okay);
    EXPECT_EQ(map(m), GNTST_okay);
    EXPECT_EQ(m.handle, handles[7]);
    grant::dump(guest);
    EXPECT_GE(machine_.log.size(), 2u);
}

TEST_F(GrantTest, LimitsAreChecked) {
    auto refused = [&](grant::Limits limits) {
        Domain& domain = *machine_.domains[1];
        GrantTable* kept = std::exchange(domain.grants, nullptr);
        Result<> made = grant::init_domain(domain, limits);
        if (made) grant::destroy_domain(domain);
        domain.grants = kept;
        return !made;
    };
    EXPECT_TRUE(refused({65, 1024, 2}));
    EXPECT_TRUE(refused({64, 1025, 2}));
    EXPECT_TRUE(refused({64, 1024, 3}));
    EXPECT_TRUE(refused({64, 1024, 0}));
    EXPECT_TRUE(refused({0, 1024, 1}));
    EXPECT_FALSE(refused({~0u, ~0u, 1})) << "the defaults";
}

/// Every allocation failing in turn: an error each time, and nothing is left behind.
TEST_F(GrantTest, EveryAllocationMayFail) {
    Mfn frame = frame_of(guest);
    grant(guest, 8, 0, frame);
    for (unsigned n = 1;; ++n) {
        machine_.fail_allocation = n;
        auto m = map_of(0x5000, 1, 8);
        int status = map(m);
        if (status == GNTST_okay) {
            EXPECT_EQ(unmap(m.handle, 0x5000), GNTST_okay);
            break;
        }
        EXPECT_EQ(status, GNTST_no_space);
        EXPECT_EQ(page_info(frame)->ref_count(), 1u);
    }
    machine_.fail_allocation = 0;
    run(guest);
    uint64_t frames[64];
    gnttab_setup_table setup{};
    setup.dom = DOMID_SELF;
    setup.nr_frames = 3;
    setup.frame_list.p = frames;
    for (unsigned n = 1; setup.nr_frames < 60; ++n) {
        machine_.fail_allocation = n;
        EXPECT_EQ(ops(GNTTABOP_setup_table, &setup, 1), 0);
        if (setup.status == GNTST_okay) setup.nr_frames += 3;
    }
    for (unsigned n = 1; n < 10; ++n) {
        machine_.fail_allocation = n;
        gnttab_set_version set{2};
        int64_t result = ops(GNTTABOP_set_version, &set, 1);
        EXPECT_TRUE(result == 0 || result == error(Errno::kENOMEM));
    }
    machine_.fail_allocation = 0;
    auto failing_init = [&](unsigned n) {
        GrantTable* kept = std::exchange(guest.grants, nullptr);
        machine_.fail_allocation = n;
        Result<> made = grant::init_domain(guest, {64, 1024, 2});
        if (made) grant::destroy_domain(guest);
        guest.grants = kept;
        return !made;
    };
    unsigned n = 1;
    while (failing_init(n)) ++n;
    EXPECT_GT(n, 5u);
    machine_.fail_allocation = 0;
}

/// Random maps, unmaps, revocations and copies; the marks always say what is in use.
TEST_F(GrantTest, RandomUseFollowsTheModel) {
    struct Use {
        uint32_t ref;
        uint64_t address;
        bool read_only;
    };
    constexpr uint32_t kRefs = 6;
    std::map<uint32_t, Use> uses;  // by handle
    Mfn frames[kRefs];
    for (uint32_t i = 0; i < kRefs; ++i) {
        frames[i] = frame_of(guest);
        grant(guest, 8 + i, 0, frames[i]);
    }
    Mfn mine = frame_of(backend);
    uint32_t seed = 7;
    auto random = [&](uint32_t n) { return (seed = seed * 1664525 + 1013904223) / 65536 % n; };
    auto check = [&] {
        for (uint32_t i = 0; i < kRefs; ++i) {
            uint32_t readers = 0, writers = 0;
            for (auto& [handle, use] : uses)
                if (use.ref == 8 + i) ++(use.read_only ? readers : writers);
            uint32_t marks = entry(guest, 8 + i).flags & (GTF_reading | GTF_writing);
            ASSERT_EQ(marks, (readers + writers ? GTF_reading : 0) | (writers ? GTF_writing : 0));
            ASSERT_EQ(page_info(frames[i])->ref_count(), 1 + readers + writers);
            ASSERT_EQ(page_info(frames[i])->type_count(), writers);
        }
        ASSERT_EQ(machine_.ptes.size(), uses.size());
        ASSERT_EQ(guest.grants->mapped_handles, uses.size());
    };
    uint64_t next_address = 0x100000;
    for (int step = 0; step < 5000; ++step) {
        uint32_t ref = 8 + random(kRefs);
        bool permitted = entry(guest, ref).flags & GTF_permit_access;
        switch (random(4)) {
            case 0: {
                bool read_only = random(2);
                auto m = map_of(next_address += 0x1000, 1, ref,
                                GNTMAP_host_map | (read_only ? GNTMAP_readonly : 0));
                uint32_t marks = entry(guest, ref).flags;
                // A use that adds to what is marked already needs no permission anew.
                bool granted = permitted || (marks & (read_only ? GTF_reading : GTF_writing));
                ASSERT_EQ(map(m), granted ? GNTST_okay : GNTST_general_error);
                if (granted) uses[m.handle] = {ref, m.host_addr, read_only};
                break;
            }
            case 1: {
                if (uses.empty()) break;
                auto use = uses.begin();
                std::advance(use, random(static_cast<uint32_t>(uses.size())));
                ASSERT_EQ(unmap(use->first, use->second.address), GNTST_okay);
                uses.erase(use);
                break;
            }
            case 2:
                entry(guest, ref).flags ^= GTF_permit_access;
                break;
            case 3: {
                auto c = copy_of(true, 1, ref, false, DOMID_SELF, mine.raw(), 8);
                bool granted = permitted || (entry(guest, ref).flags & GTF_reading);
                ASSERT_EQ(copy(c), granted ? GNTST_okay : GNTST_general_error);
                break;
            }
        }
        check();
    }
}

}  // namespace
}  // namespace hv
