// domctl and sysctl as the stock tools call them, from version check to answer.
#include <gtest/gtest.h>

#include <map>

#include "arch/topology.hpp"
#include "cpu/policy.hpp"
#define XENOLITH_REAL_TRACE
#include "fake/domain_rooms.hpp"
#include "hv/console/keys.hpp"
#include "hv/console/ring.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/sched/policy.hpp"
#include "hv/sched/pool.hpp"
#include "pv/hypercall_page.hpp"

#include <xen/domctl.h>
#include <xen/errno.h>
#include <xen/sysctl.h>

namespace hv::time {
uint64_t read_tsc() {
    return 0;
}
}  // namespace hv::time

namespace hv {

namespace {
std::string typed_keys;
uint64_t registers_of_last;  ///< user_regs.rip of the context that was set
Errno context_error{};
sched::Pool only_pool;
std::string asked_of_pools;  ///< the last change
unsigned tries_left = 0;     ///< until a CPU has left its pool
}  // namespace

Outcome continue_with(std::initializer_list<uint64_t> args) {
    EXPECT_EQ(args.size(), 0u) << "the argument is the structure, again";
    Outcome outcome;
    outcome.again = true;
    return outcome;
}

namespace sched {
void vcpu_pause(Vcpu& v) {
    ++v.pause_count;
}
void vcpu_unpause(Vcpu& v) {
    --v.pause_count;
}
Result<> domain_pause_by_controller(Domain& d) {
    return ++d.controller_pauses, ++d.pause_count, Result<>{};
}
Result<> domain_unpause_by_controller(Domain& d) {
    if (!d.controller_pauses) return Errno::kEINVAL;
    --d.controller_pauses;
    --d.pause_count;
    return {};
}
Result<> set_affinity(Vcpu& v, const CpuMask& hard, const CpuMask& soft) {
    if ((hard & arch::online_cpus()).empty()) return Errno::kEINVAL;
    v.hard_affinity = hard;
    v.soft_affinity = soft;
    return {};
}
vcpu_runstate_info runstate_of(Vcpu&) {
    vcpu_runstate_info r{};
    r.time[RUNSTATE_running] = 1000;
    return r;
}
void follow_nodes(Domain&) {}
void end_pin_override(Vcpu& v) {
    v.pin_overridden = false;
}
Pool& pool_of(const Domain&) {
    return only_pool;
}
Pool* find_pool_from(uint32_t id) {
    return id > only_pool.id ? nullptr : &only_pool;
}
CpuMask free_cpus() {
    return CpuMask::single(5);
}
Result<Pool*> create_pool(uint32_t id, uint32_t policy_id) {
    if (id != kAnyPool) return Errno::kEEXIST;
    asked_of_pools = "create " + std::to_string(policy_id);
    return &only_pool;
}
Result<> destroy_pool(uint32_t id) {
    return asked_of_pools = "destroy " + std::to_string(id), Result<>{};
}
Result<> add_cpu(uint32_t id, uint32_t cpu) {
    return asked_of_pools = "add " + std::to_string(id) + " " + std::to_string(cpu), Result<>{};
}
Result<bool> remove_cpu(uint32_t id, uint32_t cpu) {
    asked_of_pools = "remove " + std::to_string(id) + " " + std::to_string(cpu);
    return tries_left-- > 0;
}
Result<> move_domain(Domain& domain, uint32_t pool) {
    asked_of_pools = "move " + std::to_string(domain.id.raw()) + " " + std::to_string(pool);
    return {};
}
Result<> domain_control(Domain&, xen_domctl_scheduler_op& op) {
    return op.u.credit.weight = 256, Result<>{};
}
Result<> system_control(xen_sysctl_scheduler_op&) {
    return {};
}
uint32_t policy_id() {
    return XEN_SCHEDULER_CREDIT;
}
Vcpu& idle_vcpu(CpuId) {
    return *rooms->current;
}
}  // namespace sched

namespace event {
Result<> set_host_virq_handler(uint32_t, Domain&) {
    return {};
}
}  // namespace event

namespace arch {
void send_nmi(Vcpu&) {}
Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    if (linear < kPageSize) return bytes ? Result<>{Errno::kEFAULT} : Result<>{};
    memcpy(to, reinterpret_cast<void*>(linear), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    if (linear < kPageSize) return bytes ? Result<>{Errno::kEFAULT} : Result<>{};
    memcpy(reinterpret_cast<void*>(linear), from, bytes);
    return {};
}
Result<> clear_guest(uint64_t linear, size_t bytes) {
    memset(reinterpret_cast<void*>(linear), 0, bytes);
    return {};
}
Result<> set_vcpu_context(Vcpu&, const vcpu_guest_context& context) {
    registers_of_last = context.user_regs.rip;
    if (context_error != Errno{}) return std::exchange(context_error, Errno{});
    return {};
}
void get_vcpu_context(Vcpu&, vcpu_guest_context& context) {
    context.user_regs.rip = registers_of_last;
}
void sync_vcpu_state(Vcpu&) {}
uint64_t tsc_khz() {
    return 2000000;
}
CpuPlace place_of(CpuId cpu) {
    return {cpu, 0};
}
namespace cpu_policy {
const CpuPolicy& host() {
    static CpuPolicy policy;
    return policy;
}
Result<> sysctl_get(xen_sysctl_cpu_policy&) {
    return {};
}
Result<> sysctl_get_featureset(xen_sysctl_cpu_featureset& op) {
    op.nr_features = kFeatureWords;
    return Errno::kENOBUFS;
}
Result<> domctl_get(const Domain&, xen_domctl_cpu_policy&) {
    return {};
}
Result<> domctl_set(Domain&, xen_domctl_cpu_policy& op) {
    op.err_leaf = 7;
    return Errno::kEINVAL;
}
}  // namespace cpu_policy
Featureset CpuPolicy::featureset() const {
    return {};
}
}  // namespace arch

namespace console {
void handle_key(char key) {
    typed_keys += key;
}
Result<> read_ring(GuestOut<char> buffer, uint32_t& count, uint32_t& index, bool, bool) {
    TRY(buffer.store('x'));
    count = index = 1;
    return {};
}
}  // namespace console

namespace pv {
void fill_hypercall_page(uint8_t* page) {
    memset(page, 0xcc, kPageSize);
}
}  // namespace pv

namespace {

class ControlTest : public testing::Test {
  protected:
    ControlTest() {
        rooms = &rooms_;
        memory::describe_ram({32 * kMiB, 64 * kMiB});
        memory::add_free_range({32 * kMiB, 64 * kMiB});
        free_ = memory::free_pages();
        DomainConfig config;
        config.privileged = true;
        dom0_ = Domain::create(DomId{0}, config).value();
        rooms_.current = *dom0_->add_vcpu(VcpuId{0});
        context_error = Errno{};
        typed_keys.clear();
        only_pool.policy = &sched::kCreditPolicy;
        only_pool.cpus.set(0);
        only_pool.domains = 1;
    }
    void TearDown() override {
        while (dom0_->references > 1) dom0_->put();
        dom0_.reset();
        rooms_.grace();
        EXPECT_EQ(memory::free_pages(), free_);
    }
    int64_t domctl(uint32_t command, uint16_t domid = 0) {
        op_.cmd = command;
        op_.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
        op_.domain = domid;
        return repeat(do_domctl, &op_);
    }
    int64_t sysctl(uint32_t command) {
        sys_.cmd = command;
        sys_.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
        return repeat(do_sysctl, &sys_);
    }
    int64_t repeat(HypercallHandler handler, void* argument) {
        for (int i = 0; i < 100; ++i) {
            Outcome outcome = handler(reinterpret_cast<uint64_t>(argument), 0, 0, 0, 0);
            if (!outcome.again) return outcome.value;
            rooms_.grace();
        }
        return -1000;
    }
    /// As xl does it.
    uint16_t create(uint32_t vcpus = 2) {
        op_.u = {};
        op_.u.createdomain.max_vcpus = vcpus;
        op_.u.createdomain.max_grant_frames = -1;
        op_.u.createdomain.max_maptrack_frames = -1;
        op_.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(2);
        EXPECT_EQ(domctl(XEN_DOMCTL_createdomain), 0);
        const uint16_t id = op_.domain;
        op_.u.max_vcpus.max = vcpus;
        EXPECT_EQ(domctl(XEN_DOMCTL_max_vcpus, id), 0);
        return id;
    }
    void destroy(uint16_t id) {
        EXPECT_EQ(domctl(XEN_DOMCTL_destroydomain, id), 0);
        rooms_.grace();
        EXPECT_EQ(domctl(XEN_DOMCTL_destroydomain, id), -XEN_ESRCH);
    }

