// Privileged instructions that the hypervisor carries out for the guest's kernel, CPUID, MSRs,
// ports.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "user.hpp"

namespace guest {

namespace {

struct CpuidResult {
    uint32_t eax, ebx, ecx, edx;
};
/// CPUID with the prefix that makes any hypervisor emulate it.
CpuidResult xen_cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    CpuidResult r{leaf, 0, subleaf, 0};
    asm volatile(XEN_CPUID : "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "=d"(r.edx));
    return r;
}
uint64_t rdmsr(uint32_t msr) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return static_cast<uint64_t>(high) << 32 | low;
}
void wrmsr(uint32_t msr, uint64_t value) {
    asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)));
}
uint64_t read_cr0() {
    uint64_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
void write_cr0(uint64_t value) {
    asm volatile("mov %0, %%cr0" ::"r"(value));
}
uint64_t read_cr4() {
    uint64_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
long set_iopl(unsigned iopl) {
    physdev_set_iopl_t request = {.iopl = iopl};
    return physdev_op(PHYSDEVOP_set_iopl, &request);
}
uint8_t in8(uint16_t port) {
    uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
void out8(uint16_t port, uint8_t value) {
    asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

constexpr uint64_t kCr0Ts = 8;

}  // namespace

TEST(cpuid_forced_emulation, "the ud2 'xen' prefix: the hypervisor's leaves and signature", "") {
    const CpuidResult r = xen_cpuid(0x40000000);
    CHECK(r.eax >= 0x40000002);
    CHECK_EQ(r.ebx, 0x566e6558);  // "XenV"
    CHECK_EQ(r.ecx, 0x65584d4d);  // "MMXe"
    CHECK_EQ(r.edx, 0x4d4d566e);  // "nVMM"
    CHECK_EQ(xen_cpuid(0x40000001).eax, 4 << 16 | 17);
}

TEST(cpuid_policy, "CPUID policy of a PV domain: what must be hidden is hidden", "") {
    const CpuidResult basic = xen_cpuid(1);
    CHECK(basic.edx & 1u << 26);     // SSE2
    CHECK(!(basic.ecx & 1u << 17));  // PCID
    CHECK(!(basic.ecx & 1u << 5));   // VMX
    CHECK(basic.ecx & 1u << 31);     // hypervisor present
    const CpuidResult seven = xen_cpuid(7);
    CHECK(!(seven.ecx & 1u << 16));  // five-level paging
    CHECK(!(seven.ebx & 1u << 20));  // SMAP
    CHECK(!(seven.ebx & 1u << 10));  // INVPCID
    const CpuidResult extended = xen_cpuid(0x80000001);
    CHECK(!(extended.ecx & 1u << 2));  // SVM
    CHECK(extended.edx & 1u << 29);    // long mode
}

USER_CODE(user_xen_cpuid, "mov $0x40000000, %eax; ud2; .ascii \"xen\"; cpuid; syscall");

TEST(cpuid_emulation_in_user, "the forced emulation prefix in user mode; the bare prefix is #UD",
     "") {
    const Trap trap = run_user(user_xen_cpuid);
    CHECK(trap.is(kSyscall));
    CHECK_EQ(static_cast<uint32_t>(trap.frame.rbx), 0x566e6558);
    CHECK(catch_trap([] { asm volatile("ud2; .ascii \"xen\"; nop"); }).is(kInvalidOpcode));
}

TEST(cr0_emulated, "mov from and to cr0: TS only, other changes refused or ignored", "") {
    const uint64_t cr0 = read_cr0();
    CHECK(cr0 & 1);
    CHECK(cr0 & 1ul << 31);
    write_cr0(cr0 | kCr0Ts);
    CHECK(read_cr0() & kCr0Ts);
    write_cr0(cr0 & ~kCr0Ts);
    CHECK(!(read_cr0() & kCr0Ts));
    CHECK(catch_trap([=] { write_cr0(cr0 ^ 1ul << 16); }).is(kGeneralProtection, 0));
}

TEST(clts_emulated, "clts clears the guest's TS", "") {
    CHECK_EQ(fpu_taskswitch(1), 0);
    CHECK(read_cr0() & kCr0Ts);
    asm volatile("clts");
    CHECK(!(read_cr0() & kCr0Ts));
}

TEST(cr2_emulated, "mov from and to cr2: the last fault's address, mirrored in vcpu_info", "") {
    CHECK(catch_trap([] { *reinterpret_cast<volatile char*>(0x1234567); }).is(kPageFault));
    uint64_t value;
    asm volatile("mov %%cr2, %0" : "=r"(value));
    CHECK_EQ(value, 0x1234567);
    asm volatile("mov %0, %%cr2" ::"r"(0x7654321ul));
    CHECK_EQ(vcpu_info().arch.cr2, 0x7654321);
}

TEST(cr3_emulated, "mov from cr3 gives the base pointer's frame; mov to cr3 flushes and switches",
     "") {
    uint64_t cr3;
    asm volatile("mov %%cr3, %0" : "=r"(cr3));
    CHECK_EQ(xen_cr3_to_pfn(cr3), mfn_of(boot_l4()));
    const Window window = open_window();
    auto* a = alloc_page_as<uint64_t>();
    auto* b = alloc_page_as<uint64_t>();
    *a = 1;
    *b = 2;
    CHECK_EQ(window.map(0, pte(mfn_of(a), kDataFlags)), 0);
    CHECK_EQ(*window.at(0), 1);
    CHECK_EQ(window.map(0, pte(mfn_of(b), kDataFlags)), 0);
    asm volatile("mov %0, %%cr3" ::"r"(cr3) : "memory");
    CHECK_EQ(*window.at(0), 2);
    const uint64_t bad = xen_pfn_to_cr3(mfn_of(a));
    CHECK(catch_trap([=] {
              asm volatile("mov %0, %%cr3" ::"r"(bad) : "memory");
          }).is(kGeneralProtection, 0));
}

TEST(cr4_emulated, "mov from cr4; a write that changes what is not the guest's is harmless", "") {
    const uint64_t cr4 = read_cr4();
    CHECK(cr4 & 1ul << 5);      // PAE
    CHECK(!(cr4 & 1ul << 13));  // VMXE
    CHECK(!(cr4 & 1ul << 21));  // SMAP
    asm volatile("mov %0, %%cr4" ::"r"(cr4));
    CHECK_EQ(read_cr4(), cr4);
    asm volatile("mov %0, %%cr4" ::"r"(cr4 & ~(1ul << 5)));
    CHECK_EQ(read_cr4(), cr4);
}

USER_CODE(user_cpuid_features, "mov $1, %eax; ud2; .ascii \"xen\"; cpuid; mov %ecx, %ebx; syscall");

TEST(osxsave_follows_cr4, "CPUID's OSXSAVE in user mode follows the guest's CR4", "") {
    const uint64_t cr4 = read_cr4();
    const uint64_t bit = 1ul << 18;
    for (const uint64_t wanted : {bit, 0ul, bit}) {
        asm volatile("mov %0, %%cr4" ::"r"((cr4 & ~bit) | wanted));
        CHECK_EQ(read_cr4() & bit, wanted);
        const Trap trap = run_user(user_cpuid_features);
        CHECK(trap.is(kSyscall));
        CHECK_EQ(!!(trap.frame.rbx & 1u << 27), !!wanted);
    }
    asm volatile("mov %0, %%cr4" ::"r"(cr4));
}

TEST(xsetbv_emulated, "xsetbv: x87, SSE and AVX accepted, an impossible mask is #GP", "") {
    const uint64_t cr4 = read_cr4();
    asm volatile("mov %0, %%cr4" ::"r"(cr4 | 1ul << 18));
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    CHECK_EQ(low, 7);
    CHECK(catch_trap([] {
              asm volatile("xsetbv" ::"c"(0), "a"(4), "d"(0));
          }).is(kGeneralProtection, 0));
    CHECK(catch_trap([] {
              asm volatile("xsetbv" ::"c"(1), "a"(7), "d"(0));
          }).is(kGeneralProtection, 0));
}

TEST(wbinvd_emulated, "wbinvd in Domain 0's kernel does no harm; hlt and lgdt are #GP", "") {
    asm volatile("wbinvd" ::: "memory");
    static const unsigned char pointer[10] = {};
    CHECK(catch_trap([] { asm volatile("lgdt %0" ::"m"(pointer)); }).is(kGeneralProtection, 0));
    CHECK(catch_trap([] { asm volatile("lidt %0" ::"m"(pointer)); }).is(kGeneralProtection, 0));
    CHECK(catch_trap([] { asm volatile("hlt"); }).is(kGeneralProtection, 0));
}

USER_CODE(user_rdtsc, "rdtsc; syscall");

TEST(rdtsc_runs, "rdtsc in the kernel and in user mode: no fault, never backwards", "") {
    uint64_t last = rdtsc();
    for (unsigned i = 0; i < 1000; ++i) {
        const uint64_t now = rdtsc();
        CHECK(now >= last);
        last = now;
    }
    const Trap trap = run_user(user_rdtsc);
    CHECK(trap.is(kSyscall));
    CHECK((trap.frame.rdx << 32 | trap.frame.rax) >= last);
}

TEST(msr_efer, "rdmsr EFER: long mode and syscall; the hypervisor's SVME is not shown", "") {
    const uint64_t efer = rdmsr(0xc0000080);
    CHECK(efer & 1);
    CHECK(efer & 1ul << 8);
    CHECK(efer & 1ul << 10);
    CHECK(!(efer & 1ul << 12));
}

TEST(msr_unknown, "rdmsr and wrmsr of an MSR that does not exist: #GP", "") {
    CHECK(catch_trap([] { rdmsr(0x12345678); }).is(kGeneralProtection, 0));
    CHECK(catch_trap([] { wrmsr(0x12345678, 0); }).is(kGeneralProtection, 0));
}

TEST(msr_sensitive_write, "wrmsr of LSTAR, EFER, the APIC base: never reaches the machine", "") {
    for (const uint32_t msr : {0xc0000082u, 0xc0000081u, 0x1bu, 0xc0000080u, 0xc0010117u}) {
        const Trap trap = catch_trap([=] { wrmsr(msr, 0xdead000); });
        CHECK(!trap.taken || trap.is(kGeneralProtection, 0));
    }
    CHECK_EQ(xen_version(XENVER_version), 4 << 16 | 17);
    CHECK(rdmsr(0xc0000080) & 1);
}

TEST(msr_apic_base, "rdmsr APIC_BASE: the BSP's enable bit is shown to Domain 0", "") {
    const uint64_t base = rdmsr(0x1b);
    note("0x%lx", base);
    CHECK(base & 1ul << 11);
}

TEST(port_iopl, "in and out: #GP until PHYSDEVOP_set_iopl gives the kernel IOPL", "") {
    CHECK_EQ(set_iopl(0), 0);
    CHECK(catch_trap([] { in8(0x71); }).is(kGeneralProtection, 0));
    CHECK_EQ(set_iopl(1), 0);
    out8(0x80, 0x55);
    in8(0x61);
    // The ISA bus answers nothing at a port where no device is.
    CHECK_EQ(in8(0x2e8), 0xff);
    CHECK_EQ(set_iopl(4), -kEINVAL);
    CHECK_EQ(set_iopl(0), 0);
}

TEST(port_denied, "in of the hypervisor's own ports: PIC, PIT, serial", "") {
    CHECK_EQ(set_iopl(1), 0);
    unsigned denied = 0;
    for (const uint16_t port : {0x20, 0x21, 0xa1, 0x40, 0x41, 0x3f8, 0x3fd}) {
        const Trap trap = catch_trap([=] { in8(port); });
        CHECK(!trap.taken || trap.is(kGeneralProtection, 0));
        denied += trap.taken || in8(port) == 0xff;
    }
    CHECK_EQ(set_iopl(0), 0);
    CHECK_EQ(denied, 7);
}

TEST(port_cmos, "out and in of the RTC's index and data: Domain 0 reads the year's century", "") {
    CHECK_EQ(set_iopl(1), 0);
    out8(0x70, 0x0d);
    CHECK(in8(0x71) & 0x80);  // the battery is good
    CHECK_EQ(set_iopl(0), 0);
}

USER_CODE(user_in, "mov %edi, %edx; inb %dx, %al; syscall");

TEST(port_user_bitmap, "PHYSDEVOP_set_iobitmap: user mode gets single ports", "") {
    auto* bitmap = alloc_page_as<uint8_t>();
    memset(bitmap, 0xff, 0x100);
    bitmap[0x61 / 8] = static_cast<uint8_t>(~(1u << (0x61 % 8)));
    physdev_set_iobitmap_t request = {.nr_ports = 0x800};
    set_xen_guest_handle(request.bitmap, bitmap);
    CHECK_EQ(physdev_op(PHYSDEVOP_set_iobitmap, &request), 0);
    TrapFrame frame = user_frame(user_in);
    frame.rdi = 0x61;
    CHECK(run_user(frame).is(kSyscall));
    frame.rdi = 0x62;
    CHECK(run_user(frame).is(kGeneralProtection, 0));
    request.nr_ports = 0x10001;
    CHECK_EQ(physdev_op(PHYSDEVOP_set_iobitmap, &request), -kEINVAL);
    request.nr_ports = 0;
    CHECK_EQ(physdev_op(PHYSDEVOP_set_iobitmap, &request), 0);
}

TEST(vm_assist_iopl,
     "vm_assist architectural_iopl: the IOPL of iret's flags opens ports to user mode", "") {
    TrapFrame frame = user_frame(user_in);
    frame.rdi = 0x61;
    frame.rflags |= 0x3000;
    CHECK(run_user(frame).is(kGeneralProtection, 0));
    CHECK_EQ(vm_assist(VMASST_CMD_enable, VMASST_TYPE_architectural_iopl), 0);
    const Trap with = run_user(frame);
    frame.rflags &= ~0x3000ul;
    const Trap without = run_user(frame);
    CHECK_EQ(vm_assist(VMASST_CMD_disable, VMASST_TYPE_architectural_iopl), 0);
    CHECK(with.is(kSyscall));
    CHECK_EQ(with.frame.rflags & 0x3000, 0x3000);
    CHECK(without.is(kGeneralProtection, 0));
}

TEST(port_string, "rep insb and outsb: emulated with their memory operand", "") {
    CHECK_EQ(set_iopl(1), 0);
    uint8_t bytes[4] = {1, 2, 3, 4};
    void* to = bytes;
    unsigned long count = 4;
    asm volatile("rep insb" : "+D"(to), "+c"(count) : "d"(0x2e8) : "memory");
    CHECK_EQ(count, 0);
    CHECK_EQ(addr(to), addr(bytes + 4));
    for (const uint8_t byte : bytes) CHECK_EQ(byte, 0xff);
    const void* from = bytes;
    count = 2;
    asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0x80) : "memory");
    CHECK_EQ(count, 0);
    CHECK_EQ(set_iopl(0), 0);
}

}  // namespace guest
