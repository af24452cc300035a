// Pools of CPUs, and the schedulers that each may have: sysctl's cpupool_op and scheduler_op,
// domctl's scheduler_op.
#include <initializer_list>

#include "child.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

constexpr uint32_t kAny = XEN_SYSCTL_CPUPOOL_PAR_ANY;

struct Pools {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_cpupool_op);
    uint64_t map = 0;

    xen_sysctl_cpupool_op& arg() { return op.u.cpupool_op; }
    long run(uint32_t what, uint32_t pool) {
        arg().op = what;
        arg().cpupool_id = pool;
        arg().cpumap.nr_bits = 64;
        set_xen_guest_handle(arg().cpumap.bitmap, reinterpret_cast<uint8_t*>(&map));
        return sysctl(&op);
    }
    long create(uint32_t pool, uint32_t scheduler) {
        arg().sched_id = scheduler;
        return run(XEN_SYSCTL_CPUPOOL_OP_CREATE, pool);
    }
    long destroy(uint32_t pool) { return run(XEN_SYSCTL_CPUPOOL_OP_DESTROY, pool); }
    long info(uint32_t pool) { return run(XEN_SYSCTL_CPUPOOL_OP_INFO, pool); }
    uint64_t free_cpus() {
        CHECK_EQ(run(XEN_SYSCTL_CPUPOOL_OP_FREEINFO, 0), 0);
        return map;
    }
    long add(uint32_t pool, uint32_t cpu) {
        arg().cpu = cpu;
        return run(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, pool);
    }
    /// As the tools do, again as long as somebody is still on the CPU. (Stock Xen at times never
    /// answers when that is a busy domain other than the caller's: tests make theirs afterwards.)
    long remove(uint32_t pool, uint32_t cpu) {
        long rc;
        arg().cpu = cpu;
        wait_for([&] { return (rc = run(XEN_SYSCTL_CPUPOOL_OP_RMCPU, pool)) != -kEAGAIN; });
        return rc;
    }
    long move(domid_t domain, uint32_t pool) {
        arg().domid = domain;
        return run(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, pool);
    }
    /// Of domains that earlier tests have destroyed, the last goes late.
    void expect_domains(uint32_t pool, uint32_t count) {
        CHECK(wait_for([&] { return info(pool) != 0 || arg().n_dom == count; }));
        CHECK_EQ(arg().n_dom, count);
    }
};

long scheduler(domid_t domain, uint32_t id, uint32_t cmd, xen_domctl_scheduler_op* result = nullptr,
               uint16_t weight = 0, uint16_t cap = 0) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_scheduler_op, domain);
    op.u.scheduler_op.sched_id = id;
    op.u.scheduler_op.cmd = cmd;
    op.u.scheduler_op.u.credit = {.weight = weight, .cap = cap};  // credit2's look the same
    const long rc = domctl(&op);
    if (result) *result = op.u.scheduler_op;
    return rc;
}

long create_domain_in(uint32_t pool, domid_t* id = nullptr) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_createdomain, 0);
    op.u.createdomain.max_vcpus = 1;
    op.u.createdomain.max_evtchn_port = 1023;
    op.u.createdomain.max_grant_frames = 4;
    op.u.createdomain.max_maptrack_frames = 4;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    op.u.createdomain.cpupool_id = pool;
    const long rc = domctl(&op);
    if (id) *id = op.domain;
    return rc;
}

/// It runs, and so counts its turns.
void expect_alive(Child& child) {
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 0x40011);
}

/// Moves the running child into a pool of that kind, which CPU 1, free before and after, makes up.
void there_and_back(Pools& pools, Child& child, uint32_t kind) {
    CHECK_EQ(pools.create(1, kind), 0);
    CHECK_EQ(pools.add(1, 1), 0);
    CHECK_EQ(pools.move(child.id(), 1), 0);
    CHECK_EQ(pools.move(child.id(), 1), 0);
    expect_alive(child);
    CHECK_EQ(child.info().cpupool, 1);
    pools.expect_domains(0, 1);
    pools.expect_domains(1, 1);
    CHECK_EQ(pools.remove(1, 1), -kEBUSY);
    CHECK_EQ(scheduler(child.id(), kind, XEN_DOMCTL_SCHEDOP_getinfo), 0);
    const uint64_t turns = child.mailbox().turns;
    CHECK(wait_for([&] { return child.mailbox().turns > turns + 100; }));
    CHECK_EQ(pools.move(child.id(), 0), 0);
    expect_alive(child);
    CHECK_EQ(pools.remove(1, 1), 0);
    CHECK_EQ(pools.destroy(1), 0);
}

}  // namespace

