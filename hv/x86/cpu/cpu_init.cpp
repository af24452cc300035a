#include "hv/x86/cpu/cpu_init.hpp"

#include "arch/memory.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/cpu/cpu_area.hpp"
#include "hv/x86/cpu/descriptors.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/cpu/speculation.hpp"
#include "hv/x86/paging/host.hpp"

extern "C" {
void entry_syscall();
void entry_syscall32();
extern char entry_stubs[];
}

namespace hv::cpu {

constinit Features detected_features = {};

namespace {

PerCpu<Mfn> gdt_pages;

constexpr uint64_t kStub32 = 64;  // where in the stub page the one for 32-bit code lies

struct [[gnu::packed]] DescriptorPointer {
    uint16_t limit;
    uint64_t base;
};

Gate idt[256] __attribute__((aligned(4096)));

void fill_idt() {
    for (unsigned v = 0; v < 256; ++v) {
        // A guest may raise by `int n` only what real hardware lets user code raise; other vectors
        // come as #GP and are looked up in the guest's own table (pv/traps.cpp).
        const bool user = v == 3 || v == 4 || v == 0x80;
        idt[v] = Gate::interrupt(reinterpret_cast<uint64_t>(entry_stubs) + v * 16, SEL_HV_CS,
                                 ist_of_vector(v), user ? 3 : 0);
    }
}

void fill_gdt_page(CpuId cpu) {
    auto* gdt = arch::mfn_to_virt<uint64_t>(gdt_pages.on(cpu));
    const auto set = [&](uint16_t selector, uint64_t descriptor) {
        gdt[(selector - kReservedGdtStart) / 8] = descriptor;
    };
    set(SEL_HV_CS, kCode64Ring0);
    set(SEL_HV_DS, kData32Ring0);
    set(kSelRing1Cs32, kCode32Ring1);
    set(kSelRing1Ds32, kData32Ring1);
    set(kSelRing3Cs32, kCode32Ring3);
    set(kSelRing3Ds32, kData32Ring3);
    set(kSelRing3Cs64, kCode64Ring3);
    const auto tss = SystemDescriptor::tss(area_address(cpu) + kTssOffset, sizeof(Tss) - 1);
    set(kSelTss, tss.low);
    set(kSelTss + 8, tss.high);
}

void fill_tss(Tss& tss, uint64_t stack) {
    tss = Tss{};
    tss.rsp0 = stack + STACK_SIZE - sizeof(CpuInfo) + REG_ES;
    for (unsigned i = 0; i < kIstStacks; ++i) tss.ist[i] = stack + (i + 1) * kPageSize;
    tss.io_map_base = sizeof(Tss);  // no bitmap: every port access of a guest faults
}

/// The guest's stack pointer is all that SYSCALL leaves us; the stub knows where its CPU's stack
/// lies. It runs at `address`, near the image and in the CPU's area.
void write_stub(uint8_t* code, uint64_t address, uint64_t stack, void (*entry)()) {
    const uint64_t saved_rsp = stack + STACK_SIZE - sizeof(CpuInfo) + REG_RSP;
    const auto put = [&](std::initializer_list<uint8_t> opcode, uint64_t target) {
        for (uint8_t b : opcode) *code++ = b;
        address += opcode.size() + 4;
        const auto distance = static_cast<uint32_t>(target - address);
        for (unsigned i = 0; i < 4; ++i) *code++ = static_cast<uint8_t>(distance >> (i * 8));
    };
    put({0x48, 0x89, 0x25}, saved_rsp);              // mov %rsp, regs.rsp(%rip)
    put({0x48, 0x8d, 0x25}, saved_rsp);              // lea regs.rsp(%rip), %rsp
    put({0xe9}, reinterpret_cast<uint64_t>(entry));  // jmp entry
}

void write_stubs(uint8_t* page, uint64_t area) {
    const uint64_t stubs = area + kStubOffset;
    write_stub(page, stubs, area, entry_syscall);
    write_stub(page + kStub32, stubs + kStub32, area, entry_syscall32);
}

}  // namespace

uint64_t own_cr4() {
    const Features& f = detected_features;
    uint64_t cr4 = kCr4Pae | kCr4De | kCr4Mce | kCr4OsFxsr | kCr4OsXmmExcpt;
    if (f.pge) cr4 |= kCr4Pge;
    if (f.fsgsbase) cr4 |= kCr4FsGsBase;
    if (f.xsave) cr4 |= kCr4OsXsave;
    if (f.smep) cr4 |= kCr4Smep;
    if (f.smap) cr4 |= kCr4Smap;
    return cr4;
}

namespace {

void set_syscall_msrs(CpuId cpu) {
    using namespace arch;
    const uint64_t stub = area_address(cpu) + kStubOffset;
    // SYSCALL: CS = STAR[47:32], SS = + 8. SYSRET to 64 bit: CS = STAR[63:48] + 16, SS = + 8.
    write_msr(msr::kStar, uint64_t{kSelRing3Cs32} << 48 | uint64_t{SEL_HV_CS} << 32);
    write_msr(msr::kLstar, stub);
    write_msr(msr::kCstar, stub + kStub32);
    write_msr(msr::kSfMask, kSyscallFlagMask);
    write_msr(msr::kEfer, read_msr(msr::kEfer) | kEferSce | kEferNxe);
    // WB WT UC- UC WC WP UC UC: the order PV guests are told (XEN_MSR_PAT of the ABI's documents).
    write_msr(msr::kPat, kXenPat);
}

}  // namespace

void detect_features() {
    const auto leaf1 = native::cpuid(1);
    const auto leaf7 = native::cpuid(0).a >= 7 ? native::cpuid(7) : native::Cpuid{};
    Features& f = detected_features;
    f.pge = leaf1.d >> 13 & 1;
    f.x2apic = leaf1.c >> 21 & 1;
    f.tsc_deadline = leaf1.c >> 24 & 1;
    f.xsave = leaf1.c >> 26 & 1;
    f.fsgsbase = leaf7.b & 1;
    f.smep = (leaf7.b >> 7 & 1) && boot::options().smep;
    f.smap = (leaf7.b >> 20 & 1) && boot::options().smap;
    f.invpcid = leaf7.b >> 10 & 1;
    f.umip = leaf7.c >> 2 & 1;
    f.la57 = leaf7.c >> 16 & 1;
    f.nx = true;  // boot/head.S insists
}

Result<void*> prepare_cpu_stack(CpuId cpu) {
    const uint64_t area = area_address(cpu);
    // The order 4 block is more than the area uses: the rest is given back.
    for (uint64_t offset = 0; offset < kAreaUsed; offset += kPageSize) {
        if (offset == kGuardPageOffset) continue;  // overflow of the ordinary stack faults
        const Mfn mfn = TRY(memory::alloc_frames(0));
        const bool stub = offset == kStubOffset;
        if (stub) write_stubs(arch::mfn_to_virt<uint8_t>(mfn), area);
        if (offset == kTssOffset) fill_tss(*arch::mfn_to_virt<Tss>(mfn), area);
        if (offset == kGdtPageOffset) gdt_pages.on(cpu) = mfn;
        TRY(paging::map_host(area + offset, address_of(mfn), kPageSize,
                             stub ? paging::kText : paging::kData));
    }
    fill_gdt_page(cpu);
    auto* info = reinterpret_cast<CpuInfo*>(area + STACK_SIZE - sizeof(CpuInfo));
    info->cpu = cpu;
    info->lock_stripe = base::LockStripe::of(cpu);
    info->work = softirq_word(cpu);
    return static_cast<void*>(info);
}

Mfn gdt_page_mfn(CpuId cpu) {
    return gdt_pages.on(cpu);
}
uint64_t idt_address() {
    return reinterpret_cast<uint64_t>(idt);
}
uint64_t own_gdt_base(CpuId cpu) {
    return area_address(cpu) + kGdtPageOffset - kReservedGdtStart;
}

void load_gdt(uint64_t base) {
    const DescriptorPointer pointer{kGdtLimit, base};
    asm volatile("lgdt %0" ::"m"(pointer));
}

void load_ldt(CpuId cpu, uint64_t base, uint32_t entries) {
    if (!entries) {
        asm volatile("lldt %w0" ::"r"(0));
        return;
    }
    auto* gdt = reinterpret_cast<uint64_t*>(area_address(cpu) + kGdtPageOffset);
    const auto ldt = SystemDescriptor::ldt(base, entries * 8 - 1);
    gdt[(kSelLdt - kReservedGdtStart) / 8] = ldt.low;
    gdt[(kSelLdt - kReservedGdtStart) / 8 + 1] = ldt.high;
    asm volatile("lldt %w0" ::"r"(kSelLdt));
}

void init_this_cpu(CpuId cpu) {
    if (cpu == 0) fill_idt();
    fill_gdt_page(cpu);  // an available TSS again, if this CPU comes a second time
    load_gdt(own_gdt_base(cpu));
    asm volatile(
        "pushq %0\n\t"
        "lea 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "lretq\n"
        "1:\n\t"
        "mov %1, %%ss\n\t"
        "mov %2, %%ds\n\t"
        "mov %2, %%es\n\t"
        "mov %2, %%fs\n\t"
        "mov %2, %%gs\n\t" ::"i"(SEL_HV_CS),
        "r"(SEL_HV_DS), "r"(0)
        : "rax", "memory");
    const DescriptorPointer idt_pointer{sizeof idt - 1, reinterpret_cast<uint64_t>(idt)};
    asm volatile("lidt %0" ::"m"(idt_pointer));
    asm volatile("lldt %w0" ::"r"(0));
    asm volatile("ltr %w0" ::"r"(kSelTss));
    write_cr4(own_cr4());
    set_syscall_msrs(cpu);
    make_lfence_serialise();
}

uint64_t idle_cr3() {
    return address_of(paging::host_l4_mfn());
}

}  // namespace hv::cpu
