// Hypercalls with any arguments in any order, from a control domain and two ordinary guests that
// share memory and events. An input is a program: fill the window that arguments lie in, call,
// let another vCPU go on, let time pass, stop a long call in the middle.
//
// Whatever was done, all domains can be destroyed afterwards, and every frame and object is back.
#include "fake/whole_machine.hpp"

#include <xen/domctl.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sysctl.h>

#include "hv/x86/cpu/policy.hpp"
#include "input.hpp"

namespace {

using namespace hv;
using fuzz::Input;

constexpr unsigned kFrames = 12, kVcpus = 2, kMaxSteps = 120;
constexpr uint16_t kControl = 1, kFirst = 2, kSecond = 3;
constexpr uint64_t kMaxFrames = 64;  // for a guest

// What is not called: set_segment_base and iret work on the processor's registers, platform_op is
// for who has the machine's devices.
constexpr uint8_t kCalls[] = {
    __HYPERVISOR_set_trap_table,
    __HYPERVISOR_mmu_update,
    __HYPERVISOR_set_gdt,
    __HYPERVISOR_stack_switch,
    __HYPERVISOR_set_debugreg,
    __HYPERVISOR_get_debugreg,
    __HYPERVISOR_update_descriptor,
    __HYPERVISOR_memory_op,
    __HYPERVISOR_multicall,
    __HYPERVISOR_update_va_mapping,
    __HYPERVISOR_set_timer_op,
    __HYPERVISOR_xen_version,
    __HYPERVISOR_console_io,
    __HYPERVISOR_grant_table_op,
    __HYPERVISOR_vm_assist,
    __HYPERVISOR_update_va_mapping_otherdomain,
    __HYPERVISOR_vcpu_op,
    __HYPERVISOR_mmuext_op,
    __HYPERVISOR_sched_op,
    __HYPERVISOR_callback_op,
    __HYPERVISOR_event_channel_op,
    __HYPERVISOR_physdev_op,
    __HYPERVISOR_sysctl,
    __HYPERVISOR_domctl,
    __HYPERVISOR_nmi_op,
    __HYPERVISOR_kexec_op,
    __HYPERVISOR_hypfs_op,
    __HYPERVISOR_set_callbacks,
    __HYPERVISOR_fpu_taskswitch,
    __HYPERVISOR_sched_op_compat,
    __HYPERVISOR_event_channel_op_compat,
};

WholeMachine& all() {
    static WholeMachine m(24 * kMiB);
    return m;
}

class Play {
  public:
    explicit Play(Input& in) : in_(in) {
        for (const uint16_t id : {kControl, kFirst, kSecond}) create(id);
        choose(kFirst, 0);
    }
    ~Play() {
        all().preempt_after = 0;
        all().current = &sched::idle_vcpu(0);
        // A guest may hold another's frames, and so its struct: all are killed before any is gone.
        Domain::for_each([](Domain& domain) {
            domain.get();
            all().destroy(DomainRef::adopt(&domain));
            return true;
        });
        all().settle();
        FUZZ_CHECK(!Domain::next_from(DomId{0}));
    }
    void step();

  private:
    void create(uint16_t id);
    void choose(uint16_t id, unsigned vcpu);
    void call();
    void fill();
    uint64_t value();