TEST(cpupool_refuses, "XEN_SYSCTL_cpupool_op: pools, CPUs and domains that are not there", "") {
    Pools pools;
    pools.expect_domains(0, 1);
    CHECK_EQ(pools.info(1), -kENOENT);
    CHECK_EQ(pools.destroy(5), -kENOENT);
    CHECK_EQ(pools.destroy(0), -kEBUSY);
    CHECK_EQ(pools.add(5, 0), -kENOENT);
    CHECK_EQ(pools.add(0, kAny), -kENODEV);
    CHECK_EQ(pools.add(0, 0), -kENODEV);
    CHECK_EQ(pools.add(0, 9999), -kEINVAL);
    CHECK_EQ(pools.remove(5, 0), -kENOENT);
    CHECK_EQ(pools.remove(0, 9999), -kEINVAL);
    CHECK_EQ(pools.remove(0, 0), -kEINVAL);  // the first CPU stays in pool 0
    CHECK_EQ(pools.move(1234, 0), -kESRCH);
    CHECK_EQ(pools.move(0, 0), -kEPERM);  // the caller's own
    CHECK_EQ(pools.run(99, 0), -kENOSYS);
    CHECK_EQ(pools.create(0, XEN_SCHEDULER_CREDIT), -kEEXIST);
    CHECK_EQ(pools.create(kAny, 77), -kENOENT);
    CHECK_EQ(pools.free_cpus(), 0);
    set_xen_guest_handle(pools.arg().cpumap.bitmap, reinterpret_cast<uint8_t*>(0x1000));
    CHECK_EQ(sysctl(&pools.op), -kEFAULT);
}

TEST(cpupool_create_destroy, "cpupool_op CREATE, INFO, DESTROY: numbers, order, how many",
     "cpus=2") {
    Pools pools;
    CHECK_EQ(pools.create(7, XEN_SCHEDULER_CREDIT2), 0);
    CHECK_EQ(pools.arg().cpupool_id, 7);
    CHECK_EQ(pools.create(kAny, XEN_SCHEDULER_CREDIT2), 0);
    CHECK_EQ(pools.arg().cpupool_id, 8);
    CHECK_EQ(pools.create(3, XEN_SCHEDULER_CREDIT), 0);
    CHECK_EQ(pools.create(4, XEN_SCHEDULER_CREDIT), -kENOSPC);  // two for each CPU
    CHECK_EQ(pools.info(1), 0);
    CHECK_EQ(pools.arg().cpupool_id, 3);
    CHECK_EQ(pools.arg().sched_id, XEN_SCHEDULER_CREDIT);
    CHECK_EQ(pools.arg().n_dom, 0);
    CHECK_EQ(pools.map, 0);
    CHECK_EQ(pools.info(4), 0);
    CHECK_EQ(pools.arg().cpupool_id, 7);
    CHECK_EQ(pools.arg().sched_id, XEN_SCHEDULER_CREDIT2);
    CHECK_EQ(pools.info(8), 0);
    CHECK_EQ(pools.arg().sched_id, XEN_SCHEDULER_CREDIT2);
    CHECK_EQ(pools.info(9), -kENOENT);
    // Nobody can live in a pool without CPUs.
    CHECK_EQ(create_domain_in(7), -kENODEV);
    CHECK_EQ(create_domain_in(99), -kESRCH);
    const domid_t domain = create_domain();
    CHECK_EQ(pools.move(domain, 7), -kENOENT);
    CHECK_EQ(pools.move(domain, 99), -kENOENT);
    CHECK_EQ(pools.move(domain, 0), 0);
    destroy_domain(domain);
    for (uint32_t pool : {3u, 7u, 8u}) CHECK_EQ(pools.destroy(pool), 0);
    CHECK_EQ(pools.info(1), -kENOENT);
}

