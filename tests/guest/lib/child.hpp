// A second, unprivileged PV domain, built by domctl and foreign mappings, that does what a test
// tells it: every hypercall can be tried from the outside of Domain 0.
#pragma once

#include "memory.hpp"
#include "platform.hpp"

namespace guest {

xen_sysctl_t sysctl_of(uint32_t cmd);
xen_domctl_t domctl_of(uint32_t cmd, domid_t domain);

/// XEN_DOMCTL_createdomain of an empty PV domain; fails the test when refused.
domid_t create_domain();
/// XEN_DOMCTL_destroydomain, and waits until the id is gone.
void destroy_domain(domid_t domain);
void set_max_memory(domid_t domain, uint64_t pages);
uint64_t free_pages();
/// The number once it no longer moves: a domain's last pages come back after everybody has passed
/// a quiet point, later than the call that destroyed it.
uint64_t settled_free_pages();
void expect_free_pages(uint64_t wanted);

/// The page that a child and Domain 0 share; puppet.S knows its offsets.
struct Mailbox {
    uint64_t request, done;
    int64_t result;
    uint64_t call, args[5];
    uint64_t turns;  ///< counts while the child runs
    uint64_t pad[22];
    uint64_t scratch[480];  ///< for what calls point at; at 256 in the page
};
static_assert(offsetof(Mailbox, scratch) == 256 && sizeof(Mailbox) == kPageSize);

/// Calls above the hypercalls' numbers that puppet.S carries out.
enum PuppetCall : unsigned {
    kRead = 0x1000,
    kWriteWord,
    kInvalid,
    kInPort,
    kSpin,
    kBreak,
    kJump,
    kEcho
};

class Child {
  public:
    static constexpr unsigned kPages = 32;
    static constexpr Arg kBase = 0xffffffff80000000;  ///< page n of the child is mapped at n pages
    static constexpr unsigned kMailboxPage = 5, kFirstFree = 8;
    static constexpr unsigned kSharedInfoPage = 40;  ///< mapped there, beyond its memory

    /// Builds the domain and starts it; fails the test where something is refused.
    Child();

    domid_t id() const { return id_; }
    uint64_t mfn(unsigned page) const { return mfns_[page]; }
    static Arg va(unsigned page) { return kBase + page * kPageSize; }
    volatile Mailbox& mailbox() const { return *mailbox_; }
    /// Address of scratch word n, as the child sees it.
    static Arg scratch(unsigned word) { return va(kMailboxPage) + 256 + word * 8; }
    template <typename T>
    T* scratch_as(unsigned word = 0) const {
        return reinterpret_cast<T*>(const_cast<uint64_t*>(&mailbox_->scratch[word]));
    }
    shared_info_t& shared() const { return *shared_; }
    /// Maps another of its pages into Domain 0; the address stays valid until forget().
    uint64_t* map(unsigned page);

    /// Lets the child carry out a call; fails the test when no answer comes.
    long call(unsigned number, Arg a1 = 0, Arg a2 = 0, Arg a3 = 0, Arg a4 = 0, Arg a5 = 0);
    /// The same without waiting for the answer.
    void order(unsigned number, Arg a1 = 0, Arg a2 = 0, Arg a3 = 0, Arg a4 = 0, Arg a5 = 0);
    /// A call of two arguments, the second a pointer to `arg`, copied there and back.
    template <typename T>
    long call_with(unsigned number, Arg command, T& arg) {
        auto* there = scratch_as<T>();
        __builtin_memcpy(there, &arg, sizeof arg);
        const long rc = call(number, command, scratch(0));
        __builtin_memcpy(&arg, there, sizeof arg);
        return rc;
    }

    xen_domctl_getdomaininfo_t info() const;
    /// Gives back every mapping that Domain 0 has of it.
    void forget();
    /// forget() and destroy_domain().
    void destroy();

    /// Has the child do nothing any more but sleep, and send an event on `port` of its own from
    /// each upcall. Its scratch words are in use from then on.
    void echo_events(evtchn_port_t port);

  private:
    void add_memory();
    void write_tables();
    void start();
    void* map_frame(uint64_t mfn);

    domid_t id_;
    xen_pfn_t mfns_[kPages];
    Window window_;
    volatile Mailbox* mailbox_ = nullptr;
    shared_info_t* shared_ = nullptr;
};

}  // namespace guest
