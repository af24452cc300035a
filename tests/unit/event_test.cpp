// Event channels against a model: what each operation answers, and who hears what.
#include <gtest/gtest.h>

#include "fake/small_machine.hpp"
#include "hv/hypercall/handlers.hpp"

#include <xen/event_channel.h>

namespace hv {
namespace {

constexpr int64_t kNoError = 0;
constexpr int64_t error(Errno e) {
    return -static_cast<int64_t>(e);
}

class EventTest : public SmallMachine {
  protected:
    EventTest() : host(create(0, smp(2))), guest(create(1, smp(2))) { run(guest); }

    static DomainConfig smp(uint32_t vcpus) {
        DomainConfig config;
        config.max_vcpus = vcpus;
        return config;
    }
    template <class Op>
    int64_t op(uint32_t command, Op& argument) {
        Outcome outcome =
            do_event_channel_op(command, reinterpret_cast<uint64_t>(&argument), 0, 0, 0);
        while (outcome.again) {
            process_softirqs();
            ++continuations;
            auto& args = machine_.current->continuation.args;
            outcome = do_event_channel_op(args[0], args[1], 0, 0, 0);
        }
        return outcome.value;
    }
    int64_t send(Port port) {
        evtchn_send arg{port.raw()};
        return op(EVTCHNOP_send, arg);
    }
    int64_t close(Port port) {
        evtchn_close arg{port.raw()};
        return op(EVTCHNOP_close, arg);
    }
    int64_t unmask(Port port) {
        evtchn_unmask arg{port.raw()};
        return op(EVTCHNOP_unmask, arg);
    }
    int64_t bind_vcpu(Port port, uint32_t vcpu) {
        evtchn_bind_vcpu arg{port.raw(), vcpu};
        return op(EVTCHNOP_bind_vcpu, arg);
    }
    int64_t alloc_unbound(domid_t remote, Port& port, domid_t domain = DOMID_SELF) {
        evtchn_alloc_unbound arg{domain, remote, 0};
        int64_t result = op(EVTCHNOP_alloc_unbound, arg);
        port = Port{arg.port};
        return result;
    }
    int64_t bind_interdomain(domid_t remote, Port remote_port, Port& port) {
        evtchn_bind_interdomain arg{remote, remote_port.raw(), 0};
        int64_t result = op(EVTCHNOP_bind_interdomain, arg);
        port = Port{arg.local_port};
        return result;
    }
    int64_t bind_virq(uint32_t virq, uint32_t vcpu, Port& port) {
        evtchn_bind_virq arg{virq, vcpu, 0};
        int64_t result = op(EVTCHNOP_bind_virq, arg);
        port = Port{arg.port};
        return result;
    }
    int64_t bind_ipi(uint32_t vcpu, Port& port) {
        evtchn_bind_ipi arg{vcpu, 0};
        int64_t result = op(EVTCHNOP_bind_ipi, arg);
        port = Port{arg.port};
        return result;
    }
    int64_t bind_pirq(uint32_t pirq, Port& port) {
        evtchn_bind_pirq arg{pirq, 0, 0};
        int64_t result = op(EVTCHNOP_bind_pirq, arg);
        port = Port{arg.port};
        return result;
    }
    evtchn_status status(Port port, domid_t domain = DOMID_SELF) {
        evtchn_status arg{};
        arg.dom = domain;
        arg.port = port.raw();
        EXPECT_EQ(op(EVTCHNOP_status, arg), kNoError);
        return arg;
    }
    /// A channel between the two domains: the guest's port and the host's.
    std::pair<Port, Port> connect() {
        Port theirs, ours;
        run(guest);
        EXPECT_EQ(alloc_unbound(0, theirs), kNoError);
        run(host);
        EXPECT_EQ(bind_interdomain(1, theirs, ours), kNoError);
        consume(host);
        run(guest);
        return {theirs, ours};
    }

    // The guest's side of the two-level ABI.
    static bool pending(Domain& domain, Port port) {
        return domain.shared->evtchn_pending[port.raw() / 64] >> (port.raw() % 64) & 1;
    }
    static void mask(Domain& domain, Port port) {
        domain.shared->evtchn_mask[port.raw() / 64] |= uint64_t{1} << (port.raw() % 64);
    }
    /// What a guest does in its upcall on a vCPU: the ports it finds, taken.
    static std::set<uint32_t> consume(Domain& domain, uint32_t vcpu = 0) {
        std::set<uint32_t> found;
        vcpu_info& info = domain.shared->vcpu_info[vcpu];
        info.evtchn_upcall_pending = 0;
        uint64_t words = std::exchange(info.evtchn_pending_sel, 0);
        for (uint32_t w = 0; w < 64; ++w) {
            if (!(words >> w & 1)) continue;
            uint64_t bits = domain.shared->evtchn_pending[w] & ~domain.shared->evtchn_mask[w];
            domain.shared->evtchn_pending[w] &= ~bits;
            for (uint32_t b = 0; b < 64; ++b)
                if (bits >> b & 1) found.insert(w * 64 + b);
        }
        return found;
    }
    using Ports = std::set<uint32_t>;