TEST(cpupool_cpus, "cpupool_op ADDCPU, RMCPU: a CPU leaves pool 0 and comes back", "cpus=2") {
    Pools pools;
    CHECK_EQ(pools.remove(0, 1), 0);
    CHECK_EQ(pools.free_cpus(), 2);
    CHECK_EQ(pools.info(0), 0);
    CHECK_EQ(pools.map, 1);
    CHECK_EQ(pools.remove(0, 1), -kEADDRNOTAVAIL);
    CHECK_EQ(pools.create(1, XEN_SCHEDULER_CREDIT2), 0);
    CHECK_EQ(pools.remove(1, kAny), -kEINVAL);
    CHECK_EQ(pools.add(1, kAny), 0);
    CHECK_EQ(pools.add(1, 1), -kENODEV);
    CHECK_EQ(pools.free_cpus(), 0);
    CHECK_EQ(pools.info(1), 0);
    CHECK_EQ(pools.map, 2);
    CHECK_EQ(pools.remove(1, 0), -kEADDRNOTAVAIL);
    CHECK_EQ(pools.destroy(1), -kEBUSY);
    CHECK_EQ(pools.remove(1, kAny), 0);
    CHECK_EQ(pools.destroy(1), 0);
    CHECK_EQ(pools.add(0, 1), 0);
    CHECK_EQ(pools.free_cpus(), 0);
}

TEST(cpupool_own_cpu, "cpupool_op RMCPU of the CPU that the caller runs on", "cpus=2") {
    Pools pools;
    for (uint32_t turn = 0; turn < 6; ++turn) {
        CHECK_EQ(pools.remove(0, 1), 0);
        CHECK_EQ(pools.add(0, 1), 0);
        // Now and then it has come to the CPU that is to go.
        for (int i = 0; i < 200; ++i) sched_op(SCHEDOP_yield);
    }
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, 0);
    uint8_t map[8] = {2};
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), 0);
    for (int i = 0; i < 20; ++i) sched_op(SCHEDOP_yield);
    // It runs on CPU 1, and its affinity is broken by taking that away.
    CHECK_EQ(pools.remove(0, 1), 0);
    op.cmd = XEN_DOMCTL_getvcpuaffinity;
    CHECK_EQ(domctl(&op), 0);
    CHECK(map[0] & 1);
    CHECK_EQ(pools.add(0, 1), 0);
    // Pinned by itself, it keeps the CPU.
    sched_pin_override_t pin = {.pcpu = 1};
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), 0);
    CHECK_EQ(pools.remove(0, 1), -kEADDRINUSE);
    CHECK_EQ(pools.add(0, 1), 0);
    pin.pcpu = -1;
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), 0);
}

TEST(cpupool_domains_move, "cpupool_op MOVEDOMAIN of a running domain, each scheduler", "cpus=2") {
    Pools pools;
    CHECK_EQ(pools.remove(0, 1), 0);
    Child child;
    expect_alive(child);
    pools.expect_domains(0, 2);
    for (uint32_t kind : {XEN_SCHEDULER_CREDIT, XEN_SCHEDULER_CREDIT2}) {
        there_and_back(pools, child, kind);
        CHECK_EQ(scheduler(child.id(), XEN_SCHEDULER_RTDS, XEN_DOMCTL_SCHEDOP_getinfo), -kEINVAL);
    }
    CHECK_EQ(pools.add(0, 1), 0);
    child.destroy();
}

TEST(cpupool_of_null, "a pool with the null scheduler: a vCPU has a CPU, and nothing to be set",
     "cpus=2;own-boot;differs=Debian's Xen is built without the null scheduler") {
    Pools pools;
    CHECK_EQ(pools.remove(0, 1), 0);
    Child child;
    there_and_back(pools, child, XEN_SCHEDULER_NULL);
    CHECK_EQ(pools.add(0, 1), 0);
    child.destroy();
}

TEST(cpupool_affinity, "setvcpuaffinity counts only CPUs of the domain's pool", "cpus=2") {
    Pools pools;
    CHECK_EQ(pools.remove(0, 1), 0);
    Child child;
    CHECK_EQ(pools.create(1, XEN_SCHEDULER_CREDIT), 0);
    CHECK_EQ(pools.add(1, 1), 0);
    uint8_t map[8] = {2};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, child.id());
    auto& affinity = op.u.vcpuaffinity;
    affinity.flags = XEN_VCPUAFFINITY_HARD;
    affinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(affinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), -kEINVAL);
    map[0] = 3;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(map[0], 1);  // what has an effect
    map[0] = 1;
    CHECK_EQ(domctl(&op), 0);
    // Moving takes it away: it meant CPUs of the old pool.
    CHECK_EQ(pools.move(child.id(), 1), 0);
    op.cmd = XEN_DOMCTL_getvcpuaffinity;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(map[0] & 3, 3);
    expect_alive(child);
    child.destroy();
    pools.expect_domains(1, 0);
    CHECK_EQ(pools.remove(1, 1), 0);
    CHECK_EQ(pools.destroy(1), 0);
    CHECK_EQ(pools.add(0, 1), 0);
}