    Rooms rooms_;
    MemoryMachine machine_;
    DomainRef dom0_;
    xen_domctl op_{};
    xen_sysctl sys_{};
    uint64_t free_;
};

TEST_F(ControlTest, VersionIsCheckedFirst) {
    domctl(XEN_DOMCTL_getdomaininfo);
    op_.interface_version ^= 1;
    EXPECT_EQ(repeat(do_domctl, &op_), -XEN_EACCES);
    sysctl(XEN_SYSCTL_physinfo);
    sys_.interface_version ^= 1;
    EXPECT_EQ(repeat(do_sysctl, &sys_), -XEN_EACCES);
    EXPECT_EQ(domctl(9999), -XEN_ENOSYS);
    EXPECT_EQ(sysctl(9999), -XEN_ENOSYS);
    EXPECT_EQ(do_domctl(8, 0, 0, 0, 0).value, -XEN_EFAULT);
}

TEST_F(ControlTest, OnlyTheControlDomainMay) {
    const uint16_t id = create();
    rooms_.current = Domain::find(DomId{id})->get()->vcpu(0);
    EXPECT_EQ(domctl(XEN_DOMCTL_pausedomain, id), -XEN_EPERM);
    EXPECT_EQ(domctl(XEN_DOMCTL_createdomain), -XEN_EPERM);
    EXPECT_EQ(domctl(XEN_DOMCTL_getdomaininfo, 0), -XEN_EPERM);
    EXPECT_EQ(sysctl(XEN_SYSCTL_physinfo), -XEN_EPERM);
    rooms_.current = dom0_->vcpu(0);
    destroy(id);
}

TEST_F(ControlTest, CreateListDestroy) {
    const uint16_t a = create();
    const uint16_t b = create();
    EXPECT_GT(b, a);
    std::vector<xen_domctl_getdomaininfo> list(10);
    sys_.u.getdomaininfolist.first_domain = 0;
    sys_.u.getdomaininfolist.max_domains = 10;
    set_xen_guest_handle(sys_.u.getdomaininfolist.buffer, list.data());
    EXPECT_EQ(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
    ASSERT_EQ(sys_.u.getdomaininfolist.num_domains, 3u);
    EXPECT_EQ(list[1].domain, a);
    EXPECT_EQ(list[2].domain, b);
    EXPECT_EQ(list[1].max_vcpu_id, 1u);
    EXPECT_TRUE(list[1].flags & XEN_DOMINF_paused);
    sys_.u.getdomaininfolist.first_domain = b;
    EXPECT_EQ(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
    EXPECT_EQ(sys_.u.getdomaininfolist.num_domains, 1u);
    destroy(a);
    destroy(b);
}

TEST_F(ControlTest, GetdomaininfoFindsTheNext) {
    const uint16_t id = create();
    EXPECT_EQ(domctl(XEN_DOMCTL_getdomaininfo, 1), 0);
    EXPECT_EQ(op_.domain, id);
    EXPECT_EQ(op_.u.getdomaininfo.shared_info_frame,
              Domain::find(DomId{id})->get()->shared_mfn.raw());
    EXPECT_EQ(domctl(XEN_DOMCTL_getdomaininfo, static_cast<uint16_t>(id + 1)), -XEN_ESRCH);
    EXPECT_EQ(domctl(XEN_DOMCTL_getdomaininfo, DOMID_SELF), -XEN_EINVAL);
    destroy(id);
}

TEST_F(ControlTest, CreationIsChecked) {
    const auto fails = [&](auto change) {
        op_.u = {};
        op_.u.createdomain.max_vcpus = 1;
        op_.u.createdomain.grant_opts = 1;
        change(op_.u.createdomain);
        return domctl(XEN_DOMCTL_createdomain);
    };
    EXPECT_EQ(fails([](auto& c) { c.flags = XEN_DOMCTL_CDF_hvm; }), -XEN_EINVAL);
    EXPECT_EQ(fails([](auto& c) { c.flags = XEN_DOMCTL_CDF_iommu; }), -XEN_EINVAL);
    EXPECT_EQ(fails([](auto& c) { c.max_vcpus = 0; }), -XEN_EINVAL);
    EXPECT_EQ(fails([](auto& c) { c.max_vcpus = 129; }), -XEN_EINVAL);
    EXPECT_EQ(fails([](auto& c) { c.vmtrace_size = 4096; }), -XEN_EINVAL);
    for (const char* step : {"sched", "event", "grant", "arch"}) {
        rooms_.fail = step;
        EXPECT_EQ(fails([](auto&) {}), -XEN_ENOMEM) << step;
    }
    rooms_.fail.clear();
}

TEST_F(ControlTest, PausesAreCountedAndNotForOneself) {
    const uint16_t id = create();
    EXPECT_EQ(domctl(XEN_DOMCTL_unpausedomain, id), 0);
    EXPECT_TRUE(Domain::find(DomId{id})->get()->creation_finished);
    EXPECT_EQ(domctl(XEN_DOMCTL_unpausedomain, id), -XEN_EINVAL);
    EXPECT_EQ(domctl(XEN_DOMCTL_pausedomain, 0), -XEN_EINVAL);
    EXPECT_EQ(domctl(XEN_DOMCTL_destroydomain, 0), -XEN_EINVAL);
    destroy(id);
}

TEST_F(ControlTest, VcpusAreAsManyAsWereAskedFor) {
    const uint16_t id = create(3);
    op_.u.max_vcpus.max = 2;
    EXPECT_EQ(domctl(XEN_DOMCTL_max_vcpus, id), -XEN_EINVAL);
    op_.u.max_vcpus.max = 3;
    EXPECT_EQ(domctl(XEN_DOMCTL_max_vcpus, id), 0) << "again: they are there";
    op_.u.getvcpuinfo.vcpu = 2;
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpuinfo, id), 0);
    EXPECT_EQ(op_.u.getvcpuinfo.online, 0);
    EXPECT_EQ(op_.u.getvcpuinfo.cpu_time, 1000u);
    op_.u.getvcpuinfo.vcpu = 3;
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpuinfo, id), -XEN_EINVAL);
    destroy(id);
}

