// Every operation that allocates, with its n-th allocation failing, for all n: it says so, nothing
// is lost, and the same operation succeeds right afterwards. All rooms are the real ones.
#include "fake/whole_machine.hpp"

#include <gtest/gtest.h>

#include <xen/domctl.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>

#include <functional>

#include "hv/sched/pool.hpp"
#include "hv/x86/cpu/policy.hpp"

namespace hv {
namespace {

constexpr uint16_t kControl = 1, kGuest = 2, kNew = 3;
constexpr unsigned kMostAllocations = 2000;

WholeMachine& all() {
    static WholeMachine m(32 * kMiB);
    return m;
}

/// A control domain and a guest with some memory, made anew for each attempt.
class OutOfMemory : public testing::Test {
  protected:
    OutOfMemory() { all(); }
    struct Account {
        uint64_t pages = memory::free_pages();
        size_t objects = all().heap_objects;
        bool operator==(const Account&) const = default;
    };

    void build() {
        create(kControl, true);
        create(kGuest, false);
        use(kGuest);
    }
    void destroy() {
        all().current = &sched::idle_vcpu(0);
        for (const uint16_t id : {kNew, kGuest, kControl})
            if (auto domain = Domain::find(DomId{id})) all().destroy(std::move(*domain));
    }
    void use(uint16_t id) { all().current = (*Domain::find(DomId{id}))->vcpu(0); }

    /// `operate` gives what the hypercall gives: less than 0 is a failure, and where it is an error
    /// number, then this one. `prepare` is what has to be there before.
    void exhaust(
        const std::function<int64_t()>& operate, const std::function<void()>& prepare = [] {},
        int64_t error = -XEN_ENOMEM) {
        unsigned n = 1;
        for (;; ++n) {
            ASSERT_LT(n, kMostAllocations);
            const Account before;
            build();
            prepare();
            all().fail_allocation = n;
            const int64_t result = operate();
            const bool reached = all().fail_allocation == 0;
            all().fail_allocation = 0;
            if (reached) {
                EXPECT_EQ(result, error) << "allocation " << n << " failed";
                EXPECT_GE(operate(), 0) << "after allocation " << n << " failed";
            } else {
                EXPECT_GE(result, 0);
            }
            destroy();
            ASSERT_EQ(memory::free_pages(), before.pages) << "allocation " << n;
            ASSERT_EQ(all().heap_objects, before.objects) << "allocation " << n;
            if (!reached) break;
        }
        EXPECT_GT(n, 1u) << "it allocates nothing";
    }

    int64_t domctl(uint32_t command, uint16_t domid, const std::function<void(xen_domctl&)>& fill) {
        use(kControl);
        auto& op = all().at<xen_domctl>();
        op = {};
        op.cmd = command;
        op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
        op.domain = domid;
        fill(op);
        return all().call(__HYPERVISOR_domctl, {WholeMachine::linear()});
    }
    int64_t sysctl(uint32_t command, const std::function<void(xen_sysctl&)>& fill) {
        use(kControl);
        auto& op = all().at<xen_sysctl>();
        op = {};
        op.cmd = command;
        op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
        fill(op);
        return all().call(__HYPERVISOR_sysctl, {WholeMachine::linear()});
    }
    template <class T>
    int64_t call(uint64_t number, uint64_t command, const T& argument, uint64_t count = 0) {
        return all().call(number, {command, all().put(argument), count});
    }
    int64_t event(uint64_t command, const auto& argument) {
        return call(__HYPERVISOR_event_channel_op, command, argument);
    }
    /// The status of a grant operation on one structure.
    template <class T>
    int64_t grant(uint64_t command, const T& argument, int16_t T::*status) {
        const int64_t result = call(__HYPERVISOR_grant_table_op, command, argument, 1);
        return result ? result : all().at<T>().*status;
    }
    /// A list in the window, behind the structures.
    static constexpr size_t kList = 4096;
    static uint64_t list() { return WholeMachine::linear(kList); }
    template <class T>
    static T* list_of() {
        return reinterpret_cast<T*>(list());
    }
    std::vector<Mfn> give_frames(uint16_t id, unsigned count) {
        std::vector<Mfn> frames;
        const auto domain = Domain::find(DomId{id}).value();
        while (count--) frames.push_back(*memory::alloc_domain_frames(*domain, 0));
        return frames;
    }
    static xen_memory_reservation_t reservation(uint64_t extents, unsigned order) {
        xen_memory_reservation_t r{};
        r.extent_start.p = list_of<xen_pfn_t>();
        r.nr_extents = extents;
        r.extent_order = order;
        r.domid = DOMID_SELF;
        return r;
    }

