// Interrupt lines, vectors and PIRQs over a recording machine.
#include "fake/interrupt_machine.hpp"

#include <gtest/gtest.h>

#include <set>

#include "arch/irq.hpp"

namespace hv::irq {
namespace {

using Steps = std::vector<std::string>;

struct IrqTest : testing::Test {
    static void SetUpTestSuite() {
        // As QEMU's q35 tells it: ISA 0 at pin 2, the SCI a level.
        machine.acpi.overrides.add({0, 2, acpi::Trigger::kBusDefault, acpi::Polarity::kBusDefault});
        machine.acpi.overrides.add({9, 9, acpi::Trigger::kLevel, acpi::Polarity::kHigh});
        irq::init();
    }
    IrqTest() : domain(static_cast<Domain*>(std::calloc(1, sizeof(Domain)))) {
        EXPECT_TRUE(create_pirqs(*domain));
        vcpu.cpu.store(1);
        machine.steps.clear();
        machine.sent.clear();
    }
    ~IrqTest() override {
        destroy_pirqs(*domain);
        machine.end_grace_period();
        EXPECT_EQ(machine.heap_objects, before);
        std::free(domain);
    }
    size_t before = machine.heap_objects;
    Domain* domain;
    Vcpu vcpu{*domain, VcpuId{0}};