TEST_F(ControlTest, RegistersBringAVcpuOnline) {
    const uint16_t id = create();
    Vcpu* vcpu = Domain::find(DomId{id})->get()->vcpu(0);
    vcpu_guest_context context{};
    context.user_regs.rip = 0x1234;
    op_.u = {};
    set_xen_guest_handle(op_.u.vcpucontext.ctxt, &context);
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpucontext, id), -XEN_ENODATA);
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpucontext, id), 0);
    EXPECT_TRUE(vcpu->initialised);
    EXPECT_EQ(vcpu->pause_flags, pause::kDown) << "VGCF_online was not set";
    context.flags = VGCF_online;
    context_error = Errno::kERESTART;  // interrupted once
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpucontext, id), 0);
    EXPECT_EQ(vcpu->pause_flags, 0u);
    context.user_regs.rip = 0;
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpucontext, id), 0);
    EXPECT_EQ(context.user_regs.rip, 0x1234u);
    op_.u.vcpucontext.vcpu = 77;
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpucontext, id), -XEN_EINVAL);
    EXPECT_EQ(vcpu->domain->pause_count, 1u) << "pauses are balanced";
    destroy(id);
}

TEST_F(ControlTest, AffinityInBitmapsOfAnySize) {
    const uint16_t id = create();
    uint8_t hard[16];
    uint8_t soft[1] = {0};
    op_.u = {};
    auto& a = op_.u.vcpuaffinity;
    a.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    set_xen_guest_handle(a.cpumap_hard.bitmap, hard);
    a.cpumap_hard.nr_bits = 128;
    set_xen_guest_handle(a.cpumap_soft.bitmap, soft);
    a.cpumap_soft.nr_bits = 3;
    memset(hard, 0xff, sizeof hard);
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpuaffinity, id), 0);
    EXPECT_EQ(hard[7], 0xff);
    EXPECT_EQ(hard[8], 0) << "more than there can be";
    EXPECT_EQ(soft[0], 7);
    memset(hard, 0, sizeof hard);
    hard[0] = 0x13;
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpuaffinity, id), 0);
    EXPECT_EQ(hard[0], 1) << "what has an effect on a machine of one CPU";
    EXPECT_EQ(soft[0], 1);
    hard[0] = 0x10;
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpuaffinity, id), -XEN_EINVAL);
    a.flags = 0;
    EXPECT_EQ(domctl(XEN_DOMCTL_setvcpuaffinity, id), -XEN_EINVAL);
    a.flags = XEN_VCPUAFFINITY_HARD;
    a.vcpu = 9;
    EXPECT_EQ(domctl(XEN_DOMCTL_getvcpuaffinity, id), -XEN_EINVAL);
    destroy(id);
}