    Domain& host;
    Domain& guest;
    unsigned continuations = 0;
};

TEST_F(EventTest, UnboundPortWaitsForTheOneItIsMeantFor) {
    Port theirs, ours;
    ASSERT_EQ(alloc_unbound(0, theirs), kNoError);
    EXPECT_EQ(theirs, Port{1}) << "port 0 is never used";
    EXPECT_EQ(status(theirs).status, uint32_t{EVTCHNSTAT_unbound});
    EXPECT_EQ(status(theirs).u.unbound.dom, 0);
    EXPECT_EQ(send(theirs), kNoError) << "sending to nobody is dropped in silence";

    create(2);
    run(*machine_.domains[2]);
    EXPECT_EQ(bind_interdomain(1, theirs, ours), error(Errno::kEINVAL)) << "meant for another";
    run(host);
    EXPECT_EQ(bind_interdomain(1, Port{2}, ours), error(Errno::kEINVAL)) << "free";
    EXPECT_EQ(bind_interdomain(1, Port{5000}, ours), error(Errno::kEINVAL)) << "out of range";
    EXPECT_EQ(bind_interdomain(7, theirs, ours), error(Errno::kESRCH));
    ASSERT_EQ(bind_interdomain(1, theirs, ours), kNoError);
    EXPECT_EQ(consume(host), Ports{ours.raw()}) << "what came before may be lost, so look";
    Port second;
    EXPECT_EQ(bind_interdomain(1, theirs, second), error(Errno::kEINVAL)) << "bound already";

    evtchn_status s = status(ours);
    EXPECT_EQ(s.status, uint32_t{EVTCHNSTAT_interdomain});
    EXPECT_EQ(s.u.interdomain.dom, 1);
    EXPECT_EQ(s.u.interdomain.port, theirs.raw());
}

TEST_F(EventTest, SendReachesTheOtherEnd) {
    auto [theirs, ours] = connect();
    EXPECT_EQ(send(theirs), kNoError);
    EXPECT_TRUE(pending(host, ours));
    EXPECT_EQ(consume(host), Ports{ours.raw()});
    EXPECT_EQ(consume(guest), Ports{});
    run(host);
    EXPECT_EQ(send(ours), kNoError);
    EXPECT_EQ(consume(guest), Ports{theirs.raw()});
    EXPECT_EQ(send(Port{0}), error(Errno::kEINVAL));
    EXPECT_EQ(send(Port{100}), error(Errno::kEINVAL)) << "free port";
    EXPECT_EQ(send(Port{1u << 20}), error(Errno::kEINVAL));
}

TEST_F(EventTest, MaskedEventWaitsForUnmask) {
    auto [theirs, ours] = connect();
    mask(host, ours);
    send(theirs);
    EXPECT_EQ(consume(host), Ports{}) << "no selector bit while masked";
    EXPECT_TRUE(pending(host, ours));
    run(host);
    EXPECT_EQ(unmask(ours), kNoError);
    EXPECT_TRUE(host.shared->vcpu_info[0].evtchn_upcall_pending);
    EXPECT_EQ(consume(host), Ports{ours.raw()});
    EXPECT_EQ(unmask(Port{4096}), error(Errno::kEINVAL));
}

TEST_F(EventTest, RunningVcpuIsKickedBlockedOneWoken) {
    auto [theirs, ours] = connect();
    host.vcpus[0]->is_running = true;
    send(theirs);
    EXPECT_EQ(machine_.kicked, std::vector<CpuId>{0});
    EXPECT_TRUE(machine_.woken.empty());
    send(theirs);
    EXPECT_EQ(machine_.kicked.size(), 1u) << "still pending: it has been told";

    consume(host);
    host.vcpus[0]->is_running = false;
    host.vcpus[0]->pause_flags = pause::kBlocked;
    send(theirs);
    EXPECT_EQ(machine_.woken, std::vector<const Vcpu*>{host.vcpus[0]});
    EXPECT_EQ(machine_.kicked.size(), 1u);
}

TEST_F(EventTest, SendToOneselfNeedsNobodyElse) {
    Port port;
    ASSERT_EQ(bind_ipi(0, port), kNoError);
    guest.vcpus[0]->is_running = true;
    EXPECT_EQ(send(port), kNoError);
    EXPECT_EQ(consume(guest), Ports{port.raw()});
    EXPECT_TRUE(machine_.kicked.empty());
    EXPECT_TRUE(machine_.woken.empty());
}

TEST_F(EventTest, IpiGoesToItsVcpuAndCannotMove) {
    Port port;
    ASSERT_EQ(bind_ipi(1, port), kNoError);
    EXPECT_EQ(send(port), kNoError);
    EXPECT_EQ(consume(guest, 0), Ports{});
    EXPECT_EQ(consume(guest, 1), Ports{port.raw()});
    EXPECT_EQ(bind_vcpu(port, 0), error(Errno::kEINVAL));
    EXPECT_EQ(status(port).vcpu, 1u);
    EXPECT_EQ(bind_ipi(2, port), error(Errno::kENOENT));
    EXPECT_EQ(bind_ipi(~0u, port), error(Errno::kENOENT));
}

TEST_F(EventTest, ClosedEndLeavesTheOtherUnbound) {
    auto [theirs, ours] = connect();
    send(theirs);
    run(host);
    EXPECT_EQ(close(ours), kNoError);
    EXPECT_FALSE(pending(host, ours)) << "forgotten with the port";
    EXPECT_EQ(close(ours), error(Errno::kEINVAL));
    EXPECT_EQ(close(Port{0}), error(Errno::kEINVAL));
    run(guest);
    EXPECT_EQ(status(theirs).status, uint32_t{EVTCHNSTAT_unbound});
    EXPECT_EQ(status(theirs).u.unbound.dom, 0);
    EXPECT_EQ(send(theirs), kNoError);
    run(host);
    EXPECT_EQ(bind_interdomain(1, theirs, ours), kNoError) << "may bind again";
}

TEST_F(EventTest, LoopbackConnectsTwoPortsOfOneDomain) {
    Port a, b;
    ASSERT_EQ(alloc_unbound(DOMID_SELF, a), kNoError);
    ASSERT_EQ(bind_interdomain(DOMID_SELF, a, b), kNoError);
    consume(guest);
    EXPECT_EQ(send(a), kNoError);
    EXPECT_EQ(consume(guest), Ports{b.raw()});
    EXPECT_EQ(close(a), kNoError);
    EXPECT_EQ(status(b).status, uint32_t{EVTCHNSTAT_unbound});
}

TEST_F(EventTest, VirqsOfVcpusAndOfTheDomain) {
    Port timer0, timer1, console, again;
    EXPECT_EQ(bind_virq(VIRQ_TIMER, 0, timer0), kNoError);
    EXPECT_EQ(bind_virq(VIRQ_TIMER, 1, timer1), kNoError);
    EXPECT_EQ(bind_virq(VIRQ_TIMER, 1, again), error(Errno::kEEXIST));
    EXPECT_EQ(bind_virq(VIRQ_TIMER, 2, again), error(Errno::kENOENT));
    EXPECT_EQ(bind_virq(VIRQ_CON_RING, 1, again), error(Errno::kEINVAL)) << "global: vCPU 0 only";
    EXPECT_EQ(bind_virq(VIRQ_CON_RING, 0, console), kNoError);
    EXPECT_EQ(bind_virq(NR_VIRQS, 0, again), error(Errno::kEINVAL));
    EXPECT_EQ(bind_virq(~0u, 0, again), error(Errno::kEINVAL));

    event::send_virq(*guest.vcpus[1], VIRQ_TIMER);
    EXPECT_EQ(consume(guest, 0), Ports{});
    EXPECT_EQ(consume(guest, 1), Ports{timer1.raw()});
    event::send_virq(*guest.vcpus[1], VIRQ_DEBUG);  // unbound: nothing happens
    event::send_virq(*guest.vcpus[0], 1000);
    EXPECT_EQ(consume(guest, 1), Ports{});

    EXPECT_EQ(bind_vcpu(timer0, 1), error(Errno::kEINVAL)) << "a per-vCPU one cannot move";
    EXPECT_EQ(bind_vcpu(console, 1), kNoError);
    event::send_global_virq(guest, VIRQ_CON_RING);
    EXPECT_EQ(consume(guest, 1), Ports{console.raw()});
    EXPECT_EQ(send(console), error(Errno::kEINVAL)) << "nothing can be sent to a VIRQ";
    EXPECT_EQ(close(console), kNoError) << "although it moved";
    EXPECT_EQ(bind_virq(VIRQ_CON_RING, 0, console), kNoError) << "free again";
    EXPECT_EQ(status(timer1).u.virq, uint32_t{VIRQ_TIMER});
}

TEST_F(EventTest, HostVirqGoesToDomain0) {
    Port port;
    run(host);
    event::send_host_virq(VIRQ_DOM_EXC);
    ASSERT_EQ(bind_virq(VIRQ_DOM_EXC, 0, port), kNoError);
    EXPECT_EQ(consume(host), Ports{});
    event::send_host_virq(VIRQ_DOM_EXC);
    EXPECT_EQ(consume(host), Ports{port.raw()});
}

TEST_F(EventTest, HostVirqCanBeHandledElsewhere) {
    Port port;
    run(guest);
    ASSERT_EQ(bind_virq(VIRQ_DOM_EXC, 0, port), kNoError);
    EXPECT_EQ(event::set_host_virq_handler(VIRQ_TIMER, guest).error(), Errno::kEINVAL);
    EXPECT_EQ(event::set_host_virq_handler(NR_VIRQS, guest).error(), Errno::kEINVAL);
    ASSERT_TRUE(event::set_host_virq_handler(VIRQ_DOM_EXC, guest).ok());
    event::send_host_virq(VIRQ_DOM_EXC);
    EXPECT_EQ(consume(guest), Ports{port.raw()});
    run(host);
    ASSERT_EQ(bind_virq(VIRQ_DOM_EXC, 0, port), kNoError);
    kill(guest);
    event::send_host_virq(VIRQ_DOM_EXC);
    EXPECT_EQ(consume(host), Ports{port.raw()}) << "back to Domain 0";
}

TEST_F(EventTest, PirqIsBoundUndoneAndHeard) {
    Port port, again;
    run(host);
    machine_.refused_pirqs = {5};
    EXPECT_EQ(bind_pirq(5, port), error(Errno::kEPERM));
    ASSERT_EQ(bind_pirq(9, port), kNoError);
    EXPECT_EQ(port, Port{1}) << "the refused one gave its port back";
    EXPECT_EQ(bind_pirq(9, again), error(Errno::kEEXIST));
    EXPECT_EQ(bind_pirq(1u << 30, again), error(Errno::kEINVAL));
    EXPECT_TRUE(event::send_pirq(host, Pirq{9}));
    EXPECT_FALSE(event::send_pirq(host, Pirq{10}));
    EXPECT_FALSE(event::send_pirq(host, Pirq{1u << 30}));
    EXPECT_EQ(consume(host), Ports{port.raw()});
    EXPECT_EQ(bind_vcpu(port, 1), kNoError);
    EXPECT_EQ(machine_.bound_pirqs[9], 1u);
    EXPECT_EQ(status(port).u.pirq, 9u);
    EXPECT_EQ(close(port), kNoError);
    EXPECT_TRUE(machine_.bound_pirqs.empty());
    EXPECT_FALSE(event::send_pirq(host, Pirq{9}));
}

TEST_F(EventTest, OnlyTheControlDomainActsForOthers) {
    Port port;
    run(guest);
    EXPECT_EQ(alloc_unbound(1, port, 0), error(Errno::kEPERM));
    evtchn_status s{};
    s.dom = 0;
    s.port = 1;
    EXPECT_EQ(op(EVTCHNOP_status, s), error(Errno::kEPERM));
    evtchn_reset reset{0};
    EXPECT_EQ(op(EVTCHNOP_reset, reset), error(Errno::kEPERM));
    EXPECT_EQ(bind_pirq(9, port), error(Errno::kEPERM)) << "no interrupts of the machine";
    EXPECT_EQ(bind_pirq(1u << 30, port), error(Errno::kEINVAL));
    run(host);
    EXPECT_EQ(alloc_unbound(0, port, 1), kNoError);
    EXPECT_EQ(status(port, 1).status, uint32_t{EVTCHNSTAT_unbound});
    reset.dom = 1;
    EXPECT_EQ(op(EVTCHNOP_reset, reset), error(Errno::kEINVAL)) << "it runs";
    guest.controller_pauses = 1;
    EXPECT_EQ(op(EVTCHNOP_reset, reset), kNoError);
    EXPECT_EQ(status(port, 1).status, uint32_t{EVTCHNSTAT_closed});
    s.dom = 9;
    EXPECT_EQ(op(EVTCHNOP_status, s), error(Errno::kESRCH));
}

TEST_F(EventTest, HypervisorsPortIsNotTheGuests) {
    Port port = *event::alloc_unbound(guest, DomId{0});
    EXPECT_EQ(send(port), error(Errno::kEINVAL));
    EXPECT_EQ(close(port), error(Errno::kEINVAL));
    EXPECT_EQ(bind_vcpu(port, 1), error(Errno::kEINVAL));
    evtchn_status s{};
    s.dom = DOMID_SELF;
    s.port = port.raw();
    EXPECT_EQ(op(EVTCHNOP_status, s), error(Errno::kEACCES));
}

TEST_F(EventTest, PortsRunOutAtTheConfiguredLimit) {
    DomainConfig config = smp(1);
    config.max_event_port = 200;
    Domain& small = create(3, config);
    run(small);
    Port port;
    for (uint32_t i = 1; i <= 200; ++i) ASSERT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(port, Port{200});
    EXPECT_EQ(bind_ipi(0, port), error(Errno::kENOSPC));
    EXPECT_EQ(close(Port{17}), kNoError);
    EXPECT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(port, Port{17});
    config.max_event_port = ~0u;
    Domain& large = create(4, config);
    run(large);
    for (uint32_t i = 1; i < 4096; ++i) ASSERT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(bind_ipi(0, port), error(Errno::kENOSPC)) << "two-level ends at 4096";
}

TEST_F(EventTest, AnswerThatCannotBeWrittenLeavesNoPort) {
    evtchn_bind_ipi arg{0, 0};
    machine_.bad_address = reinterpret_cast<uint64_t>(&arg.port);
    EXPECT_EQ(op(EVTCHNOP_bind_ipi, arg), error(Errno::kEFAULT));
    machine_.bad_address = 0;
    Port port;
    EXPECT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(port, Port{1});
    EXPECT_EQ(do_event_channel_op(EVTCHNOP_send, 0, 0, 0, 0).value, error(Errno::kEFAULT));
    EXPECT_EQ(do_event_channel_op(99, 0, 0, 0, 0).value, error(Errno::kENOSYS));
}

TEST_F(EventTest, OutOfMemoryIsAnError) {
    run(host);
    Port port;
    machine_.fail_allocation = 1;
    EXPECT_EQ(bind_ipi(0, port), error(Errno::kENOMEM));
    machine_.fail_allocation = 2;  // the bucket is had, the table of PIRQs not
    EXPECT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(bind_pirq(3, port), error(Errno::kENOMEM));
    EXPECT_EQ(bind_pirq(3, port), kNoError);
}

TEST_F(EventTest, ResetClosesEverythingAndCanBeInterrupted) {
    run(host);
    Port port, pirq;
    for (int i = 0; i < 300; ++i) ASSERT_EQ(bind_ipi(0, port), kNoError);
    ASSERT_EQ(bind_pirq(4, pirq), kNoError);
    auto [theirs, ours] = connect();
    run(host);
    machine_.preempt_after = 2;
    evtchn_reset reset{DOMID_SELF};
    EXPECT_EQ(op(EVTCHNOP_reset, reset), kNoError);
    EXPECT_EQ(continuations, 1u);
    for (uint32_t p = 1; p < 384; ++p)
        EXPECT_EQ(status(Port{p}).status, uint32_t{EVTCHNSTAT_closed});
    EXPECT_TRUE(machine_.bound_pirqs.empty());
    run(guest);
    EXPECT_EQ(status(theirs).status, uint32_t{EVTCHNSTAT_unbound});
}

TEST_F(EventTest, PollerIsWokenByItsPortOnly) {
    Port a, b;
    bind_ipi(1, a);
    bind_ipi(1, b);
    mask(guest, a);
    mask(guest, b);
    Vcpu& poller = *guest.vcpus[1];
    poller.pause_flags = pause::kBlocked;
    event::begin_poll(poller, b.raw());
    send(a);
    EXPECT_TRUE(machine_.woken.empty());
    send(b);
    EXPECT_EQ(machine_.woken, std::vector<const Vcpu*>{&poller});
    EXPECT_EQ(poller.poll_port, 0u);
    EXPECT_TRUE(event::port_pending(guest, b)) << "it polls: the bit stays for it to find";

    poller.pause_flags = pause::kBlocked;
    event::begin_poll(poller, event::kPollSeveral);
    consume(guest, 1);
    guest.shared->evtchn_pending[0] = 0;
    send(a);
    EXPECT_EQ(machine_.woken.size(), 2u);
    EXPECT_FALSE(event::port_valid(guest, Port{1u << 31}));
}

TEST_F(EventTest, VcpuWithoutInfoHearsAfterItRegistersOne) {
    Port port;
    bind_ipi(1, port);
    vcpu_info* info = guest.vcpus[1]->info.exchange(nullptr);
    EXPECT_EQ(send(port), kNoError);
    EXPECT_FALSE(event::has_pending(*guest.vcpus[1]));
    guest.vcpus[1]->info = info;
    event::mark_all_pending(*guest.vcpus[1]);
    EXPECT_TRUE(event::has_pending(*guest.vcpus[1]));
    EXPECT_EQ(consume(guest, 1), Ports{port.raw()});
    info->evtchn_upcall_pending = info->evtchn_upcall_mask = 1;
    EXPECT_FALSE(event::has_pending(*guest.vcpus[1]));
}

TEST_F(EventTest, DyingDomainGivesUpItsPorts) {
    auto [theirs, ours] = connect();
    Domain& dying = guest;
    dying.dying = Dying::kDying;
    run(host);
    Port port;
    EXPECT_EQ(alloc_unbound(0, port, 1), error(Errno::kEINVAL));
    kill(dying);
    EXPECT_EQ(status(ours).status, uint32_t{EVTCHNSTAT_unbound});
    EXPECT_EQ(status(ours).u.unbound.dom, 1);
    event::dump(host);
    EXPECT_FALSE(machine_.log.empty());
}

/// The guest's side of the FIFO ABI, for one vCPU.
class FifoGuest {
  public:
    using Control = evtchn_fifo_control_block;