    Pirq map(uint32_t number) {
        const Result<Pirq> pirq = map_pin(*domain, number, static_cast<int>(number));
        EXPECT_TRUE(pirq);
        return *pirq;
    }
    void bind(Pirq pirq) { EXPECT_TRUE(arch::pirq_bind(*domain, pirq, vcpu, true)); }
    void fire(uint32_t gsi) { hv_interrupt(machine.pins[gsi].route.vector); }
};

TEST_F(IrqTest, LevelIsMaskedBeforeItsEoiAndUntilTheGuests) {
    bind(map(20));
    machine.steps.clear();
    fire(20);
    EXPECT_EQ(machine.steps, (Steps{"mask 20", "eoi", "send 20"}));
    EXPECT_TRUE(machine.pins[20].masked);
    EXPECT_TRUE(pirq_eoi(*domain, Pirq{20}));
    EXPECT_FALSE(machine.pins[20].masked);
}

TEST_F(IrqTest, GuestEoiOutOfTurnDoesNothing) {
    bind(map(20));
    machine.steps.clear();
    EXPECT_TRUE(pirq_eoi(*domain, Pirq{20}));
    EXPECT_TRUE(machine.steps.empty());
    EXPECT_EQ(pirq_eoi(*domain, Pirq{21}).error(), Errno::kEINVAL);
    EXPECT_EQ(pirq_eoi(*domain, Pirq{1u << 31}).error(), Errno::kEINVAL);
}

TEST_F(IrqTest, EdgeIsAcknowledgedAtOnce) {
    bind(map(1));
    machine.steps.clear();
    fire(1);
    fire(1);
    EXPECT_EQ(machine.steps, (Steps{"eoi", "send 1", "eoi", "send 1"}));
}

TEST_F(IrqTest, FirmwareSaysHowIsaPinsAre) {
    bind(map(9));
    bind(map(4));
    bind(map(18));
    EXPECT_TRUE(machine.pins[9].route.level);
    EXPECT_FALSE(machine.pins[9].route.active_low);
    EXPECT_FALSE(machine.pins[4].route.level);
    EXPECT_TRUE(machine.pins[18].route.level);
    EXPECT_TRUE(machine.pins[18].route.active_low);
    EXPECT_EQ(machine.pins[18].route.apic_id, 2);  // of the vCPU's CPU
}

TEST_F(IrqTest, TheTimersLineIsNotForGuestsAndIsa2HasNoPin) {
    EXPECT_EQ(map_pin(*domain, 0, 0).error(), Errno::kEPERM);
    const Pirq pirq = map(2);
    EXPECT_FALSE(arch::pirq_bind(*domain, pirq, vcpu, true));
}

TEST_F(IrqTest, LinuxMapsAllIsaNumbersAtOnce) {
    for (uint32_t i = 1; i < 16; ++i) EXPECT_EQ(map(i).raw(), i);
}

TEST_F(IrqTest, MappingKeepsNumbersApart) {
    map(16);
    EXPECT_EQ(map_pin(*domain, 16, kAnyPirq)->raw(), 16u);
    EXPECT_EQ(map_pin(*domain, 16, 17).error(), Errno::kEEXIST);
    EXPECT_EQ(map_pin(*domain, 24, kAnyPirq).error(), Errno::kEINVAL);
    EXPECT_EQ(map_pin(*domain, 17, kAnyPirq)->raw(), 17u);
    EXPECT_TRUE(unmap_pirq(*domain, Pirq{16}));
    EXPECT_EQ(unmap_pirq(*domain, Pirq{16}).error(), Errno::kEINVAL);
}

TEST_F(IrqTest, FreeNumbersAreFromTheTopForMessages) {
    EXPECT_EQ(reserve_pirq(*domain, false)->raw(), arch::kMaxPirqs - 1);
    EXPECT_EQ(map_message(*domain, Msi{}, kAnyPirq)->raw(), arch::kMaxPirqs - 2);
    EXPECT_EQ(reserve_pirq(*domain, true)->raw(), 16u);
}

TEST_F(IrqTest, OneConsumerForALine) {
    const Pirq pirq = map(19);
    ASSERT_TRUE(bind_handler(
        *line_of(19), [](void*) {}, nullptr));
    EXPECT_EQ(arch::pirq_bind(*domain, pirq, vcpu, true).error(), Errno::kEPERM);
    unbind_handler(*line_of(19));
    line_of(19)->reserved = false;
    bind(pirq);
    EXPECT_EQ(arch::pirq_bind(*domain, pirq, vcpu, true).error(), Errno::kEINVAL);
    EXPECT_EQ(bind_handler(
                  *line_of(19), [](void*) {}, nullptr)
                  .error(),
              Errno::kEBUSY);
}

TEST_F(IrqTest, AHandlersLevelLineGoesOnByItself) {
    static unsigned calls;
    calls = 0;
    ASSERT_TRUE(bind_handler(
        *line_of(22), [](void*) { ++calls; }, nullptr));
    fire(22);
    EXPECT_EQ(calls, 1u);
    EXPECT_FALSE(machine.pins[22].masked);
    unbind_handler(*line_of(22));
    line_of(22)->reserved = false;
}

TEST_F(IrqTest, UnbindingEndsWhatIsInFlight) {
    const Pirq pirq = map(20);
    bind(pirq);
    const uint8_t vector = machine.pins[20].route.vector;
    fire(20);
    arch::pirq_unbind(*domain, pirq);
    EXPECT_TRUE(machine.pins[20].masked);
    machine.steps.clear();
    hv_interrupt(vector);  // one that was on its way
    EXPECT_EQ(machine.steps, Steps{"eoi"});
    bind(pirq);
    EXPECT_FALSE(machine.pins[20].masked);
    arch::pirq_unbind(*domain, pirq);
    arch::pirq_unbind(*domain, pirq);  // twice does no harm
}

TEST_F(IrqTest, StormIsThrottledAndEnds) {
    bind(map(1));
    for (unsigned i = 0; i < kStormLimit + 600; ++i) fire(1);
    EXPECT_TRUE(machine.pins[1].masked);
    machine.run_until(machine.now + kStormWindow);
    EXPECT_FALSE(machine.pins[1].masked);
}

TEST_F(IrqTest, ManyInterruptsOverTimeAreNoStorm) {
    bind(map(1));
    for (unsigned i = 0; i < 3 * kStormLimit; ++i) {
        machine.now += kStormWindow / 5000;
        fire(1);
    }
    EXPECT_FALSE(machine.pins[1].masked);
}

TEST_F(IrqTest, ThrottledLevelWaitsForBothTimerAndGuest) {
    bind(map(20));
    for (unsigned i = 0; i < kStormLimit + 600 && !line_of(20)->throttled; ++i) {
        fire(20);
        (void)pirq_eoi(*domain, Pirq{20});
    }
    ASSERT_TRUE(line_of(20)->throttled);
    EXPECT_TRUE(machine.pins[20].masked);  // the guest's EOI alone does not free it
    machine.run_until(machine.now + kStormWindow);
    EXPECT_FALSE(machine.pins[20].masked);
}

TEST_F(IrqTest, SetupGsiCountsOnceAndNotInUse) {
    EXPECT_TRUE(configure(*line_of(23), false, false));
    EXPECT_EQ(configure(*line_of(23), true, true).error(), Errno::kEEXIST);
    bind(map(23));
    EXPECT_FALSE(machine.pins[23].route.level);
    bind(map(17));
    EXPECT_EQ(configure(*line_of(17), false, false).error(), Errno::kEEXIST);
    EXPECT_EQ(configure(*line_of(2), false, false).error(), Errno::kENODEV);
}

TEST_F(IrqTest, MessagesGoOutAndAway) {
    Msi msi;
    msi.maskable = true;
    const Pirq pirq = *map_message(*domain, msi, kAnyPirq);
    EXPECT_EQ(map_message(*domain, msi, kAnyPirq).error(), Errno::kEEXIST);
    bind(pirq);
    EXPECT_FALSE(machine.message_masked);
    EXPECT_TRUE(machine.messages_on);
    machine.steps.clear();
    hv_interrupt(machine.message.vector);
    EXPECT_EQ(machine.steps, (Steps{"eoi", "send " + std::to_string(pirq.raw())}));
    vcpu.cpu.store(0);
    arch::pirq_set_vcpu(*domain, pirq, vcpu);
    EXPECT_EQ(machine.message.apic_id, 0);
    EXPECT_FALSE(machine.message_masked);
    EXPECT_TRUE(unmap_pirq(*domain, pirq));
    EXPECT_FALSE(machine.messages_on);
    EXPECT_EQ(machine.grace.size(), 1u);
    arch::pirq_unbind(*domain, pirq);  // the port closes later
}

TEST_F(IrqTest, NoVectorTwiceAndNoneOfTheGuests) {
    std::set<uint8_t> seen;
    std::vector<Pirq> pirqs;
    for (uint16_t i = 0; i < 300; ++i) {
        Msi msi;
        msi.entry = i;
        pirqs.push_back(*map_message(*domain, msi, kAnyPirq));
        const Result<> bound = arch::pirq_bind(*domain, pirqs.back(), vcpu, false);
        if (!bound) {
            EXPECT_EQ(bound.error(), Errno::kENOSPC);
            break;
        }
        EXPECT_TRUE(seen.insert(machine.message.vector).second);
        EXPECT_GE(machine.message.vector, kVectorDeviceFirst);
        EXPECT_LE(machine.message.vector, kVectorDeviceLast);
    }
    EXPECT_EQ(seen.size(), size_t{kVectorDeviceLast - kVectorDeviceFirst + 1 - 2});
    EXPECT_FALSE(seen.contains(0x80) || seen.contains(0x82));
    arch::pirq_unbind(*domain, pirqs[0]);
    EXPECT_TRUE(arch::pirq_bind(*domain, pirqs.back(), vcpu, false));
}

TEST_F(IrqTest, TheEoiMapSaysWhatNeedsAnEoi) {
    std::vector<std::atomic<uint64_t>> page(kPageSize / 8);
    domain->arch.pirqs->eoi_map = page.data();
    bind(map(20));
    bind(map(1));
    EXPECT_EQ(page[0].load(), uint64_t{1} << 20);
    arch::pirq_unbind(*domain, Pirq{20});
    EXPECT_EQ(page[0].load(), 0u);
    domain->arch.pirqs->eoi_map = nullptr;
}

TEST_F(IrqTest, SpuriousInterruptsWantNoEoi) {
    hv_interrupt(kVectorSpurious);
    hv_interrupt(kVectorPicFirst + 7);
    EXPECT_TRUE(machine.steps.empty());
}

}  // namespace
}  // namespace hv::irq