  private:
    void create(uint16_t id, bool privileged) {
        DomainConfig config;
        config.max_vcpus = 2;
        config.privileged = privileged;
        const DomainRef domain = Domain::create(DomId{id}, config).value();
        domain->pages.lock()->max = 600;
        for (unsigned n = 0; n < 2; ++n) ASSERT_TRUE(domain->add_vcpu(VcpuId{n}).ok());
    }
};

/// Operations that say how much they have done: all of it, or else.
constexpr int64_t kNotAll = -1;
/// Grants have their own numbers.
constexpr int64_t kGrantError = GNTST_general_error;

TEST_F(OutOfMemory, CreateDomain) {
    exhaust([&] {
        const Account before;
        const int64_t result = domctl(XEN_DOMCTL_createdomain, kNew, [](xen_domctl& op) {
            op.u.createdomain.max_vcpus = 4;
            op.u.createdomain.max_grant_frames = -1;
            op.u.createdomain.max_maptrack_frames = -1;
            op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(2);
        });
        EXPECT_TRUE(result == 0 || Account{} == before) << "half a domain is left";
        return result;
    });
}

TEST_F(OutOfMemory, MakeVcpus) {
    const auto prepare = [&] {
        domctl(XEN_DOMCTL_createdomain, kNew, [](xen_domctl& op) {
            op.u.createdomain.max_vcpus = 4;
            op.u.createdomain.max_grant_frames = -1;
            op.u.createdomain.max_maptrack_frames = -1;
            op.u.createdomain.grant_opts = 1;
        });
    };
    exhaust(
        [&] {
            return domctl(XEN_DOMCTL_max_vcpus, kNew,
                          [](xen_domctl& op) { op.u.max_vcpus.max = 4; });
        },
        prepare);
}

TEST_F(OutOfMemory, Populate) {
    exhaust(
        [&] {
            for (uint64_t n = 0; n < 8; ++n) all().put(n, kList + 8 * n);
            const int64_t done =
                call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation(8, 2));
            // What it did not do, it has not told: the tools go on from there.
            EXPECT_EQ((*Domain::find(DomId{kGuest}))->pages.lock()->total % 4, 0u);
            return done < 8 ? kNotAll : done;
        },
        [] {}, kNotAll);
}

TEST_F(OutOfMemory, Increase) {
    exhaust(
        [&] {
            const int64_t done =
                call(__HYPERVISOR_memory_op, XENMEM_increase_reservation, reservation(5, 0));
            return done < 5 ? kNotAll : done;
        },
        [] {}, kNotAll);
}

TEST_F(OutOfMemory, Exchange) {
    const auto total = [] { return (*Domain::find(DomId{kGuest}))->pages.lock()->total; };
    uint64_t done = 0;
    const auto prepare = [&] {
        done = 0;
        const auto frames = give_frames(kGuest, 8);
        for (unsigned n = 0; n < 8; ++n) all().put(frames[n].raw(), kList + 8 * n);
    };
    exhaust(
        [&] {
            xen_memory_exchange_t exchange{};
            exchange.in = reservation(8, 0);
            exchange.out = reservation(8, 0);
            exchange.out.extent_start.p = reinterpret_cast<xen_pfn_t*>(list() + 256);
            exchange.nr_exchanged = done;  // what was done, stays done
            const int64_t result = call(__HYPERVISOR_memory_op, XENMEM_exchange, exchange);
            done = all().at<xen_memory_exchange_t>().nr_exchanged;
            EXPECT_EQ(total(), 8u);
            return result;
        },
        prepare);
}

TEST_F(OutOfMemory, MemoryMap) {
    exhaust([&] {
        use(kControl);
        xen_foreign_memory_map_t map{};
        map.domid = kGuest;
        map.map.nr_entries = 40;
        map.map.buffer.p = list_of<void>();
        return call(__HYPERVISOR_memory_op, XENMEM_set_memory_map, map);
    });
}

TEST_F(OutOfMemory, AcquireGrantFrames) {
    exhaust([&] {
        use(kControl);
        xen_mem_acquire_resource_t resource{};
        resource.domid = kGuest;
        resource.type = XENMEM_resource_grant_table;
        resource.id = XENMEM_resource_grant_table_id_shared;
        resource.nr_frames = 6;
        resource.frame_list.p = list_of<xen_pfn_t>();
        return call(__HYPERVISOR_memory_op, XENMEM_acquire_resource, resource);
    });
}

gnttab_setup_table_t grant_frames(uint32_t count) {
    gnttab_setup_table_t setup{};
    setup.dom = DOMID_SELF;
    setup.nr_frames = count;
    setup.frame_list.p = reinterpret_cast<xen_pfn_t*>(WholeMachine::linear(4096));
    return setup;
}

TEST_F(OutOfMemory, GrowGrantTable) {
    exhaust(
        [&] { return grant(GNTTABOP_setup_table, grant_frames(9), &gnttab_setup_table_t::status); },
        [] {}, kGrantError);
}

TEST_F(OutOfMemory, GrantVersionTwo) {
    const auto prepare = [&] {
        grant(GNTTABOP_setup_table, grant_frames(9), &gnttab_setup_table_t::status);
    };
    exhaust(
        [&] {
            return call(__HYPERVISOR_grant_table_op, GNTTABOP_set_version,
                        gnttab_set_version_t{.version = 2}, 1);
        },
        prepare);
}

TEST_F(OutOfMemory, GrowGrantTableOfVersionTwo) {
    const auto prepare = [&] {
        call(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, gnttab_set_version_t{.version = 2},
             1);
    };
    exhaust(
        [&] {
            return grant(GNTTABOP_setup_table, grant_frames(20), &gnttab_setup_table_t::status);
        },
        prepare, kGrantError);
}

/// The control domain maps frames of the guest's; each mapping takes an entry of its maptrack.
TEST_F(OutOfMemory, MapManyGrants) {
    constexpr unsigned kMappings = 300;
    Mfn table;
    const auto prepare = [&] {
        grant(GNTTABOP_setup_table, grant_frames(1), &gnttab_setup_table_t::status);
        auto* entries = arch::mfn_to_virt<grant_entry_v1_t>(Mfn{all().at<uint64_t>(kList)});
        const Mfn shown = give_frames(kGuest, 1)[0];
        entries[8] = {.flags = GTF_permit_access,
                      .domid = kControl,
                      .frame = static_cast<uint32_t>(shown.raw())};
        table = give_frames(kControl, 1)[0];
        use(kControl);
        mmuext_op pin{};
        pin.cmd = MMUEXT_PIN_L1_TABLE;
        pin.arg1.mfn = table.raw();
        ASSERT_EQ(all().call(__HYPERVISOR_mmuext_op, {all().put(pin), 1, 0, DOMID_SELF}), 0);
    };
    exhaust(
        [&] {
            use(kControl);
            for (unsigned n = 0; n < kMappings; ++n) {
                gnttab_map_grant_ref_t map{};
                map.host_addr = address_of(table) + 8 * n;
                map.flags = GNTMAP_host_map | GNTMAP_contains_pte;
                map.ref = 8;
                map.dom = kGuest;
                const int64_t status =
                    grant(GNTTABOP_map_grant_ref, map, &gnttab_map_grant_ref_t::status);
                if (status != GNTST_okay) return status;
            }
            return int64_t{0};
        },
        prepare, GNTST_no_space);
}

TEST_F(OutOfMemory, ManyPorts) {
    exhaust([&] {
        for (unsigned n = 0; n < 300; ++n) {
            const int64_t result = event(
                EVTCHNOP_alloc_unbound, evtchn_alloc_unbound_t{.dom = DOMID_SELF, .remote_dom = 1});
            if (result < 0) return result;
        }
        return int64_t{0};
    });
}

TEST_F(OutOfMemory, BindInterdomain) {
    const auto prepare = [&] {  // ports until the next one needs memory
        for (unsigned n = 0; n < 127; ++n)
            event(EVTCHNOP_alloc_unbound,
                  evtchn_alloc_unbound_t{.dom = DOMID_SELF, .remote_dom = DOMID_SELF});
    };
    exhaust(
        [&] {
            for (unsigned n = 1; n < 100; ++n) {
                const int64_t result =
                    event(EVTCHNOP_bind_interdomain,
                          evtchn_bind_interdomain_t{.remote_dom = DOMID_SELF, .remote_port = n});
                if (result == -XEN_ENOMEM) return result;
            }
            return int64_t{0};
        },
        prepare);
}

TEST_F(OutOfMemory, FifoOfEvents) {
    std::vector<Mfn> frames;
    const auto prepare = [&] { frames = give_frames(kGuest, 3); };
    exhaust(
        [&] {
            const int64_t result = event(
                EVTCHNOP_init_control,
                evtchn_init_control_t{.control_gfn = frames[0].raw(), .offset = 0, .vcpu = 0});
            if (result == -XEN_ENOMEM) return result;
            return event(EVTCHNOP_expand_array,
                         evtchn_expand_array_t{.array_gfn = frames[1].raw()});
        },
        prepare);
}

TEST_F(OutOfMemory, Permissions) {
    exhaust([&] {
        const int64_t ports = domctl(XEN_DOMCTL_ioport_permission, kGuest, [](xen_domctl& op) {
            op.u.ioport_permission.first_port = 0x60;
            op.u.ioport_permission.nr_ports = 5;
            op.u.ioport_permission.allow_access = 1;
        });
        return ports;
    });
    // Of a domain that has them all by itself, a list is kept of those that are taken away; this
    // one gets some.
    exhaust([&] {
        const auto guest = Domain::find(DomId{kGuest}).value();
        const Result<> permitted =
            arch::permit_device_frames(*guest, Mfn{0xfe000}, Mfn{0xfe00f}, true);
        return permitted.ok() ? 0 : -static_cast<int64_t>(permitted.error());
    });
}

TEST_F(OutOfMemory, CpuPolicies) {
    exhaust([&] {
        const auto both = [](xen_domctl& op) {
            op.u.cpu_policy.leaves.p = reinterpret_cast<xen_cpuid_leaf_t*>(list());
            op.u.cpu_policy.nr_leaves = 0;
            op.u.cpu_policy.nr_msrs = 0;
        };
        return domctl(XEN_DOMCTL_set_cpu_policy, kGuest, both);
    });
    exhaust([&] {
        return domctl(XEN_DOMCTL_get_cpu_policy, kGuest, [](xen_domctl& op) {
            op.u.cpu_policy.leaves.p = reinterpret_cast<xen_cpuid_leaf_t*>(list());
            op.u.cpu_policy.nr_leaves = 1000;
        });
    });
}

TEST_F(OutOfMemory, VcpuContexts) {
    const auto set = [](xen_domctl& op) {
        op.u.vcpucontext.vcpu = 1;
        op.u.vcpucontext.ctxt.p = list_of<vcpu_guest_context_t>();
    };
    // What the window holds is no context: that is found out only after the memory for it is there.
    std::fill(all().arguments.begin(), all().arguments.end(), 0);
    exhaust([&] {
        const int64_t result = domctl(XEN_DOMCTL_setvcpucontext, kGuest, set);
        return result == -XEN_EINVAL ? 0 : result;
    });
    exhaust([&] { return domctl(XEN_DOMCTL_getvcpucontext, kGuest, set); },
            [] { (*Domain::find(DomId{kGuest}))->vcpus[1]->initialised = true; });
    exhaust([&] {
        use(kGuest);
        const int64_t result =
            all().call(__HYPERVISOR_vcpu_op, {VCPUOP_initialise, 1, WholeMachine::linear()});
        return result == -XEN_EINVAL ? 0 : result;
    });
}

TEST_F(OutOfMemory, ExtendedState) {
    // A processor with XSAVE for x87 and SSE.
    auto& host = const_cast<arch::CpuPolicy&>(arch::cpu_policy::host());
    const arch::CpuPolicy before = host;
    host.basic[1].c |= 1u << 26;
    host.xstate[0].a = 3;
    const auto buffer = [](xen_domctl& op) {
        op.u.vcpuextstate.size = 2048;
        op.u.vcpuextstate.xfeature_mask = 3;
        op.u.vcpuextstate.buffer.p = list_of<uint64_t>();
    };
    exhaust([&] { return domctl(XEN_DOMCTL_getvcpuextstate, kGuest, buffer); });
    exhaust([&] {
        all().put(uint64_t{1}, kList);
        const int64_t result = domctl(XEN_DOMCTL_setvcpuextstate, kGuest, [&](xen_domctl& op) {
            buffer(op);
            op.u.vcpuextstate.size = 16 + 512 + 64;
        });
        return result == -XEN_EINVAL ? 0 : result;  // the guest's policy knows no XSAVE
    });
    host = before;
}

TEST_F(OutOfMemory, CreatePool) {
    exhaust([&] {
        const int64_t result = sysctl(XEN_SYSCTL_cpupool_op, [](xen_sysctl& op) {
            op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_CREATE;
            op.u.cpupool_op.cpupool_id = XEN_SYSCTL_CPUPOOL_PAR_ANY;
            op.u.cpupool_op.sched_id = XEN_SCHEDULER_CREDIT2;
        });
        if (result == 0) {
            EXPECT_TRUE(sched::destroy_pool(all().at<xen_sysctl>().u.cpupool_op.cpupool_id).ok());
            all().settle();
        }
        return result;
    });
}

}  // namespace
}  // namespace hv