    FifoGuest(Control* control, std::vector<uint32_t*> pages)
        : control_(control), pages_(std::move(pages)) {}
    uint32_t& word(uint32_t port) { return pages_[port / 1024][port % 1024]; }
    void mask(Port port) { word(port.raw()) |= 1u << EVTCHN_FIFO_MASKED; }

    /// Takes all events off the queues, the most urgent first.
    std::vector<uint32_t> consume() {
        std::vector<uint32_t> found;
        uint32_t ready = std::exchange(control_->ready, 0);
        for (uint32_t p = 0; p < EVTCHN_FIFO_MAX_QUEUES; ++p) {
            if (!(ready >> p & 1)) continue;
            uint32_t port = std::exchange(control_->head[p], 0);
            while (port) {
                uint32_t& w = word(port);
                uint32_t next = w & EVTCHN_FIFO_LINK_MASK;
                w &= ~((1u << EVTCHN_FIFO_LINKED) | EVTCHN_FIFO_LINK_MASK);
                if (w >> EVTCHN_FIFO_PENDING & 1 && !(w >> EVTCHN_FIFO_MASKED & 1)) {
                    w &= ~(1u << EVTCHN_FIFO_PENDING);
                    found.push_back(port);
                }
                port = next;
            }
        }
        return found;
    }

