// Grants that two vCPUs use at once.
#include "grants.hpp"
#include "platform.hpp"
#include "test.hpp"

namespace guest {

namespace {

constexpr grant_ref_t kShared = 200;        // an entry that both use
constexpr grant_ref_t kOwn[] = {208, 209};  // and one for each, side by side in memory
constexpr unsigned kTurns = 2000;
/// On a busy machine, where one vCPU's thread waits for the other's to run, fewer turns must do.
constexpr uint64_t kLongest = 3'000'000'000;  // ns

/// What a vCPU uses the grants with.
struct User {
    Window window;
    void* target;
};
User users[2];
volatile uint32_t wrong;
volatile bool over;

/// Each grant is begun and ended in all ways, also within each other.
void use(unsigned who) {
    const User& user = users[who];
    const uint64_t end = system_time() + kLongest;
    for (unsigned turn = 0; turn < kTurns && system_time() < end; ++turn) {
        const grant_ref_t ref = turn % 3 ? kShared : kOwn[who];
        const uint32_t readonly = turn & 1 ? unsigned{GNTMAP_readonly} : 0;
        const auto mapped = map_grant(user.window.va(0), ref, GNTMAP_host_map | readonly);
        gnttab_copy_t copy = copy_from_grant(ref, user.target, 8);
        if (mapped.status != GNTST_okay || run_copy(copy) != GNTST_okay ||
            *user.window.at(0) != *static_cast<uint64_t*>(user.target) ||
            unmap_grant(user.window.va(0), mapped.handle) != GNTST_okay)
            wrong = wrong + 1;
    }
}

void set_users_up() {
    for (User& user : users) user = {open_window(), alloc_page()};
    wrong = 0;
    over = false;
}

}  // namespace

TEST(grant_two_vcpus, "grants: two vCPUs map, copy from and unmap the same entry and neighbours",
     "cpus=2;vcpus=2") {
    set_users_up();
    void* pages[] = {alloc_page(), alloc_page(), alloc_page()};
    const grant_ref_t refs[] = {kShared, kOwn[0], kOwn[1]};
    for (unsigned i = 0; i < 3; ++i) {
        *static_cast<uint64_t*>(pages[i]) = 0x1000 + i;
        allow(own_grants()[refs[i]], mfn_of(pages[i]), 0);
    }
    start_second_vcpu([] {
        use(1);
        over = true;
    });
    use(0);
    CHECK(wait_for([] { return over; }, 20'000'000'000));
    CHECK_EQ(wrong, 0);
    for (unsigned i = 0; i < 3; ++i) {
        // Neither a use too many was left, nor one too few: then the marks would be of no use.
        CHECK_EQ(own_grants()[refs[i]].flags, GTF_permit_access);
        const auto mapped = map_grant(users[0].window.va(0), refs[i], GNTMAP_host_map);
        CHECK_EQ(mapped.status, GNTST_okay);
        CHECK_EQ(own_grants()[refs[i]].flags, GTF_permit_access | GTF_reading | GTF_writing);
        CHECK_EQ(unmap_grant(users[0].window.va(0), mapped.handle), GNTST_okay);
        CHECK_EQ(own_grants()[refs[i]].flags, GTF_permit_access);
        own_grants()[refs[i]].flags = 0;
        // And the frame is as free as ever: it may become a table.
        CHECK_EQ(pin(pages[i], 1), 0);
        CHECK_EQ(unpin(pages[i]), 0);
    }
}

TEST(grant_version_two_vcpus, "GNTTABOP set_version while another vCPU uses the grants",
     "cpus=2;vcpus=2;own-boot") {
    set_users_up();
    static void* page;
    page = alloc_page();
    start_second_vcpu([] {
        while (!over) {
            // What a version leaves behind is nothing, so most of these find no grant.
            allow(own_grants()[kShared], mfn_of(page), 0);
            gnttab_copy_t copy = copy_from_grant(kShared, users[1].target, 8);
            const int16_t status = run_copy(copy);
            if (status != GNTST_okay && status != GNTST_general_error &&
                status != GNTST_bad_gntref && status != GNTST_bad_page)
                wrong = wrong + 1;
        }
        over = false;
    });
    unsigned changes = 0;
    const uint64_t end = system_time() + kLongest;
    for (unsigned turn = 0; turn < 400 && (changes < 20 || system_time() < end); ++turn) {
        const long answer = set_grant_version(1 + turn % 2);
        changes += answer == 0;
        CHECK(answer == 0 || answer == -kEBUSY);
    }
    over = true;
    CHECK(wait_for([] { return !over; }));
    CHECK_EQ(wrong, 0);
    CHECK(changes >= 20);
    // Nothing is in use.
    CHECK_EQ(set_grant_version(2), 0);
    CHECK_EQ(set_grant_version(1), 0);
    CHECK_EQ(pin(page, 1), 0);
    CHECK_EQ(unpin(page), 0);
}

}  // namespace guest
