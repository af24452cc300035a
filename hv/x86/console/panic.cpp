// The end: what happened, where, and then a restart or a halt.
#include <atomic>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/console.hpp"
#include "hv/console/log.hpp"
#include "hv/console/ring.hpp"
#include "hv/console/symbols.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/counters.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/time/rtc.hpp"

extern "C" {
extern const unsigned char build_id_start[], build_id_end[];
extern char image_start[], text_end[];
}

namespace hv {
namespace {

void print_piece(void*, std::string_view piece) {
    console::write(piece);
}

template <class... Args>
void print(std::string_view format, const Args&... args) {
    base::format_to(print_piece, nullptr, format, args...);
}

void print_build_id() {
    constexpr size_t kNoteHeader = 16;  // sizes, type, "GNU"
    print("(XEN) build id ");
    for (const unsigned char* b = build_id_start + kNoteHeader; b < build_id_end; ++b)
        print("{:02x}", static_cast<unsigned>(*b));
    print("\n");
}

bool in_text(uint64_t address) {
    return address >= reinterpret_cast<uint64_t>(image_start) &&
           address < reinterpret_cast<uint64_t>(text_end);
}

/// Along the frame pointers, on this stack only.
void print_backtrace() {
    const auto* frame = static_cast<const uint64_t*>(__builtin_frame_address(0));
    const uint64_t stack = reinterpret_cast<uint64_t>(frame) & ~uint64_t{STACK_SIZE - 1};
    print("(XEN) called from:");
    for (unsigned depth = 0; depth < 24 && in_text(frame[1]); ++depth) {
        const symbols::Place place = symbols::place_of(frame[1]);
        print(" {:x} {}+{:x}", frame[1], place.name, place.offset);
        const auto next = frame[0];
        if (next <= reinterpret_cast<uint64_t>(frame) || next >= stack + STACK_SIZE) break;
        frame = reinterpret_cast<const uint64_t*>(next);
    }
    print("\n");
}

void print_guest() {
    const Vcpu* v = cpu::cpu_info().current;
    if (!v || arch::is_idle(*v)) return;
    const arch::Registers& r = cpu::guest_registers();
    print("(XEN) running d{}v{}: rip {:x} rsp {:x} cs {:x} flags {:x} rax {:x} rdi {:x} rsi {:x}\n",
          v->domain->id, v->id, r.rip, r.rsp, r.cs, r.rflags, r.rax, r.rdi, r.rsi);
}

/// In the debug build: what the vCPU that runs here asked for last, the newest first.
void print_calls() {
    const Vcpu* v = cpu::cpu_info().current;
    if (!v || arch::is_idle(*v)) return;
    counters::Call call;
    for (unsigned back = 0; back < 8 && counters::last_call(*v, back, call); ++back)
        print("(XEN) {} hypercall {} ({:x}, …)\n", back ? "before it" : "last", call.number,
              call.first_argument);
}

/// From the page tables in use to where the last page fault was, as far as they go.
void print_walk() {
    const uint64_t address = cpu::read_cr2();
    uint64_t entry = cpu::read_cr3();
    print("(XEN) last fault at {:x}, by table {:x}:", address, entry & paging::Entry::kAddress);
    for (unsigned level = 4; level >= 1; --level) {
        const Mfn table = paging::Entry(entry).mfn();
        if (table >= memory::max_page()) break;
        entry = arch::mfn_to_virt<uint64_t>(table)[paging::index_of(address, level)];
        print(" L{} {:x}", level, entry);
        const paging::Entry read(entry);
        if (!read.present() || (level > 1 && read.large())) break;
    }
    print("\n");
}

}  // namespace

void panic_args(std::string_view format, const base::FormatArg* args, size_t count) {
    asm volatile("cli");
    static std::atomic<bool> once;
    if (once.exchange(true))
        for (;;) asm volatile("hlt");
    arch::machine_quiesce();
    console::reclaim_screen();
    print("\n(XEN) ****************************************\n(XEN) Panic on CPU {}:\n(XEN) ",
          cpu::cpu_info().cpu);
    base::format_args(print_piece, nullptr, format, args, count);
    print("\n");
    print_guest();
    print_walk();
    if constexpr (counters::kOn) print_calls();
    print_backtrace();
    print_build_id();
    print("(XEN) ****************************************\n");
    if (boot::options().noreboot) {
        print("(XEN) noreboot is given: the machine stays as it is. Reset it by hand.");
        for (;;) asm volatile("hlt");
    }
    constexpr unsigned kSecondsToRead = 5;
    print("(XEN) Rebooting in {} seconds (noreboot: not at all).", kSecondsToRead);
    time::wait_rtc_seconds(kSecondsToRead);
    print("\n");
    arch::machine_restart();
}

}  // namespace hv