TEST_F(ControlTest, SettingsAreKept) {
    const uint16_t id = create();
    Domain* domain = Domain::find(DomId{id})->get();
    op_.u.max_mem.max_memkb = 4001;
    EXPECT_EQ(domctl(XEN_DOMCTL_max_mem, id), 0);
    EXPECT_EQ(domain->pages.unlocked().max, 1000u);
    op_.u.address_size.size = 32;
    EXPECT_EQ(domctl(XEN_DOMCTL_set_address_size, id), -XEN_EOPNOTSUPP);
    op_.u.address_size.size = 64;
    EXPECT_EQ(domctl(XEN_DOMCTL_set_address_size, id), 0);
    op_.u = {};
    op_.u.tsc_info.tsc_mode = 2;
    EXPECT_EQ(domctl(XEN_DOMCTL_settscinfo, id), 0);
    EXPECT_EQ(domctl(XEN_DOMCTL_gettscinfo, id), 0);
    EXPECT_EQ(op_.u.tsc_info.tsc_mode, 2u);
    op_.u.tsc_info.tsc_mode = 1;
    EXPECT_EQ(domctl(XEN_DOMCTL_settscinfo, id), -XEN_EOPNOTSUPP);
    op_.u.tsc_info.tsc_mode = 9;
    EXPECT_EQ(domctl(XEN_DOMCTL_settscinfo, id), -XEN_EINVAL);
    op_.u.setdomainhandle.handle[3] = 9;
    EXPECT_EQ(domctl(XEN_DOMCTL_setdomainhandle, id), 0);
    EXPECT_EQ(domctl(XEN_DOMCTL_getdomaininfo, id), 0);
    EXPECT_EQ(op_.u.getdomaininfo.handle[3], 9);
    op_.u.ioport_permission = {0x3f8, 8, 1};
    EXPECT_EQ(domctl(XEN_DOMCTL_ioport_permission, id), 0);
    EXPECT_TRUE(domain->arch.ioports->test(0x3ff));
    EXPECT_FALSE(domain->arch.ioports->test(0x400));
    op_.u.ioport_permission = {0xffff, 2, 1};
    EXPECT_EQ(domctl(XEN_DOMCTL_ioport_permission, id), -XEN_EINVAL);
    heap::destroy(std::exchange(domain->arch.ioports, nullptr));  // arch::destroy_domain's
    destroy(id);
}