TEST(cpupool_createdomain, "createdomain's cpupool_id; the pool's last CPU goes with a dead domain",
     "cpus=2") {
    Pools pools;
    CHECK_EQ(pools.remove(0, 1), 0);
    CHECK_EQ(pools.create(1, XEN_SCHEDULER_CREDIT2), 0);
    CHECK_EQ(pools.add(1, 1), 0);
    domid_t domain;
    CHECK_EQ(create_domain_in(1, &domain), 0);
    pools.expect_domains(1, 1);
    CHECK_EQ(pools.remove(1, 1), -kEBUSY);
    CHECK_EQ(pools.info(1), 0);
    CHECK_EQ(pools.map, 2);
    destroy_domain(domain);
    pools.expect_domains(1, 0);
    CHECK_EQ(pools.remove(1, 1), 0);
    CHECK_EQ(pools.destroy(1), 0);
    CHECK_EQ(pools.add(0, 1), 0);
}

TEST(affinity_refuses, "XEN_DOMCTL_setvcpuaffinity, getvcpuaffinity: vCPUs, flags, maps", "") {
    const domid_t domain = create_domain();
    uint8_t map[8] = {1};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, domain);
    auto& affinity = op.u.vcpuaffinity;
    set_xen_guest_handle(affinity.cpumap_hard.bitmap, map);
    set_xen_guest_handle(affinity.cpumap_soft.bitmap, map);
    affinity.cpumap_hard.nr_bits = affinity.cpumap_soft.nr_bits = 64;
    for (uint32_t cmd : {XEN_DOMCTL_setvcpuaffinity, XEN_DOMCTL_getvcpuaffinity}) {
        op.cmd = cmd;
        affinity.flags = XEN_VCPUAFFINITY_HARD;
        affinity.vcpu = 1;
        CHECK_EQ(domctl(&op), -kEINVAL);
        affinity.vcpu = 0;
        CHECK_EQ(domctl(&op), -kESRCH);  // not made yet
    }
    xen_domctl_t vcpus = domctl_of(XEN_DOMCTL_max_vcpus, domain);
    vcpus.u.max_vcpus.max = 1;
    CHECK_EQ(domctl(&vcpus), 0);
    for (uint32_t cmd : {XEN_DOMCTL_setvcpuaffinity, XEN_DOMCTL_getvcpuaffinity}) {
        op.cmd = cmd;
        affinity.flags = 0;
        CHECK_EQ(domctl(&op), -kEINVAL);
        affinity.flags = XEN_VCPUAFFINITY_FORCE;
        CHECK_EQ(domctl(&op), 0);
        affinity.flags = XEN_VCPUAFFINITY_SOFT;
        CHECK_EQ(domctl(&op), 0);
        set_xen_guest_handle(affinity.cpumap_soft.bitmap, static_cast<uint8_t*>(nullptr));
        CHECK_EQ(domctl(&op), -kEINVAL);
        set_xen_guest_handle(affinity.cpumap_soft.bitmap, reinterpret_cast<uint8_t*>(0x1000));
        CHECK_EQ(domctl(&op), -kEFAULT);
        set_xen_guest_handle(affinity.cpumap_soft.bitmap, map);
    }
    // A wish may be for CPUs that are not there.
    op.cmd = XEN_DOMCTL_setvcpuaffinity;
    affinity.flags = XEN_VCPUAFFINITY_SOFT;
    map[0] = 2;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(map[0], 0);
    op.domain = 1234;
    CHECK_EQ(domctl(&op), -kESRCH);
    destroy_domain(domain);
}