  private:
    Control* control_;
    std::vector<uint32_t*> pages_;
};

class FifoTest : public EventTest {
  protected:
    /// Takes the running domain to the FIFO ABI, its vCPUs' blocks in one page.
    Mfn init_control(uint32_t vcpu, Mfn frame, uint32_t offset) {
        evtchn_init_control arg{};
        arg.control_gfn = frame.raw();
        arg.offset = offset;
        arg.vcpu = vcpu;
        result = op(EVTCHNOP_init_control, arg);
        if (result == 0) {
            EXPECT_EQ(arg.link_bits, 17);
        }
        return frame;
    }
    Mfn expand() {
        Mfn frame = frame_of(guest);
        evtchn_expand_array arg{frame.raw()};
        result = op(EVTCHNOP_expand_array, arg);
        return frame;
    }
    int64_t set_priority(Port port, uint32_t priority) {
        evtchn_set_priority arg{port.raw(), priority};
        return op(EVTCHNOP_set_priority, arg);
    }
    FifoGuest start() {
        control = frame_of(guest);
        init_control(0, control, 0);
        EXPECT_EQ(result, 0);
        init_control(1, control, 128);
        EXPECT_EQ(result, 0);
        Mfn page = expand();
        EXPECT_EQ(result, 0);
        return FifoGuest(block(0), {arch::mfn_to_virt<uint32_t>(page)});
    }
    evtchn_fifo_control_block* block(uint32_t vcpu) {
        return reinterpret_cast<evtchn_fifo_control_block*>(arch::mfn_to_virt<char>(control) +
                                                            vcpu * 128);
    }
    using List = std::vector<uint32_t>;