TEST_F(ControlTest, ErrorsThatExplainThemselvesComeBack) {
    const uint16_t id = create();
    op_.u = {};
    EXPECT_EQ(domctl(XEN_DOMCTL_set_cpu_policy, id), -XEN_EINVAL);
    EXPECT_EQ(op_.u.cpu_policy.err_leaf, 7u);
    Domain::find(DomId{id})->get()->creation_finished = true;
    EXPECT_EQ(domctl(XEN_DOMCTL_set_cpu_policy, id), -XEN_EEXIST);
    EXPECT_EQ(sysctl(XEN_SYSCTL_get_cpu_featureset), -XEN_ENOBUFS);
    EXPECT_EQ(sys_.u.cpu_featureset.nr_features, arch::kFeatureWords);
    destroy(id);
}

TEST_F(ControlTest, HypercallPageOnlyIntoItsOwnWritableFrame) {
    const uint16_t id = create();
    Domain* domain = Domain::find(DomId{id})->get();
    domain->pages.unlocked().max = 10;
    const Mfn mfn = *memory::alloc_domain_frames(*domain, 0);
    op_.u.hypercall_init.gmfn = mfn.raw();
    EXPECT_EQ(domctl(XEN_DOMCTL_hypercall_init, id), 0);
    EXPECT_EQ(*arch::mfn_to_virt<uint8_t>(mfn), 0xcc);
    EXPECT_EQ(page_info(mfn)->type_count(), 0u);
    op_.u.hypercall_init.gmfn = dom0_->shared_mfn.raw();
    EXPECT_EQ(domctl(XEN_DOMCTL_hypercall_init, id), -XEN_EACCES);
    destroy(id);
}

