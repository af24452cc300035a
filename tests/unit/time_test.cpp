// The clock: conversions, the correction of its rate, what guests see of it, and the RTC.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/time.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/time/clock.hpp"
#include "hv/x86/time/discipline.hpp"
#include "hv/x86/time/rtc.hpp"
#include "hv/x86/time/time.hpp"
#include "hv/x86/time/tsc.hpp"

namespace hv {
namespace {

uint64_t fake_tsc;
Vcpu* fake_current;
bool fake_stable;
unsigned odd_stores;  // of vcpu_time_info's version, as the guest's other vCPUs would see them

}  // namespace

namespace time {
uint64_t read_tsc() {
    return fake_tsc;
}
bool tsc_is_stable() {
    return fake_stable;
}
}  // namespace time

namespace arch {
Vcpu& current() {
    return *fake_current;
}
Result<> copy_from_guest(void* to, uint64_t from, size_t bytes) {
    if (from < kPageSize) return Errno::kEFAULT;
    memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t to, const void* from, size_t bytes) {
    if (to < kPageSize) return Errno::kEFAULT;
    memcpy(reinterpret_cast<void*>(to), from, bytes);
    if (bytes == sizeof(uint32_t)) {
        uint32_t version;
        memcpy(&version, from, bytes);
        odd_stores += version & 1;
    }
    return {};
}
}  // namespace arch

namespace heap {
void release(void*) {}  // the domains here have no arrays
}  // namespace heap

namespace {

/// As the ABI's comment tells guests to compute it.
uint64_t guest_clock(const vcpu_time_info& info, uint64_t tsc) {
    uint64_t delta = tsc - info.tsc_timestamp;
    delta = info.tsc_shift >= 0 ? delta << info.tsc_shift : delta >> -info.tsc_shift;
    return info.system_time +
           static_cast<uint64_t>((static_cast<unsigned __int128>(delta) * info.tsc_to_system_mul) >>
                                 32);
}

TEST(Scale, IsWithinAPartInABillionAtAnyFrequency) {
    for (const uint64_t hz :
         {1'000'000ull, 33'000'000ull, 500'000'000ull, 999'999'999ull, 1'000'000'000ull,
          1'000'000'001ull, 2'400'000'000ull, 3'579'545'123ull, 9'999'999'999ull}) {
        const auto rate = time::Rate::of(1'000'000'000, hz);
        const auto scale = time::Scale::of(rate);
        EXPECT_GE(scale.mul, 1u << 31) << hz;
        for (const uint64_t seconds : {1ull, 60ull, 3600ull}) {
            const double wanted = 1e9 * static_cast<double>(seconds);
            const double got = static_cast<double>(scale.to_ns(hz * seconds));
            EXPECT_LT(std::abs(got - wanted), wanted * 0.5e-9 + 1.5) << hz;
        }
        EXPECT_NEAR(static_cast<double>(rate.hz()), static_cast<double>(hz), 1 + hz * 1e-9);
    }
}

TEST(Rate, AdjustsAndCompares) {
    const auto rate = time::Rate::of(1'000'000'000, 2'000'000'000);
    for (const int64_t ppb : {0, 1, 1000, -1000, 50'000, -50'000, 900'000'000})
        EXPECT_NEAR(static_cast<double>(rate.adjusted(ppb).ppb_above(rate)),
                    static_cast<double>(ppb), 1);
}

TEST(Sample, TakesTheReadingThatWasLeastDisturbed) {
    uint64_t tsc = 0;
    unsigned turn = 0;
    const auto sample = time::take_sample(
        [&] {
            tsc += ++turn == 3 ? 10 : 1000;
            return uint64_t{turn};
        },
        [&] { return tsc; }, 6);
    EXPECT_EQ(sample.count, 3u);
    EXPECT_EQ(sample.tsc, 2005u);
}

/// A TSC of `hz` and an HPET that is right, with readings that are late by up to a few us.
struct Machine {
    double hz;
    unsigned bits = 32;
    double hpet_hz = 100e6;
    std::mt19937 random{5};
    double t = 0.5;  // true time, in seconds

    time::PlatformTimer timer() const {
        return {"test", bits, static_cast<uint64_t>(1e15 / hpet_hz), 1'000'000, nullptr};
    }
    uint64_t tsc_at(double s) const { return static_cast<uint64_t>(s * hz); }
    time::Sample sample() {
        const double late = 3e-6 * (random() % 1000) / 1000.0;
        const auto ticks = static_cast<uint64_t>((t + late) * hpet_hz);
        return {tsc_at(t), ticks & timer().mask()};
    }
};

class DisciplineOf : public testing::TestWithParam<double> {};

TEST_P(DisciplineOf, FollowsThePlatformTimer) {
    const double first_error = GetParam();  // of the first calibration
    Machine m{.hz = 2'500'000'123.0};
    const auto wrong_hz = static_cast<uint64_t>(m.hz * (1 + first_error));
    const auto wrong = time::Rate::of(1'000'000'000, wrong_hz);
    const auto first = m.sample();
    time::start_clock(first.tsc, wrong);
    time::Discipline discipline(m.timer(), first, wrong);
    const auto clock = [&](double s) {
        uint64_t version;
        return static_cast<Nanoseconds>(time::current_line(version).at(m.tsc_at(s)));
    };
    m.t += 4.2;  // the rest of boot
    double synchronised_at = 0;
    Nanoseconds synchronised_ns = 0, last = 0;
    for (int second = 0; second < 400; ++second) {
        const auto s = m.sample();
        const auto before = time::current_rate();
        const auto after = discipline.feed(s, clock(m.t));
        if (second) {
            EXPECT_LE(std::abs(after.ppb_above(before)), time::Discipline::kLargestStep + 1);
        }
        time::bend(m.tsc_at(m.t), after);
        if (second == 0) {
            synchronised_at = m.t;
            synchronised_ns = clock(m.t);
        }
        // Monotonic across the bend, and as far from the truth as is allowed.
        EXPECT_GE(clock(m.t), last);
        const double truth = (m.t - synchronised_at) * 1e9;
        const double error = static_cast<double>(clock(m.t) - synchronised_ns) - truth;
        EXPECT_LT(std::abs(error), 50e-6 * truth + 10'000) << second;
        if (second > 60) {
            EXPECT_LT(std::abs(error), 10'000) << second;
        }
        const double truth_rate = 1e9 / m.hz;
        const double rate = static_cast<double>(after.raw) / std::exp2(time::Rate::kShift);
        if (second > 60) {
            EXPECT_LT(std::abs(rate / truth_rate - 1), 1e-6) << second;
        }
        m.t += 1;
        last = clock(m.t);
    }
}
INSTANTIATE_TEST_SUITE_P(FirstErrors, DisciplineOf,
                         testing::Values(0.0, 20e-6, -20e-6, 300e-6, -300e-6));

TEST(Discipline, UnwrapsANarrowCounterOverLongGaps) {
    Machine m{.hz = 1e9, .bits = 24, .hpet_hz = 3'579'545};
    const auto rate = time::Rate::of(1'000'000'000, 1'000'100'000);  // 100 ppm off
    time::PlatformTimer timer{"ACPI timer", 24, 1'000'000'000, 3'579'545, nullptr};
    time::Discipline discipline(timer, m.sample(), rate);
    m.t += 47;  // ten times around
    const auto after = discipline.feed(m.sample(), kSecond);
    EXPECT_LT(std::abs(after.ppb_above(time::Rate::of(1'000'000'000, 1'000'000'000))), 200);
}

TEST(Clock, IsTheSameForGuestsByPvclock) {
    Domain domain;
    auto vcpu = std::make_unique<Vcpu>(domain, VcpuId{0});
    fake_current = vcpu.get();
    vcpu_info info{};
    info.time.version = 8;
    vcpu_time_info registered{};
    vcpu->info = &info;
    vcpu->time_guest = reinterpret_cast<uint64_t>(&registered);

    fake_stable = true;
    fake_tsc = 1'000'000;
    time::start_clock(fake_tsc, time::Rate::of(1'000'000'000, 2'893'202'000));
    odd_stores = 0;
    arch::update_vcpu_time(*vcpu);
    EXPECT_EQ(info.time.version, 10u);
    EXPECT_EQ(registered.version, 2u);
    EXPECT_EQ(odd_stores, 1u);
    EXPECT_EQ(info.time.flags, XEN_PVCLOCK_TSC_STABLE_BIT);
    std::mt19937_64 random(1);
    for (int i = 0; i < 1000; ++i) {
        fake_tsc += random() % 10'000'000'000;
        ASSERT_EQ(guest_clock(info.time, fake_tsc), static_cast<uint64_t>(arch::now()));
        ASSERT_EQ(guest_clock(registered, fake_tsc), static_cast<uint64_t>(arch::now()));
    }
    // Nothing new: nothing written. Bent: written again, and continuous.
    arch::update_vcpu_time(*vcpu);
    EXPECT_EQ(info.time.version, 10u);
    const Nanoseconds before = arch::now();
    time::bend(fake_tsc, time::current_rate().adjusted(9000));
    EXPECT_EQ(arch::now(), before);
    fake_stable = false;
    arch::update_vcpu_time(*vcpu);
    EXPECT_EQ(info.time.version, 12u);
    EXPECT_EQ(info.time.flags, 0);
    fake_tsc += 3'000'000'000;
    EXPECT_EQ(guest_clock(info.time, fake_tsc), static_cast<uint64_t>(arch::now()));
}

TEST(Clock, RegisteredAreaOutOfReachIsTriedAgain) {
    Domain domain;
    auto vcpu = std::make_unique<Vcpu>(domain, VcpuId{0});
    fake_current = vcpu.get();
    time::start_clock(fake_tsc, time::Rate::of(1'000'000'000, 2'893'202'000));
    vcpu->time_guest = 16;
    arch::update_vcpu_time(*vcpu);
    EXPECT_TRUE(vcpu->dirty_runstate);
    vcpu_time_info registered{};
    vcpu->time_guest = reinterpret_cast<uint64_t>(&registered);
    arch::update_vcpu_time(*vcpu);
    EXPECT_NE(registered.tsc_to_system_mul, 0u);
}

TEST(Rtc, Dates) {
    using R = time::RtcRegisters;
    constexpr uint8_t k24 = 2, kBinary = 4;
    EXPECT_EQ(*time::decode_rtc(R{0, 0, 0, 1, 1, 0x70, k24}), 0u);
    EXPECT_EQ(*time::decode_rtc(R{0x56, 0x34, 0x12, 0x29, 0x02, 0x24, k24}), 1709210096u);
    EXPECT_EQ(*time::decode_rtc(R{56, 34, 12, 29, 2, 24, k24 | kBinary}), 1709210096u);
    EXPECT_EQ(*time::decode_rtc(R{0, 0, 0, 1, 1, 0x26, k24}), 1767225600u);
    EXPECT_EQ(*time::decode_rtc(R{0x59, 0x59, 0x23, 0x31, 0x12, 0x99, k24}), 946684799u);
    // Twelve hours: 12 is the hour before 1, in the morning and in the afternoon.
    EXPECT_EQ(*time::decode_rtc(R{0, 0, 0x12, 1, 1, 0x70, 0}), 0u);
    EXPECT_EQ(*time::decode_rtc(R{0, 0, 0x92, 1, 1, 0x70, 0}), 12u * 3600);
    EXPECT_EQ(*time::decode_rtc(R{0, 0, 0x81, 1, 1, 0x70, 0}), 13u * 3600);
    EXPECT_FALSE(time::decode_rtc(R{0, 0, 0, 0, 0, 0, k24}).ok());
    EXPECT_FALSE(time::decode_rtc(R{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}).ok());
}

}  // namespace
}  // namespace hv
