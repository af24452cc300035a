// The scheduler with real threads as CPUs: vCPUs hand tokens to each other and sleep when they have
// none, while somebody pauses them and moves them about. A lost wake-up stops the tokens; a vCPU on
// two CPUs at once is noticed when it is loaded. Also worth running under ThreadSanitizer.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/time.hpp"
#include "boot/options.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"

namespace hv {
namespace {

constexpr unsigned kCpus = 3;
constexpr CpuId kController = kMaxCpus - 1;
constexpr unsigned kVcpus = 8;
constexpr unsigned kTokens = 5;

thread_local CpuId cpu_of_thread = kController;
thread_local Nanoseconds timer_of_thread = arch::kNever;
thread_local std::mt19937 random_of_thread;

Vcpu* loaded[kMaxCpus];  // each element is its own CPU's
boot::Options options;

struct Player {
    std::unique_ptr<Vcpu> vcpu;
    std::atomic<unsigned> tokens{0};
    std::atomic<unsigned> turns{0};
    std::atomic<int> cpu{-1};  // where it is loaded
};
Player players[kVcpus];
std::atomic<bool> twice_loaded{false};

Player* player_of(const Vcpu& vcpu) {
    return arch::is_idle(vcpu) ? nullptr : &players[vcpu.id.raw()];
}

}  // namespace

namespace arch {
CpuId this_cpu() {
    return cpu_of_thread;
}
Vcpu& current() {
    return *loaded[cpu_of_thread];
}
bool is_idle(const Vcpu& vcpu) {
    return vcpu.domain->id == DomId{DOMID_IDLE};
}
CpuMask online_cpus() {
    return CpuMask::first_n(kCpus);
}
void kick_cpu(CpuId) {}  // they look all the time
void poll_interrupts() {}
Nanoseconds now() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}
void program_timer(Nanoseconds deadline) {
    timer_of_thread = deadline;
}
void update_vcpu_time(Vcpu&) {}
void sync_vcpu_state(Vcpu&) {}
void context_switch(Vcpu& prev, Vcpu& next) {
    if (Player* p = player_of(prev)) p->cpu.store(-1);
    loaded[cpu_of_thread] = &next;
    if (Player* p = player_of(next))
        if (p->cpu.exchange(static_cast<int>(cpu_of_thread)) != -1) twice_loaded = true;
    sched::context_saved(prev);
}
Result<> copy_from_guest(void*, uint64_t, size_t) {
    return Errno::kEFAULT;
}
Result<> copy_to_guest(uint64_t, const void*, size_t) {
    return Errno::kEFAULT;
}
}  // namespace arch

namespace event {
void send_virq(Vcpu&, uint32_t) {}
bool has_pending(const Vcpu& vcpu) {
    return player_of(vcpu)->tokens.load() != 0;
}
bool port_valid(Domain&, Port) {
    return true;
}
bool port_pending(Domain&, Port) {
    return false;
}
void begin_poll(Vcpu&, uint32_t) {}
void clear_poll(Vcpu&) {}
}  // namespace event

namespace heap {
void* allocate(size_t bytes) {
    void* object = aligned_alloc(64, round_up(bytes, 64));
    return memset(object, 0, bytes);
}
void release(void* object) {
    free(object);
}
}  // namespace heap

namespace boot {
const Options& options() {
    return hv::options;
}
}  // namespace boot
bool log_enabled(LogLevel, bool) {
    return false;
}
void log_args(LogLevel, bool, std::string_view, const FormatArg*, size_t) {}
void panic_args(std::string_view format, const FormatArg* args, size_t count) {
    fprintf(stderr, "panic: %.*s", static_cast<int>(format.size()), format.data());
    if (count && args->kind == FormatArg::Kind::kText)
        fprintf(stderr, " (%.*s)", static_cast<int>(args->text.size), args->text.data);
    fprintf(stderr, "\n");
    abort();
}
bool Vcpu::runnable() const {
    return pause_flags.load() == 0 && pause_count.load() == 0 && domain->pause_count.load() == 0;
}
void Domain::shutdown(uint8_t) {}