TEST_F(ControlTest, FrameTypes) {
    const uint16_t id = create();
    Domain* domain = Domain::find(DomId{id})->get();
    domain->pages.unlocked().max = 10;
    const Mfn mfn = *memory::alloc_domain_frames(*domain, 1);
    const auto l2 = uint64_t{2} << PageInfo::kTypeShift;
    page_info(mfn)->type.store(l2 | PageInfo::kPinned | PageInfo::kValidated | 1);
    xen_pfn_t frames[] = {mfn.raw(), mfn.raw() + 1, dom0_->shared_mfn.raw(), ~uint64_t{0}};
    op_.u = {};
    op_.u.getpageframeinfo3.num = 4;
    set_xen_guest_handle(op_.u.getpageframeinfo3.array, frames);
    EXPECT_EQ(domctl(XEN_DOMCTL_getpageframeinfo3, id), 0);
    EXPECT_EQ(frames[0], XEN_DOMCTL_PFINFO_L2TAB | XEN_DOMCTL_PFINFO_LPINTAB);
    EXPECT_EQ(frames[1], XEN_DOMCTL_PFINFO_NOTAB);
    EXPECT_EQ(frames[2], XEN_DOMCTL_PFINFO_XTAB);
    EXPECT_EQ(frames[3], XEN_DOMCTL_PFINFO_XTAB);
    op_.u.getpageframeinfo3.num = 1025;
    EXPECT_EQ(domctl(XEN_DOMCTL_getpageframeinfo3, id), -XEN_E2BIG);
    page_info(mfn)->type.store(0);
    destroy(id);
}

// ---- sysctl ----

TEST_F(ControlTest, Host) {
    EXPECT_EQ(sysctl(XEN_SYSCTL_physinfo), 0);
    const auto& info = sys_.u.physinfo;
    EXPECT_EQ(info.nr_cpus, 1u);
    EXPECT_EQ(info.max_cpu_id, 0u);
    EXPECT_EQ(info.threads_per_core, 1u);
    EXPECT_EQ(info.cpu_khz, 2000000u);
    EXPECT_EQ(info.total_pages, 32u * 256);
    EXPECT_EQ(info.free_pages, memory::free_pages());
    EXPECT_TRUE(info.capabilities & XEN_SYSCTL_PHYSCAP_pv);
    EXPECT_FALSE(info.capabilities & XEN_SYSCTL_PHYSCAP_hvm);
    EXPECT_EQ(sysctl(XEN_SYSCTL_sched_id), 0);
    EXPECT_EQ(sys_.u.sched_id.sched_id, uint32_t{XEN_SCHEDULER_CREDIT});
}