    Mfn control;
    int64_t result = 0;
};

TEST_F(FifoTest, EventsComeInOrderOfPriorityAndTime) {
    FifoGuest fifo = start();
    Port a, b, c;
    bind_ipi(0, a);
    bind_ipi(0, b);
    bind_ipi(0, c);
    EXPECT_EQ(set_priority(c, 2), kNoError);
    send(b);
    send(a);
    send(c);
    send(b);
    EXPECT_TRUE(guest.shared->vcpu_info[0].evtchn_upcall_pending);
    EXPECT_EQ(fifo.consume(), (List{c.raw(), b.raw(), a.raw()}));
    EXPECT_EQ(fifo.consume(), List{});
    send(a);
    EXPECT_EQ(fifo.consume(), List{a.raw()});
}

TEST_F(FifoTest, MaskedEventIsLinkedByUnmask) {
    FifoGuest fifo = start();
    Port a;
    bind_ipi(0, a);
    fifo.mask(a);
    send(a);
    EXPECT_EQ(fifo.consume(), List{});
    EXPECT_TRUE(event::port_pending(guest, a));
    EXPECT_EQ(unmask(a), kNoError);
    EXPECT_EQ(fifo.consume(), List{a.raw()});
}

TEST_F(FifoTest, WhatCameBeforeTheWordsIsNotLost) {
    Port two_level, early;
    bind_ipi(0, two_level);
    send(two_level);  // pending in the two-level ABI
    control = frame_of(guest);
    init_control(0, control, 0);
    ASSERT_EQ(result, 0);
    bind_ipi(0, early);
    send(early);
    Mfn page = expand();
    FifoGuest fifo(block(0), {arch::mfn_to_virt<uint32_t>(page)});
    EXPECT_EQ(fifo.consume(), (List{two_level.raw(), early.raw()}));
}

TEST_F(FifoTest, EventMovesToAnotherVcpusQueue) {
    FifoGuest fifo = start();
    Port theirs, ours;
    alloc_unbound(0, theirs);
    run(host);
    bind_interdomain(1, theirs, ours);
    send(ours);
    run(guest);
    EXPECT_EQ(fifo.consume(), List{theirs.raw()});
    bind_vcpu(theirs, 1);
    run(host);
    send(ours);
    EXPECT_EQ(block(1)->head[7], theirs.raw());
    EXPECT_EQ(block(0)->ready, 0u);
    EXPECT_TRUE(guest.shared->vcpu_info[1].evtchn_upcall_pending);
}

TEST_F(FifoTest, ClosedPortIsNotGivenOutWhileLinked) {
    FifoGuest fifo = start();
    Port a, b;
    bind_ipi(0, a);
    send(a);
    EXPECT_EQ(close(a), kNoError);
    bind_ipi(0, b);
    EXPECT_NE(a, b) << "its word is still on a queue";
    EXPECT_EQ(fifo.consume(), List{}) << "no longer pending";
    Port c;
    bind_ipi(0, c);
    EXPECT_EQ(c, a);
}

TEST_F(FifoTest, RefusalsOfSetup) {
    Port port;
    bind_ipi(0, port);
    EXPECT_EQ(set_priority(port, 3), error(Errno::kENOSYS)) << "two-level has no priorities";
    expand();
    EXPECT_EQ(result, error(Errno::kEOPNOTSUPP));
    Mfn frame = frame_of(guest);
    init_control(2, frame, 0);
    EXPECT_EQ(result, error(Errno::kENOENT));
    init_control(0, frame, 4096 - 64);
    EXPECT_EQ(result, error(Errno::kEINVAL)) << "across the page's end";
    init_control(0, frame, 4);
    EXPECT_EQ(result, error(Errno::kEINVAL)) << "not aligned";
    init_control(0, frame_of(host), 0);
    EXPECT_EQ(result, error(Errno::kEINVAL)) << "not its frame";
    for (unsigned n = 1; n <= 3; ++n) {
        machine_.fail_allocation = n;
        init_control(0, frame, 0);
        EXPECT_EQ(result, error(Errno::kENOMEM));
    }
    machine_.fail_allocation = 0;
    init_control(0, frame, 0);
    EXPECT_EQ(result, 0);
    init_control(0, frame, 128);
    EXPECT_EQ(result, error(Errno::kEINVAL)) << "has one";
    EXPECT_EQ(set_priority(port, 16), error(Errno::kEINVAL));
    EXPECT_EQ(set_priority(Port{900}, 3), error(Errno::kEINVAL));
}

TEST_F(FifoTest, LyingGuestHurtsOnlyItself) {
    FifoGuest fifo = start();
    Port a, b;
    bind_ipi(0, a);
    bind_ipi(0, b);
    send(a);
    fifo.word(a.raw()) = ~0u;  // links to anywhere
    block(0)->head[7] = 0xffffffff;
    block(0)->ready = 0;
    send(b);
    send(a);
    fifo.word(a.raw()) = 0;
    fifo.word(b.raw()) = 0;
    send(b);
    send(a);
    EXPECT_EQ(fifo.word(b.raw()) & EVTCHN_FIFO_LINK_MASK, a.raw());
}

TEST_F(FifoTest, ResetReturnsToTwoLevelAndThePages) {
    DomainConfig config = smp(1);
    config.max_event_port = ~0u;
    Domain& large = create(5, config);
    run(large);
    Mfn frame = frame_of(large);
    init_control(0, frame, 0);
    ASSERT_EQ(result, 0);
    std::vector<Mfn> pages;
    for (int i = 0; i < 5; ++i) {
        pages.push_back(frame_of(large));
        evtchn_expand_array arg{pages.back().raw()};
        ASSERT_EQ(op(EVTCHNOP_expand_array, arg), kNoError);
    }
    Port port;
    for (int i = 0; i < 5000; ++i) ASSERT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(port, Port{5000});
    EXPECT_EQ(send(port), kNoError);
    EXPECT_TRUE(event::port_pending(large, port));
    EXPECT_EQ(page_info(pages[4])->type_count(), 1u);
    evtchn_reset reset{DOMID_SELF};
    EXPECT_EQ(op(EVTCHNOP_reset, reset), kNoError);
    EXPECT_EQ(page_info(pages[4])->type_count(), 0u);
    EXPECT_EQ(page_info(frame)->ref_count(), 1u);
    EXPECT_EQ(send(port), error(Errno::kEINVAL));
    EXPECT_EQ(bind_ipi(0, port), kNoError);
    EXPECT_EQ(port, Port{1});
    EXPECT_EQ(send(port), kNoError);
    EXPECT_TRUE(pending(large, port)) << "in the shared info again";
}

/// Random operations on three domains, against the simplest description of what they should do.
TEST_F(EventTest, RandomOperationsFollowTheModel) {
    struct End {
        int state = 0;  // 0 free, 1 unbound, 2 interdomain
        uint16_t remote = 0;
        uint32_t remote_port = 0;
        bool pending = false;
    };
    create(2, smp(2));
    std::map<uint16_t, std::map<uint32_t, End>> model;
    uint32_t seed = 1;
    auto random = [&](uint32_t n) { return (seed = seed * 1664525 + 1013904223) / 65536 % n; };
    for (int step = 0; step < 20000; ++step) {
        auto id = static_cast<uint16_t>(random(3));
        Domain& domain = *machine_.domains[id];
        auto& ends = model[id];
        run(domain);
        Port port{1 + random(20)};
        auto other = static_cast<uint16_t>(random(3));
        switch (random(5)) {
            case 0: {
                if (ends.size() > 18) break;
                ASSERT_EQ(alloc_unbound(other, port), kNoError);
                ASSERT_FALSE(ends.contains(port.raw()));
                ends[port.raw()] = {1, other, 0, false};
                break;
            }
            case 1: {
                Port remote{1 + random(20)};
                auto& theirs = model[other];
                bool possible = theirs.contains(remote.raw()) && theirs[remote.raw()].state == 1 &&
                                theirs[remote.raw()].remote == id;
                int64_t result = bind_interdomain(other, remote, port);
                ASSERT_EQ(result, possible ? 0 : error(Errno::kEINVAL));
                if (!possible) break;
                ends[port.raw()] = {2, other, remote.raw(), true};
                theirs[remote.raw()].state = 2;
                theirs[remote.raw()].remote_port = port.raw();
                break;
            }
            case 2: {
                bool used = ends.contains(port.raw());
                ASSERT_EQ(close(port), used ? 0 : error(Errno::kEINVAL));
                if (!used) break;
                End end = ends[port.raw()];
                if (end.state == 2) model[end.remote][end.remote_port].state = 1;
                ends.erase(port.raw());
                break;
            }
            case 3: {
                bool used = ends.contains(port.raw());
                ASSERT_EQ(send(port), used ? 0 : error(Errno::kEINVAL));
                if (used && ends[port.raw()].state == 2)
                    model[ends[port.raw()].remote][ends[port.raw()].remote_port].pending = true;
                break;
            }
            case 4: {
                Ports expected;
                for (auto& [number, end] : ends)
                    if (std::exchange(end.pending, false)) expected.insert(number);
                ASSERT_EQ(consume(domain), expected);
                break;
            }
        }
    }
}

}  // namespace
}  // namespace hv
