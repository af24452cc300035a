// A domain's life: creation that fails at each step, death in stages, references and the table.
// The rooms that a domain has parts of are fakes that count what they are asked.
#include <gtest/gtest.h>

#include "fake/domain_rooms.hpp"

namespace hv {

namespace {

class DomainTest : public testing::Test {
  protected:
    DomainTest() {
        rooms = &rooms_;
        memory::add_free_range({32 * kMiB, 64 * kMiB});
        free_ = memory::free_pages();
    }
    /// After every test: nothing that a domain ever had is still in use.
    void TearDown() override {
        rooms_.grace();
        EXPECT_EQ(memory::free_pages(), free_);
    }
    DomainRef create(uint16_t id, uint32_t vcpus = 2) {
        DomainConfig config;
        config.max_vcpus = vcpus;
        auto made = Domain::create(DomId{id}, config);
        EXPECT_TRUE(made);
        made->get()->pages.unlocked().max = 100;
        return std::move(*made);
    }
    /// As the control domain does it: again and again, with other things in between.
    unsigned kill(Domain& domain) {
        unsigned rounds = 1;
        for (; *domain.kill(); ++rounds) {
            rooms_.grace();
            EXPECT_LT(rounds, 20u);
        }
        return rounds;
    }

    Rooms rooms_;
    MemoryMachine machine_;
    uint64_t free_;
};

TEST_F(DomainTest, CreatedKilledGone) {
    {
        DomainRef domain = create(5);
        EXPECT_EQ(Domain::find(DomId{5})->get(), domain.get());
        EXPECT_EQ(domain->pause_count, 1u) << "its controller unpauses it";
        EXPECT_NE(domain->shared, nullptr);
        kill(*domain);
        EXPECT_EQ(rooms_.exceptions, 1u);
        EXPECT_TRUE(Domain::find(DomId{5})) << "somebody still holds it";
    }
    EXPECT_EQ(Domain::find(DomId{5}).error(), Errno::kESRCH);
    EXPECT_FALSE(rooms_.has("~arch")) << "not before the grace period";
    rooms_.grace();
    EXPECT_TRUE(rooms_.has("~arch"));
    EXPECT_EQ(rooms_.exceptions, 2u);
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(DomainTest, CreationFailingAnywhereLeavesNothing) {
    for (const char* step : {"sched", "event", "grant", "arch"}) {
        rooms_.fail = step;
        EXPECT_EQ(Domain::create(DomId{5}, {}).error(), Errno::kENOMEM) << step;
        EXPECT_EQ(memory::free_pages(), free_) << step;
        EXPECT_EQ(Domain::find(DomId{5}).error(), Errno::kESRCH);
    }
}

TEST_F(DomainTest, CreationWithoutMemoryLeavesNothing) {
    std::vector<Mfn> held;
    while (auto mfn = memory::alloc_frames(0)) held.push_back(*mfn);
    for (size_t pages = 0;; ++pages) {
        auto made = Domain::create(DomId{5}, {});
        if (made) {
            EXPECT_GT(pages, 0u);
            kill(**made);
            break;
        }
        EXPECT_EQ(made.error(), Errno::kENOMEM);
        EXPECT_EQ(memory::free_pages(), pages);
        memory::free_frames(held.back(), 0);
        held.pop_back();
    }
    rooms_.grace();
    for (Mfn mfn : held) memory::free_frames(mfn, 0);
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(DomainTest, RefusesNonsense) {
    DomainConfig config;
    config.max_vcpus = 0;
    EXPECT_EQ(Domain::create(DomId{5}, config).error(), Errno::kEINVAL);
    config.max_vcpus = kMaxVcpusPerDomain + 1;
    EXPECT_EQ(Domain::create(DomId{5}, config).error(), Errno::kEINVAL);
    EXPECT_EQ(Domain::create(DomId{kFirstReservedDomId}, {}).error(), Errno::kEINVAL);
    EXPECT_EQ(Domain::find(DomId{DOMID_XEN}).error(), Errno::kESRCH);
    DomainRef domain = create(5);
    EXPECT_EQ(Domain::create(DomId{5}, {}).error(), Errno::kEEXIST);
    kill(*domain);
}

TEST_F(DomainTest, VcpusComeAndFail) {
    DomainRef domain = create(5, 40);
    EXPECT_EQ(domain->add_vcpu(VcpuId{40}).error(), Errno::kEINVAL);
    const uint64_t before = memory::free_pages();
    for (const char* step : {"arch vcpu", "sched vcpu"}) {
        rooms_.fail = step;
        EXPECT_EQ(domain->add_vcpu(VcpuId{0}).error(), Errno::kENOMEM);
        EXPECT_EQ(domain->vcpu(0), nullptr);
        EXPECT_EQ(memory::free_pages(), before);
    }
    rooms_.fail.clear();
    Vcpu* v0 = *domain->add_vcpu(VcpuId{0});
    EXPECT_EQ(domain->vcpu(0), v0);
    EXPECT_EQ(domain->add_vcpu(VcpuId{0}).error(), Errno::kEEXIST);
    EXPECT_EQ(v0->info.load(), &domain->shared->vcpu_info[0]);
    Vcpu* v39 = *domain->add_vcpu(VcpuId{39});
    EXPECT_NE(v39->info.load(), nullptr) << "beyond the shared info: somewhere harmless";
    EXPECT_FALSE(v0->runnable());
    v0->pause_flags = 0;
    EXPECT_FALSE(v0->runnable()) << "the domain is paused";
    domain->pause_count = 0;
    EXPECT_TRUE(v0->runnable());
    kill(*domain);
    domain.reset();
    rooms_.grace();
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(DomainTest, EveryStageCanBeInterrupted) {
    for (const char* step : {"close ports", "release grants", "page tables"}) {
        DomainRef domain = create(5);
        ASSERT_TRUE(memory::alloc_domain_frames(*domain, 3));
        rooms_.slow = step;
        rooms_.done.clear();
        EXPECT_GE(kill(*domain), 3u) << "the step, and the wait for readers";
        EXPECT_EQ(domain->dying.load(), Dying::kDead);
        EXPECT_EQ(std::count(rooms_.done.begin(), rooms_.done.end(), step), 2);
        domain.reset();
        rooms_.grace();
        EXPECT_EQ(memory::free_pages(), free_);
    }
}

TEST_F(DomainTest, RegisteredVcpuInfoIsHeldUntilNobodyCanWriteToIt) {
    DomainRef domain = create(5);
    Vcpu* vcpu = *domain->add_vcpu(VcpuId{0});
    const Mfn mfn = *memory::alloc_domain_frames(*domain, 0);
    auto page = WritablePageRef::take(mfn, domain->id);
    vcpu->info_mfn = mfn;
    vcpu->info.store(arch::mfn_to_virt<vcpu_info>(mfn));
    (void)page->release();
    EXPECT_TRUE(*domain->kill()) << "a reader may still be there";
    EXPECT_NE(vcpu->info.load(), arch::mfn_to_virt<vcpu_info>(mfn));
    EXPECT_TRUE(*domain->kill());
    EXPECT_EQ(domain->pages.unlocked().total, 1u);
    rooms_.grace();
    EXPECT_FALSE(*domain->kill());
    EXPECT_EQ(domain->pages.unlocked().total, 0u);
    domain.reset();
    rooms_.grace();
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(DomainTest, ZombieUntilTheLastMappingGoes) {
    DomainRef domain = create(5);
    const Mfn mfn = *memory::alloc_domain_frames(*domain, 0);
    auto mapping = PageRef::take(mfn, domain->id);
    kill(*domain);
    domain.reset();
    rooms_.grace();
    {
        auto zombie = Domain::find(DomId{5});
        ASSERT_TRUE(zombie);
        EXPECT_EQ((*zombie)->dying.load(), Dying::kDead);
        EXPECT_EQ(memory::alloc_domain_frames(**zombie, 0).error(), Errno::kEINVAL);
    }
    *mapping = PageRef{};
    EXPECT_EQ(Domain::find(DomId{5}).error(), Errno::kESRCH);
    rooms_.grace();
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(DomainTest, IdsAreNotReusedAtOnce) {
    const DomId first = *Domain::free_id();
    DomainRef a = create(first.raw());
    const DomId second = *Domain::free_id();
    EXPECT_GT(second, first);
    kill(*a);
    a.reset();
    EXPECT_GT(*Domain::free_id(), second);
    rooms_.grace();
}

TEST_F(DomainTest, WalkIsInOrderOfId) {
    std::vector<DomainRef> domains;
    for (uint16_t id : {300, 2, 64, 63}) domains.push_back(create(id));
    std::vector<uint16_t> seen;
    Domain::for_each([&](Domain& d) { return seen.push_back(d.id.raw()), true; });
    EXPECT_EQ(seen, (std::vector<uint16_t>{2, 63, 64, 300}));
    EXPECT_EQ(Domain::next_from(DomId{65})->id, DomId{300});
    EXPECT_FALSE(Domain::next_from(DomId{301}));
    for (DomainRef& domain : domains) kill(*domain), domain.reset();
    rooms_.grace();
}

TEST_F(DomainTest, ShutdownTellsAndResumeUndoes) {
    DomainRef domain = create(5);
    domain->shutdown(SHUTDOWN_suspend);
    EXPECT_TRUE(domain->is_shut_down);
    EXPECT_EQ(domain->shutdown_code, SHUTDOWN_suspend);
    EXPECT_EQ(domain->pause_count, 2u);
    EXPECT_EQ(rooms_.exceptions, 1u);
    domain->crash("again");
    EXPECT_EQ(domain->shutdown_code, SHUTDOWN_suspend) << "the first reason stays";
    domain->resume();
    EXPECT_FALSE(domain->is_shut_down);
    EXPECT_EQ(domain->pause_count, 1u);
    domain->resume();
    EXPECT_EQ(domain->pause_count, 1u);
    kill(*domain);
    domain.reset();
    rooms_.grace();
}

TEST_F(DomainTest, Domain0TakesTheMachineAlong) {
    DomainConfig config;
    config.hardware = true;
    DomainRef domain = Domain::create(DomId{0}, config).value();
    EXPECT_EQ(Domain::hardware(), domain.get());
    EXPECT_EQ(domain->kill().error(), Errno::kEINVAL);
    for (uint8_t reason : {SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_crash})
        EXPECT_THROW(domain->shutdown(reason), MachineEnd);
    while (domain->references > 1) domain->put();  // as if nobody needed it any more
}

}  // namespace
}  // namespace hv