TEST_F(ControlTest, TopologyAndNodesSayTheirNumberFirst) {
    sys_.u = {};
    EXPECT_EQ(sysctl(XEN_SYSCTL_cputopoinfo), 0);
    EXPECT_EQ(sys_.u.cputopoinfo.num_cpus, 1u);
    xen_sysctl_cputopo_t places[4] = {};
    sys_.u.cputopoinfo.num_cpus = 4;
    set_xen_guest_handle(sys_.u.cputopoinfo.cputopo, places);
    EXPECT_EQ(sysctl(XEN_SYSCTL_cputopoinfo), 0);
    EXPECT_EQ(sys_.u.cputopoinfo.num_cpus, 1u);

    sys_.u = {};
    EXPECT_EQ(sysctl(XEN_SYSCTL_numainfo), 0);
    EXPECT_EQ(sys_.u.numainfo.num_nodes, 1u);
    xen_sysctl_meminfo_t nodes[1];
    uint32_t distance[1];
    set_xen_guest_handle(sys_.u.numainfo.meminfo, nodes);
    set_xen_guest_handle(sys_.u.numainfo.distance, distance);
    EXPECT_EQ(sysctl(XEN_SYSCTL_numainfo), 0);
    EXPECT_EQ(nodes[0].memfree, memory::free_pages() * kPageSize);
    EXPECT_EQ(distance[0], 10u);
}

TEST_F(ControlTest, PoolsOfCpus) {
    uint8_t map[8] = {};
    sys_.u = {};
    auto& pool = sys_.u.cpupool_op;
    set_xen_guest_handle(pool.cpumap.bitmap, map);
    pool.cpumap.nr_bits = 64;
    const auto ask = [&](uint32_t op) {
        pool.op = op;
        return sysctl(XEN_SYSCTL_cpupool_op);
    };
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_INFO), 0);
    EXPECT_EQ(pool.cpupool_id, 0u);
    EXPECT_EQ(pool.sched_id, uint32_t{XEN_SCHEDULER_CREDIT});
    EXPECT_EQ(pool.n_dom, 1u);
    EXPECT_EQ(map[0], 1);
    pool.cpupool_id = 1;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_INFO), -XEN_ENOENT) << "ends the tools' loop";
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_FREEINFO), 0);
    EXPECT_EQ(map[0], 1 << 5);
    pool.sched_id = XEN_SCHEDULER_NULL;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_CREATE), -XEN_EEXIST);
    pool.cpupool_id = XEN_SYSCTL_CPUPOOL_PAR_ANY;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_CREATE), 0);
    EXPECT_EQ(asked_of_pools, "create 9");
    EXPECT_EQ(pool.cpupool_id, 0u) << "the number that it has got";
    pool.cpupool_id = 4;
    pool.cpu = 7;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_ADDCPU), 0);
    EXPECT_EQ(asked_of_pools, "add 4 7");
    tries_left = 3;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_RMCPU), 0) << "the call is continued until it has left";
    EXPECT_EQ(asked_of_pools, "remove 4 7");
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_DESTROY), 0);
    EXPECT_EQ(asked_of_pools, "destroy 4");
    const uint16_t id = create();
    pool.domid = id;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN), 0);
    EXPECT_EQ(asked_of_pools, "move " + std::to_string(id) + " 4");
    pool.domid = 0;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN), -XEN_EPERM);
    pool.domid = 0x10000;
    EXPECT_EQ(ask(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN), -XEN_ESRCH);
    EXPECT_EQ(ask(77), -XEN_ENOSYS);
    destroy(id);
}

TEST_F(ControlTest, ConsoleAndKeys) {
    char text[4] = {};
    sys_.u = {};
    set_xen_guest_handle(sys_.u.readconsole.buffer, text);
    sys_.u.readconsole.count = 4;
    EXPECT_EQ(sysctl(XEN_SYSCTL_readconsole), 0);
    EXPECT_EQ(sys_.u.readconsole.count, 1u);
    EXPECT_EQ(text[0], 'x');
    char keys[] = "qr";
    sys_.u = {};
    set_xen_guest_handle(sys_.u.debug_keys.keys, keys);
    sys_.u.debug_keys.nr_keys = 2;
    EXPECT_EQ(sysctl(XEN_SYSCTL_debug_keys), 0);
    EXPECT_EQ(typed_keys, "qr");
}

}  // namespace
}  // namespace hv