    Input& in_;
    std::vector<Mfn> frames_;
};

void Play::create(uint16_t id) {
    DomainConfig config;
    config.max_vcpus = kVcpus;
    config.privileged = id == kControl;
    DomainRef domain = Domain::create(DomId{id}, config).value();
    domain->pages.lock()->max = kMaxFrames;
    for (unsigned n = 0; n < kVcpus; ++n) FUZZ_CHECK(domain->add_vcpu(VcpuId{n}).ok());
    for (unsigned n = 0; n < kFrames; ++n)
        frames_.push_back(*memory::alloc_domain_frames(*domain, 0));
    frames_.push_back(domain->shared_mfn);
}

/// A vCPU of a domain that is no more does not call.
void Play::choose(uint16_t id, unsigned n) {
    const auto found = Domain::find(DomId{id});
    Vcpu* const vcpu =
        found && (*found)->dying.load() == Dying::kAlive ? (*found)->vcpu(n) : nullptr;
    if (vcpu) all().current = vcpu;
}

/// What arguments are made of.
uint64_t Play::value() {
    constexpr uint16_t kDomains[] = {0,          kControl, kFirst,    kSecond,      4,
                                     DOMID_SELF, DOMID_IO, DOMID_XEN, DOMID_INVALID};
    constexpr uint64_t kSharp[] = {0,
                                   1,
                                   ~uint64_t{0},
                                   uint64_t{1} << 31,
                                   uint64_t{1} << 32,
                                   uint64_t{1} << 63,
                                   0x7fff,
                                   0xffff,
                                   0x1000,
                                   0xfff};
    const uint8_t kind = in_.byte();
    const Mfn frame = frames_[kind / 8 % frames_.size()];
    switch (kind % 8) {
        case 0:
        case 1:
            return in_.byte();
        case 2:
            return WholeMachine::linear(8u * in_.byte());
        case 3:
            return in_.one_of(kDomains);
        case 4:
            return frame.raw();
        case 5:
            return address_of(frame) | in_.byte();
        case 6:
            return in_.one_of(kSharp);
        default:
            return in_.take<uint64_t>();
    }
}

void Play::fill() {
    const size_t at = in_.take<uint16_t>() % 2048;
    const unsigned size = 1u << (in_.byte() % 4);
    const uint64_t v = value();
    memcpy(all().arguments.data() + at, &v, size);
}

/// Stops the machine, or changes what outlives this input.
bool is_out_of_bounds(const WholeMachine::Call& c) {
    if (c.number != __HYPERVISOR_sysctl) return false;
    const auto command = all().at<uint32_t>();
    return command == XEN_SYSCTL_debug_keys || command == XEN_SYSCTL_cpupool_op ||
           command == XEN_SYSCTL_tbuf_op;
}

void Play::call() {
    WholeMachine::Call c{in_.one_of(kCalls), {}};
    const uint8_t how = in_.byte();
    for (unsigned i = 0; i < (how & 7u) && i < 5; ++i) c.args[i] = value();
    if (c.number == __HYPERVISOR_domctl || c.number == __HYPERVISOR_sysctl) {
        c.args[0] = WholeMachine::linear();
        all().put(
            static_cast<uint32_t>(c.number == __HYPERVISOR_domctl ? XEN_DOMCTL_INTERFACE_VERSION
                                                                  : XEN_SYSCTL_INTERFACE_VERSION),
            4);
    }
    if (is_out_of_bounds(c)) return;
    int64_t result;
    const unsigned most = how & 0x80 ? 1 : 10000;  // who lies about progress may go on for long
    for (unsigned rounds = 0; rounds < most && all().call_once(c, result); ++rounds) all().settle();
    all().settle();
    const Domain& caller = *all().current->domain;
    if (caller.dying.load() != Dying::kAlive || caller.is_shut_down) choose(kControl, 0);
}

void Play::step() {
    const uint8_t what = in_.byte();
    switch (what % 8) {
        case 0:
            return choose(static_cast<uint16_t>(1 + what / 8 % 3), what / 24 % kVcpus);
        case 1:
            all().preempt_after = in_.byte() % 32;
            return;
        case 2:
            timer_interrupt();
            return all().settle();
        case 3:
        case 4:
            return fill();
        default:
            return call();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    WholeMachine& m = all();
    Input in(data, size);
    std::fill(m.arguments.begin(), m.arguments.end(), 0);
    m.preempt_after = 0;
    const uint64_t free = memory::free_pages();
    const size_t objects = m.heap_objects;
    {
        Play play(in);
        for (unsigned n = 0; n < kMaxSteps && !in.done(); ++n) play.step();
    }
    FUZZ_CHECK(memory::free_pages() == free);
    FUZZ_CHECK(m.heap_objects == objects);
    return 0;
}
