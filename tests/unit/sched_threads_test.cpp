// The scheduler with real threads as CPUs: vCPUs hand tokens to each other and sleep when they have
// none, while somebody pauses them, moves them about, and moves CPUs and the whole domain between
// pools. A lost wake-up stops the tokens; a vCPU on two CPUs at once is noticed when it is loaded.
// Also worth running under ThreadSanitizer.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <xen/domctl.h>

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/time.hpp"
#include "arch/topology.hpp"
#include "boot/options.hpp"
#include "fake/no_trace.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/pool.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"

namespace hv {
namespace {

constexpr unsigned kCpus = 4;  // the last two in a pool of their own
constexpr CpuId kController = kMaxCpus - 1;
constexpr unsigned kMostVcpus = 8;

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
Player players[kMostVcpus];
unsigned player_count = 0;
Domain* the_domain = nullptr;
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
uint8_t node_of_cpu(CpuId) {
    return 0;
}
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
bool Domain::get() {
    return true;
}
void Domain::put() {}
DomainRef Domain::next_from(DomId from) {
    return the_domain && from <= the_domain->id ? DomainRef::adopt(the_domain) : DomainRef{};
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
    hand_token_to(players[random_of_thread() % player_count]);
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

void boot() {
    static bool done = false;
    if (std::exchange(done, true)) return;
    timers_init();
    rcu_init();
    sched::init("credit");
    for (CpuId cpu = 0; cpu < kCpus; ++cpu) {
        ASSERT_TRUE(sched::cpu_up(cpu).ok());
        loaded[cpu] = &sched::idle_vcpu(cpu);
    }
    loaded[kController] = loaded[0];
}

/// The domain and its players, down.
std::unique_ptr<Domain> make_domain(unsigned vcpus) {
    auto domain = std::make_unique<Domain>();
    domain->id = DomId{1};
    EXPECT_TRUE(sched::init_domain(*domain).ok());
    domain->vcpus = heap::OwnedArray<Vcpu*>::create(vcpus).value();
    domain->max_vcpus = player_count = vcpus;
    for (unsigned n = 0; n < vcpus; ++n) {
        players[n].tokens = players[n].turns = 0;
        players[n].vcpu = std::make_unique<Vcpu>(*domain, VcpuId{n});
        domain->vcpus[n] = players[n].vcpu.get();
        EXPECT_TRUE(sched::add_vcpu(*players[n].vcpu).ok());
    }
    the_domain = domain.get();
    return domain;
}

void end_domain(Domain& domain) {
    the_domain = nullptr;
    for (unsigned n = 0; n < player_count; ++n) sched::remove_vcpu(*players[n].vcpu);
    sched::destroy_domain(domain);
}

void remove_cpu(uint32_t pool, CpuId cpu) {
    for (int turn = 0; turn < 100'000; ++turn) {
        const auto again = sched::remove_cpu(pool, cpu);
        ASSERT_TRUE(again.ok()) << static_cast<int>(again.error());
        if (!*again) return;
        std::this_thread::yield();
    }
    FAIL() << "somebody stays on CPU " << cpu;
}

void move_cpu(CpuId cpu, uint32_t from, uint32_t to) {
    remove_cpu(from, cpu);
    ASSERT_TRUE(sched::add_cpu(to, cpu).ok());
}

void disturb(Domain& domain, uint32_t pool, std::mt19937& random) {
    Player& player = players[random() % player_count];
    Vcpu& vcpu = *player.vcpu;
    switch (random() % 16) {
        case 0:
            move_cpu(3, sched::find_pool(0)->cpus.test(3) ? 0 : pool,
                     sched::find_pool(0)->cpus.test(3) ? pool : 0);
            break;
        case 1:
            ASSERT_TRUE(sched::move_domain(domain, random() % 2 ? pool : 0).ok());
            break;
        case 2:
        case 3:
        case 4:
        case 5: {
            sched::vcpu_pause(vcpu);
            const unsigned before = player.turns;
            std::this_thread::yield();
            ASSERT_EQ(player.turns, before);  // it stands still
            sched::vcpu_unpause(vcpu);
            break;
        }
        case 6:
        case 7:
        case 8:
        case 9: {
            CpuMask mask;
            mask.set_word(0, random() % 15 + 1);
            const auto done = sched::set_affinity(vcpu, mask, CpuMask::all());
            ASSERT_TRUE(done.ok() || done.error() == Errno::kEINVAL);
            break;
        }
        case 10:
        case 11:
        case 12:
            sched::wake(vcpu);
            break;
        default:
            static_cast<void>(sched::runstate_of(vcpu));
            break;
    }
}

/// Nobody disturbs them any more: the tokens still move, and as many as there were.
void expect_undisturbed(Domain& domain, unsigned tokens) {
    const unsigned before = total_turns();
    for (int i = 0; i < 500 && total_turns() < before + 1000; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_GE(total_turns(), before + 1000);
    sched::domain_pause(domain);
    const unsigned stood = total_turns();
    unsigned left = 0;
    for (unsigned n = 0; n < player_count; ++n) left += players[n].tokens.load();
    EXPECT_EQ(left, tokens);
    EXPECT_FALSE(twice_loaded);
    EXPECT_EQ(total_turns(), stood);
}

struct Game {
    const char* name;
    uint32_t policy;
    unsigned vcpus, tokens;
};
class SchedThreads : public testing::TestWithParam<Game> {};
// The null policy lets no more run than there are CPUs: with more, tokens would lie with the
// others.
INSTANTIATE_TEST_SUITE_P(Policies, SchedThreads,
                         testing::Values(Game{"credit", XEN_SCHEDULER_CREDIT, 8, 5},
                                         Game{"credit2", XEN_SCHEDULER_CREDIT2, 8, 5},
                                         Game{"null", XEN_SCHEDULER_NULL, 2, 2}),
                         [](const auto& p) { return p.param.name; });

TEST_P(SchedThreads, NoWakeUpIsLostAndNobodyRunsTwice) {
    boot();
    const uint32_t pool = sched::create_pool(sched::kAnyPool, GetParam().policy).value()->id;
    auto domain = make_domain(GetParam().vcpus);
    std::atomic<bool> stop{false};
    std::vector<std::thread> cpus;
    for (CpuId cpu = 0; cpu < kCpus; ++cpu) cpus.emplace_back([&stop, cpu] { run_cpu(cpu, stop); });
    for (CpuId cpu : {2u, 3u}) move_cpu(cpu, 0, pool);
    for (unsigned n = 0; n < player_count; ++n) {
        players[n].vcpu->pause_flags.fetch_and(~pause::kDown);
        sched::wake(*players[n].vcpu);
    }
    for (unsigned n = 0; n < GetParam().tokens; ++n) hand_token_to(players[n]);

    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    std::mt19937 random(42);
    while (std::chrono::steady_clock::now() < end && !HasFatalFailure())
        disturb(*domain, pool, random);
    if (sched::find_pool(0)->cpus.test(3)) move_cpu(3, 0, pool);
    EXPECT_TRUE(sched::move_domain(*domain, pool).ok());
    for (unsigned n = 0; n < player_count; ++n)
        EXPECT_TRUE(sched::set_affinity(*players[n].vcpu, CpuMask::all(), CpuMask::all()).ok());
    expect_undisturbed(*domain, GetParam().tokens);
    EXPECT_TRUE(sched::move_domain(*domain, 0).ok());
    for (CpuId cpu : {2u, 3u}) move_cpu(cpu, pool, 0);
    EXPECT_TRUE(sched::destroy_pool(pool).ok());
    stop = true;
    for (auto& thread : cpus) thread.join();
    end_domain(*domain);
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