namespace {

/// What an event does: pending first, then the look whether somebody has to be woken.
void hand_token_to(Player& player) {
    player.tokens.fetch_add(1);
    if (player.vcpu->pause_flags.load() & pause::kBlocked) sched::wake(*player.vcpu);
}

void take_turn(Player& player) {
    if (player.cpu.load() != static_cast<int>(cpu_of_thread)) twice_loaded = true;
    player.turns.fetch_add(1);
    if (random_of_thread() % 8 == 0) return sched::yield_current();
    if (player.tokens.load() == 0) return sched::block_current();
    player.tokens.fetch_sub(1);
    hand_token_to(players[random_of_thread() % kVcpus]);
}

void run_cpu(CpuId cpu, const std::atomic<bool>& stop) {
    cpu_of_thread = cpu;
    random_of_thread.seed(cpu);
    while (!stop.load()) {
        if (arch::now() >= timer_of_thread) {
            timer_of_thread = arch::kNever;
            timer_interrupt();
        }
        process_softirqs();
        if (Player* player = player_of(arch::current()))
            take_turn(*player);
        else
            std::this_thread::yield();
    }
}

unsigned total_turns() {
    unsigned sum = 0;
    for (Player& p : players) sum += p.turns.load();
    return sum;
}

TEST(SchedThreads, NoWakeUpIsLostAndNobodyRunsTwice) {
    timers_init();
    sched::init("credit");
    for (CpuId cpu = 0; cpu < kCpus; ++cpu) {
        ASSERT_TRUE(sched::cpu_up(cpu).ok());
        loaded[cpu] = &sched::idle_vcpu(cpu);
    }
    loaded[kController] = loaded[0];
    auto domain = std::make_unique<Domain>();
    domain->id = DomId{1};
    ASSERT_TRUE(sched::init_domain(*domain).ok());
    domain->vcpus = heap::OwnedArray<Vcpu*>::create(kVcpus).value();
    domain->max_vcpus = kVcpus;
    for (unsigned n = 0; n < kVcpus; ++n) {
        players[n].vcpu = std::make_unique<Vcpu>(*domain, VcpuId{n});
        domain->vcpus[n] = players[n].vcpu.get();
        ASSERT_TRUE(sched::add_vcpu(*players[n].vcpu).ok());
    }

    std::atomic<bool> stop{false};
    std::vector<std::thread> cpus;
    for (CpuId cpu = 0; cpu < kCpus; ++cpu) cpus.emplace_back([&stop, cpu] { run_cpu(cpu, stop); });
    for (Player& p : players) {
        p.vcpu->pause_flags.fetch_and(~pause::kDown);
        sched::wake(*p.vcpu);
    }
    for (unsigned n = 0; n < kTokens; ++n) hand_token_to(players[n]);

    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    std::mt19937 random(42);
    while (std::chrono::steady_clock::now() < end) {
        Vcpu& vcpu = *players[random() % kVcpus].vcpu;
        switch (random() % 4) {
            case 0: {
                sched::vcpu_pause(vcpu);
                const unsigned before = players[vcpu.id.raw()].turns;
                std::this_thread::yield();
                ASSERT_EQ(players[vcpu.id.raw()].turns, before);  // it stands still
                sched::vcpu_unpause(vcpu);
                break;
            }
            case 1: {
                CpuMask mask;
                mask.set_word(0, random() % 7 + 1);
                ASSERT_TRUE(sched::set_affinity(vcpu, mask, CpuMask::all()).ok());
                break;
            }
            case 2:
                sched::wake(vcpu);
                break;
            case 3:
                static_cast<void>(sched::runstate_of(vcpu));
                break;
        }
    }
    // Nobody disturbs them any more: the tokens still move.
    unsigned tokens = 0;
    const unsigned before = total_turns();
    for (int i = 0; i < 500 && total_turns() < before + 1000; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_GE(total_turns(), before + 1000);
    sched::domain_pause(*domain);
    const unsigned stood = total_turns();
    for (Player& p : players) tokens += p.tokens.load();
    EXPECT_EQ(tokens, kTokens);
    EXPECT_FALSE(twice_loaded);
    EXPECT_EQ(total_turns(), stood);
    stop = true;
    for (auto& thread : cpus) thread.join();
    for (Player& p : players) sched::remove_vcpu(*p.vcpu);
    sched::destroy_domain(*domain);
}

}  // namespace
}  // namespace hv

namespace base {
void spin_wait() {
    std::this_thread::yield();
}
void note_lock_taken(uint8_t) {}
void note_lock_dropped(uint8_t) {}
}  // namespace base