TEST(scheduler_credit, "scheduler_op of domctl and sysctl: credit's settings and refusals",
     "args=sched=credit") {
    const domid_t domain = create_domain();
    constexpr uint32_t kId = XEN_SCHEDULER_CREDIT;
    xen_domctl_scheduler_op got;
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_getinfo, &got), 0);
    CHECK_EQ(got.u.credit.weight, 256);
    CHECK_EQ(got.u.credit.cap, 0);
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_putinfo, nullptr, 512, 40), 0);
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_putinfo, nullptr, 0, 0xffff), 0);
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_getinfo, &got), 0);
    CHECK_EQ(got.u.credit.weight, 512);
    CHECK_EQ(got.u.credit.cap, 40);
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_putvcpuinfo), -kEINVAL);
    CHECK_EQ(scheduler(domain, kId, XEN_DOMCTL_SCHEDOP_getvcpuinfo), -kEINVAL);
    CHECK_EQ(scheduler(domain, kId, 9), -kEINVAL);
    CHECK_EQ(scheduler(domain, XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_getinfo), -kEINVAL);
    destroy_domain(domain);

    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_scheduler_op);
    auto& params = op.u.scheduler_op;
    params.sched_id = kId;
    params.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(params.u.sched_credit.tslice_ms, 30);
    CHECK_EQ(params.u.sched_credit.ratelimit_us, 1000);
    params.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
    params.u.sched_credit.tslice_ms = 0;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    params.u.sched_credit = {.tslice_ms = 10, .ratelimit_us = 99, .vcpu_migr_delay_us = 0};
    CHECK_EQ(sysctl(&op), -kEINVAL);
    params.u.sched_credit = {.tslice_ms = 10, .ratelimit_us = 11000, .vcpu_migr_delay_us = 0};
    CHECK_EQ(sysctl(&op), -kEINVAL);
    params.u.sched_credit = {.tslice_ms = 10, .ratelimit_us = 500, .vcpu_migr_delay_us = 20};
    CHECK_EQ(sysctl(&op), 0);
    params.cmd = 7;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    params.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    params.u.sched_credit = {};
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(params.u.sched_credit.tslice_ms, 10);
    CHECK_EQ(params.u.sched_credit.vcpu_migr_delay_us, 20);
    params.cpupool_id = 5;
    CHECK_EQ(sysctl(&op), -kESRCH);
    params.cpupool_id = 0;
    params.sched_id = XEN_SCHEDULER_RTDS;
    CHECK_EQ(sysctl(&op), -kEINVAL);
}

TEST(scheduler_credit2, "sched=credit2: settings and refusals; a domain runs",
     "args=sched=credit2") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_sched_id);
    CHECK_EQ(sysctl(&op), 0);
    constexpr uint32_t kId = XEN_SCHEDULER_CREDIT2;
    CHECK_EQ(op.u.sched_id.sched_id, kId);
    Child child;
    expect_alive(child);
    xen_domctl_scheduler_op got;
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_putinfo, nullptr, 1000, 50), 0);
    expect_alive(child);
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_getinfo, &got), 0);
    CHECK_EQ(got.u.credit2.weight, 1000);
    CHECK_EQ(got.u.credit2.cap, 50);
    // More than its vCPUs could ever use.
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_putinfo, nullptr, 0, 101), -kEINVAL);
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_putinfo, nullptr, 0, 0), 0);
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_getinfo, &got), 0);
    CHECK_EQ(got.u.credit2.weight, 1000);
    CHECK_EQ(got.u.credit2.cap, 0);
    CHECK_EQ(scheduler(child.id(), kId, XEN_DOMCTL_SCHEDOP_getvcpuinfo), -kEINVAL);
    child.destroy();

    op = sysctl_of(XEN_SYSCTL_scheduler_op);
    auto& params = op.u.scheduler_op;
    params.sched_id = kId;
    params.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
    params.u.sched_credit2.ratelimit_us = 99;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    params.u.sched_credit2.ratelimit_us = 2000;
    CHECK_EQ(sysctl(&op), 0);
    params.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    params.u.sched_credit2.ratelimit_us = 0;
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(params.u.sched_credit2.ratelimit_us, 2000);
}

TEST(scheduler_null, "sched=null: a domain on the second CPU; nothing to set",

     "cpus=2;args=sched=null;differs=Debian's Xen is built without the null scheduler") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_sched_id);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.sched_id.sched_id, XEN_SCHEDULER_NULL);
    Child child;
    expect_alive(child);
    CHECK_EQ(scheduler(child.id(), XEN_SCHEDULER_NULL, XEN_DOMCTL_SCHEDOP_putinfo), 0);
    CHECK_EQ(scheduler(child.id(), XEN_SCHEDULER_NULL, XEN_DOMCTL_SCHEDOP_getvcpuinfo), 0);
    CHECK_EQ(scheduler(child.id(), XEN_SCHEDULER_CREDIT, XEN_DOMCTL_SCHEDOP_getinfo), -kEINVAL);
    op = sysctl_of(XEN_SYSCTL_scheduler_op);
    op.u.scheduler_op.sched_id = XEN_SCHEDULER_NULL;
    op.u.scheduler_op.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    CHECK_EQ(sysctl(&op), 0);
    const uint64_t turns = child.mailbox().turns;
    CHECK(wait_for([&] { return child.mailbox().turns > turns + 100; }));
    child.destroy();
}

}  // namespace guest
