// Privileged instructions of PV guests: what is carried out, what is refused, and what of the
// guest's memory is touched on the way. What runs real privileged instructions is left out.
#include "hv/x86/pv/privileged.hpp"

#include <gtest/gtest.h>
#include <xen/arch-x86/cpufeatureset.h>
#include <xen/arch-x86/cpuid.h>

#include <random>

#include "fake/pv_machine.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/pv/control_registers.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/port_io.hpp"

namespace {

using namespace hv;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kCode = 0xffffffff81001000;
constexpr uint16_t kFlatCode = 0xe033;

class Privileged : public testing::Test {
  protected:
    PvMachine machine;
    arch::Registers regs{};
    arch::PvVcpu& pv_state = machine.vcpu.arch.pv;

    void SetUp() override {
        machine.map(kCode);
        regs.rip = kCode;
        regs.cs = kFlatCode;
        regs.rflags = eflags::kIf | 2;
    }
    bool run(const Bytes& bytes) {
        machine.put(regs.rip, bytes);
        return pv::emulate_privileged(regs);
    }
    /// Runs it and expects that it was carried out whole.
    void carry_out(const Bytes& bytes) {
        uint64_t rip = regs.rip;
        EXPECT_TRUE(run(bytes));
        EXPECT_EQ(regs.rip, rip + bytes.size());
        EXPECT_TRUE(machine.traps.empty());
    }
    /// Runs it and expects a #GP for the guest, with nothing changed.
    void refuse(const Bytes& bytes) {
        arch::Registers before = regs;
        EXPECT_FALSE(run(bytes));
        EXPECT_EQ(memcmp(&regs, &before, sizeof(regs)), 0);
    }
};

TEST_F(Privileged, ControlRegistersReadAsTheGuestsOwn) {
    pv_state.cr2_guest = 0x1234;
    pv_state.kernel_table = Mfn{0x567};
    pv_state.cr4_guest = 0x620;
    carry_out({0x0f, 0x20, 0xc0});
    EXPECT_EQ(regs.rax, 0x80050033u);
    carry_out({0x41, 0x0f, 0x20, 0xd7});  // mov %cr2,%r15
    EXPECT_EQ(regs.r15, 0x1234u);
    carry_out({0x0f, 0x20, 0xdb});
    EXPECT_EQ(regs.rbx, 0x567000u);
    carry_out({0x0f, 0x20, 0xe1});
    EXPECT_EQ(regs.rcx, 0x620u);
    refuse({0x0f, 0x20, 0xc8});        // CR1
    refuse({0x44, 0x0f, 0x20, 0xc0});  // CR8
}

TEST_F(Privileged, ModOfAControlRegisterMoveIsIgnored) {
    carry_out({0x0f, 0x20, 0x00});
    EXPECT_EQ(regs.rax, 0x80050033u);
}

TEST_F(Privileged, OnlyTsOfCr0Changes) {
    regs.rax = 0x8005003b;
    carry_out({0x0f, 0x22, 0xc0});
    carry_out({0x0f, 0x20, 0xc3});
    EXPECT_EQ(regs.rbx, 0x8005003bu);
    carry_out({0x0f, 0x06});  // clts
    carry_out({0x0f, 0x20, 0xc3});
    EXPECT_EQ(regs.rbx, 0x80050033u);
    regs.rax = 0x80050033 & ~cr0::kWp;
    refuse({0x0f, 0x22, 0xc0});
    regs.rax = 0xb;
    carry_out({0x0f, 0x01, 0xf0});  // lmsw %ax
    EXPECT_TRUE(pv_state.cr0_guest & cr0::kTs);
}

TEST_F(Privileged, Cr2AndCr3) {
    regs.rax = 0xdead000;
    carry_out({0x0f, 0x22, 0xd0});
    EXPECT_EQ(pv_state.cr2_guest, 0xdead000u);
    EXPECT_EQ(machine.info.arch.cr2, 0xdead000u);
    carry_out({0x0f, 0x22, 0xd8});
    EXPECT_EQ(machine.new_cr3, 0xdeadu);
    regs.rax = 0;
    refuse({0x0f, 0x22, 0xd8});
}

TEST_F(Privileged, Cr3WaitsUntilTheTableBeforeIsDropped) {
    machine.table_is_parked = true;
    regs.rax = 0xdead000;
    EXPECT_TRUE(run({0x0f, 0x22, 0xd8}));
    EXPECT_EQ(regs.rip, kCode);  // it runs again
    EXPECT_EQ(machine.new_cr3, 0u);
    EXPECT_TRUE(machine.traps.empty());
}

TEST_F(Privileged, Cr4KeepsToThePolicy) {
    arch::Featureset set{};
    set[0] = 1 << (XEN_X86_FEATURE_TSC % 32);
    machine.policy.set_featureset(set);
    EXPECT_EQ(pv::guest_cr4(machine.vcpu, ~uint64_t{0}), cr4::kTsd | pv::kVisibleCr4);
    machine.vcpu.arch.pv.cr4_guest = cr4::kTsd;
    EXPECT_EQ(pv::real_cr4(machine.vcpu, cr4::kPae | cr4::kDe | cr4::kOsxsave),
              cr4::kPae | cr4::kTsd | cr4::kOsxsave);
}

TEST_F(Privileged, UserModeHasNoPrivilege) {
    pv_state.kernel_mode = false;
    for (const Bytes& bytes :
         {Bytes{0x0f, 0x20, 0xc0}, Bytes{0x0f, 0x06}, Bytes{0x0f, 0x32}, Bytes{0x0f, 0x30},
          Bytes{0x0f, 0x09}, Bytes{0x0f, 0x01, 0xd1}, Bytes{0x0f, 0x31}, Bytes{0x0f, 0x21, 0xc0}})
        refuse(bytes);
}

TEST_F(Privileged, WhatIsNotPrivilegedIsRefused) {
    for (const Bytes& bytes :
         {Bytes{0x90}, Bytes{0xf4}, Bytes{0x0f, 0x00, 0xd0}, Bytes{0xcf}, Bytes{0x0f, 0x01, 0x10},
          Bytes{0x0f, 0x07}, Bytes{0x0f, 0x0b}, Bytes{0xf0, 0x0f, 0x20, 0xc0}})
        refuse(bytes);
    refuse(Bytes(16, 0x66));  // longer than an instruction may be
}

TEST_F(Privileged, CompatibilityModeIsRefused) {
    regs.cs = 0x23;  // 32-bit code in the GDT this test runs on
    refuse({0x0f, 0x20, 0xc0});
}

TEST_F(Privileged, TheNextPageIsNotTouchedBeforeItIsNeeded) {
    regs.rip = kCode + kPageSize - 3;
    EXPECT_TRUE(run({0x0f, 0x20, 0xc0}));
    // An instruction that goes on where no page is runs again, so that the CPU faults.
    regs.rip = kCode + kPageSize - 2;
    machine.put(regs.rip, {0x0f, 0x20});
    EXPECT_TRUE(pv::emulate_privileged(regs));
    EXPECT_EQ(regs.rip, kCode + kPageSize - 2);
    EXPECT_TRUE(machine.traps.empty());
}

TEST_F(Privileged, AnInstructionAcrossTwoPages) {
    machine.map(kCode + kPageSize);
    regs.rip = kCode + kPageSize - 1;
    carry_out({0x0f, 0x20, 0xc0});
}

TEST_F(Privileged, SingleStepFollows) {
    regs.rflags |= eflags::kTf | eflags::kRf;
    EXPECT_TRUE(run({0x0f, 0x06}));
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 1);
    EXPECT_TRUE(pv_state.debug_registers[6] & pv::kDr6SingleStep);
    EXPECT_FALSE(regs.rflags & eflags::kRf);
}

TEST_F(Privileged, XsetbvNeedsOsxsave) {
    regs.rcx = 0, regs.rax = 7, regs.rdx = 0;
    EXPECT_TRUE(run({0x0f, 0x01, 0xd1}));
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 6);
    EXPECT_EQ(regs.rip, kCode);
    machine.traps.clear();

    pv_state.cr4_guest |= cr4::kOsxsave;
    carry_out({0x0f, 0x01, 0xd1});
    EXPECT_EQ(machine.vcpu.arch.xcr0, 7u);
    regs.rax = 6;
    refuse({0x0f, 0x01, 0xd1});
    regs.rax = 7, regs.rcx = 1;
    refuse({0x0f, 0x01, 0xd1});
}

TEST_F(Privileged, Msrs) {
    auto read = [&](uint32_t number) {
        regs.rcx = number;
        carry_out({0x0f, 0x32});
        return regs.rdx << 32 | regs.rax;
    };
    EXPECT_EQ(read(0x1b), 0xfee00900u);
    EXPECT_EQ(read(0x277), 0x050100070406u);
    EXPECT_EQ(read(0x179), 0u);
    pv_state.gs_base_user = 0x7f0012345678;
    EXPECT_EQ(read(0xc0000102), 0x7f0012345678u);

    regs.rcx = 0xfe;  // MTRRs are hidden
    refuse({0x0f, 0x32});
    regs.rcx = 0x12345;
    refuse({0x0f, 0x32});
    refuse({0x0f, 0x30});
    pv_state.traps[13].address = 0;  // before there is a handler, reads give 0
    EXPECT_EQ(read(0x12345), 0u);
    regs.rcx = 0x12345;
    refuse({0x0f, 0x30});
    regs.rcx = 0xc0000100;  // not canonical
    regs.rdx = 0x12345678;
    refuse({0x0f, 0x30});
    regs.rcx = 0x140;  // CPUID faulting, which this machine has not
    regs.rax = 1, regs.rdx = 0;
    refuse({0x0f, 0x30});
}

TEST_F(Privileged, MakersMsrsExistOnTheirMachinesOnly) {
    regs.rcx = 0xc0010015;
    refuse({0x0f, 0x32});
    machine.host.basic[0].b = 0x68747541;
    carry_out({0x0f, 0x32});
    EXPECT_EQ(regs.rax, 0u);
    regs.rcx = 0x199;
    refuse({0x0f, 0x32});
}

TEST_F(Privileged, ForcedCpuid) {
    machine.put(kCode, {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2});
    regs.rax = 0x40000000;
    EXPECT_TRUE(pv::emulate_invalid_opcode(regs));
    EXPECT_EQ(regs.rip, kCode + 7);
    EXPECT_EQ(regs.rbx, uint64_t{XEN_CPUID_SIGNATURE_EBX});
    arch::Registers before = regs;
    for (const Bytes& bytes : {Bytes{0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa1}, Bytes{0x0f, 0x0b, 'y'},
                               Bytes{0x0f, 0xff}}) {
        machine.put(regs.rip, bytes);
        EXPECT_FALSE(pv::emulate_invalid_opcode(regs));
        EXPECT_EQ(memcmp(&regs, &before, sizeof(regs)), 0);
    }
    regs.rip = kCode + kPageSize - 2;  // ud2 at the end of a page, nothing behind
    machine.put(regs.rip, {0x0f, 0x0b});
    EXPECT_FALSE(pv::emulate_invalid_opcode(regs));
}

TEST_F(Privileged, CliAndStiWantIopl) {
    refuse({0xfa});
    pv_state.iopl = 1;
    carry_out({0xfa});
    carry_out({0xfb});
    EXPECT_TRUE(regs.rflags & eflags::kIf);
    pv_state.kernel_mode = false;
    refuse({0xfa});
    pv_state.iopl = 3;
    carry_out({0xfa});
}

TEST_F(Privileged, ArchitecturalIoplMakesTheKernelRingZero) {
    EXPECT_FALSE(pv::iopl_permits(machine.vcpu));
    machine.domain.vm_assist = uint64_t{1} << VMASST_TYPE_architectural_iopl;
    EXPECT_TRUE(pv::iopl_permits(machine.vcpu));
    pv_state.kernel_mode = false;
    EXPECT_FALSE(pv::iopl_permits(machine.vcpu));
}

TEST_F(Privileged, PortsOfAnUnprivilegedDomainReadAsOnes) {
    regs.rdx = 0x3f8;
    regs.rax = 0;
    refuse({0xec});
    pv_state.iopl = 1;
    carry_out({0xec});
    EXPECT_EQ(regs.rax, 0xffu);
    carry_out({0x66, 0xed});
    EXPECT_EQ(regs.rax, 0xffffu);
    regs.rax = ~uint64_t{0};
    carry_out({0xe5, 0x70});
    EXPECT_EQ(regs.rax, 0xffffffffu);
    carry_out({0xee});
    carry_out({0xe7, 0x43});
    for (uint16_t port : {0x20, 0x40, 0x42, 0x43, 0x61, 0x70, 0x71, 0xcf8, 0xcfc}) {
        for (unsigned size : {1u, 2u, 4u}) {
            uint32_t ones = size == 4 ? ~0u : (1u << 8 * size) - 1;
            EXPECT_EQ(pv::read_port(machine.vcpu, port, size), ones) << port;
            pv::write_port(machine.vcpu, port, size, 0);
        }
    }
    EXPECT_TRUE(machine.config.empty());
}

TEST_F(Privileged, TheGuestsBitmapPermitsPorts) {
    pv_state.kernel_mode = false;
    pv_state.physdev_port_bitmap = kCode + 0x800;
    pv_state.physdev_port_bitmap_bytes = 16;
    Bytes map(16, 0xff);
    map[8] = 0xf8;  // ports 64, 65 and 66
    machine.put(kCode + 0x800, map);
    EXPECT_TRUE(pv::port_access_permitted(machine.vcpu, 64, 1));
    EXPECT_TRUE(pv::port_access_permitted(machine.vcpu, 65, 2));
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 66, 2));
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 64, 4));
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 63, 2));
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 127, 2));  // beyond the map
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 0xffff, 4));
    pv_state.physdev_port_bitmap = 0x1000;  // not there
    EXPECT_FALSE(pv::port_access_permitted(machine.vcpu, 64, 1));
    EXPECT_FALSE(pv_state.kernel_mode);
    EXPECT_EQ(machine.toggles % 2, 0u);
}

TEST_F(Privileged, Domain0MayUseAllPortsButTheHypervisors) {
    Domain& d = machine.domain;
    EXPECT_FALSE(arch::may_use_ports(d, 0x60, 1));
    d.is_hardware = true;
    EXPECT_TRUE(arch::may_use_ports(d, 0x60, 1));
    EXPECT_TRUE(arch::may_use_ports(d, 0x2f8, 8));
    EXPECT_TRUE(arch::may_use_ports(d, 0xcf9, 1));
    for (uint16_t port :
         {0x20, 0x21, 0xa0, 0xa1, 0x40, 0x43, 0x61, 0x70, 0x71, 0xcfc, 0xcff, 0x3f8, 0x3ff})
        EXPECT_FALSE(arch::may_use_ports(d, port, 1)) << port;
    EXPECT_FALSE(arch::may_use_ports(d, 0x60, 4));
    EXPECT_FALSE(arch::may_use_ports(d, 0x3f7, 2));
    EXPECT_FALSE(arch::may_use_ports(d, 0xffff, 2));
}

TEST_F(Privileged, GrantedPorts) {
    auto ports = std::make_unique<Bitmap<65536>>();
    ports->set(0x300);
    ports->set(0x301);
    machine.domain.arch.ioports = ports.get();
    EXPECT_TRUE(arch::may_use_ports(machine.domain, 0x300, 2));
    EXPECT_FALSE(arch::may_use_ports(machine.domain, 0x300, 4));
    EXPECT_FALSE(arch::may_use_ports(machine.domain, 0x302, 1));
    machine.domain.arch.ioports = nullptr;
}

TEST_F(Privileged, ConfigurationCyclesOfDomain0) {
    machine.domain.is_hardware = true;
    Vcpu& v = machine.vcpu;
    EXPECT_EQ(pv::read_port(v, 0xcfc, 4), ~0u);  // not enabled
    pv::write_port(v, 0xcf8, 4, 0x8000fa44);
    EXPECT_EQ(pv::read_port(v, 0xcf8, 4), 0x8000fa44u);
    EXPECT_EQ(pv::read_port(v, 0xcfc, 4), 0x12345678u);
    EXPECT_EQ(pv::read_port(v, 0xcfe, 2), 0x1234u);
    EXPECT_EQ(pv::read_port(v, 0xcfd, 1), 0x56u);
    pv::write_port(v, 0xcff, 1, 0x99);
    ASSERT_EQ(machine.config.size(), 4u);
    EXPECT_EQ(machine.config[0].bdf, 0xfau);
    EXPECT_EQ(machine.config[0].reg, 0x44u);
    EXPECT_EQ(machine.config[1].reg, 0x46u);
    EXPECT_EQ(machine.config[1].size, 2u);
    EXPECT_EQ(machine.config[3].reg, 0x47u);
    EXPECT_EQ(machine.config[3].value & 0xff, 0x99u);
}

TEST_F(Privileged, StringOutputInPieces) {
    pv_state.iopl = 1;
    regs.rdx = 0x300;
    regs.rsi = kCode + 0x100;
    regs.rcx = 600;
    EXPECT_TRUE(run({0xf3, 0x6e}));
    EXPECT_EQ(regs.rip, kCode);  // it goes on there
    EXPECT_EQ(regs.rcx, 600u - 256);
    EXPECT_EQ(regs.rsi, kCode + 0x100 + 256);
    EXPECT_TRUE(run({0xf3, 0x6e}));
    EXPECT_TRUE(run({0xf3, 0x6e}));
    EXPECT_EQ(regs.rcx, 0u);
    EXPECT_EQ(regs.rip, kCode + 2);
}

TEST_F(Privileged, StringInputFaultsBeforeTheDeviceIsAsked) {
    pv_state.iopl = 1;
    machine.domain.is_hardware = true;
    pv::write_port(machine.vcpu, 0xcf8, 4, 0x80000000);
    regs.rdx = 0xcfc;
    regs.rdi = 0x5000;  // not mapped
    EXPECT_TRUE(run({0x6d}));
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 14);
    EXPECT_EQ(machine.traps[0].cr2, 0x5000u);
    EXPECT_EQ(regs.rip, kCode);
    EXPECT_TRUE(machine.config.empty());
    machine.traps.clear();

    regs.rdi = kCode + 0x200;
    regs.rflags |= eflags::kDf;
    carry_out({0x6d});
    EXPECT_EQ(*machine.at(kCode + 0x200), 0x78);
    EXPECT_EQ(regs.rdi, kCode + 0x200 - 4);
}

TEST_F(Privileged, RepeatedStringOfNoElements) {
    pv_state.iopl = 1;
    regs.rdx = 0x300;
    regs.rcx = 0;
    regs.rsi = 0x5000;  // not mapped, and not touched
    carry_out({0xf3, 0x6e});
}

TEST_F(Privileged, DebugRegisters) {
    Vcpu& v = machine.vcpu;
    EXPECT_TRUE(pv::set_debug_register(v, 0, 0x1000).ok());
    EXPECT_EQ(pv::set_debug_register(v, 1, 0xffff800000001000).error(), Errno::kEPERM);
    EXPECT_EQ(pv::set_debug_register(v, 1, 0x8000000000000000).error(), Errno::kEPERM);
    EXPECT_TRUE(pv::set_debug_register(v, 1, 0xffff880000000000).ok());
    EXPECT_EQ(pv::set_debug_register(v, 8, 0).error(), Errno::kENODEV);
    EXPECT_EQ(pv::set_debug_register(v, 7, uint64_t{1} << 32).error(), Errno::kEINVAL);
    EXPECT_EQ(pv::set_debug_register(v, 7, 1 << 13).error(), Errno::kEPERM);
    EXPECT_TRUE(pv::set_debug_register(v, 7, 0xffff | 1 << 16).error() == Errno::kEPERM);
    EXPECT_TRUE(pv::set_debug_register(v, 7, 3).ok());
    EXPECT_EQ(pv::get_debug_register(v, 7).value_or(0), 0x403u);
    EXPECT_EQ(pv::get_debug_register(v, 5).value_or(0), 0x403u);
    EXPECT_EQ(pv::get_debug_register(v, 6).value_or(0), 0xffff0ff0u);
    pv_state.cr4_guest = cr4::kDe;
    EXPECT_EQ(pv::get_debug_register(v, 5).error(), Errno::kENODEV);

    carry_out({0x0f, 0x21, 0xc8});  // mov %db1,%rax
    EXPECT_EQ(regs.rax, 0xffff880000000000u);
    regs.rax = 0x2000;
    carry_out({0x0f, 0x23, 0xd0});
    EXPECT_EQ(pv_state.debug_registers[2], 0x2000u);
    EXPECT_TRUE(run({0x0f, 0x21, 0xe8}));  // DB5 with CR4.DE: #UD
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 6);
}

TEST_F(Privileged, BreakpointsOnPortsAreEmulated) {
    Vcpu& v = machine.vcpu;
    constexpr uint64_t kOnPort1Byte = 2 << 16 | 1;  // DR0, R/W 10, length 00, local
    EXPECT_EQ(pv::set_debug_register(v, 7, kOnPort1Byte).error(), Errno::kEPERM);
    pv_state.cr4_guest = cr4::kDe;
    EXPECT_TRUE(pv::set_debug_register(v, 0, 0x300).ok());
    EXPECT_TRUE(pv::set_debug_register(v, 7, kOnPort1Byte).ok());
    EXPECT_EQ(pv_state.debug_registers[7] & 0xff, 0u);  // the CPU is not to watch memory there
    EXPECT_EQ(pv::get_debug_register(v, 7).value_or(0) & 0xff, 1u);
    EXPECT_EQ(pv::io_breakpoints_hit(v, 0x300, 1), 1u);
    EXPECT_EQ(pv::io_breakpoints_hit(v, 0x2fe, 4), 1u);
    EXPECT_EQ(pv::io_breakpoints_hit(v, 0x301, 4), 0u);

    pv_state.iopl = 1;
    regs.rdx = 0x300;
    EXPECT_TRUE(run({0xec}));
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 1);
    EXPECT_EQ(regs.rip, kCode + 1);
    EXPECT_TRUE(pv_state.debug_registers[6] & 1);
}

TEST_F(Privileged, Hypercalls) {
    EXPECT_EQ(do_fpu_taskswitch(1, 0, 0, 0, 0).value, 0);
    EXPECT_TRUE(pv_state.cr0_guest & cr0::kTs);
    EXPECT_EQ(do_fpu_taskswitch(0, 0, 0, 0, 0).value, 0);
    EXPECT_FALSE(pv_state.cr0_guest & cr0::kTs);
    EXPECT_EQ(do_set_debugreg(3, 0x4000, 0, 0, 0).value, 0);
    EXPECT_EQ(do_get_debugreg(3, 0, 0, 0, 0).value, 0x4000);
    EXPECT_LT(do_set_debugreg(9, 0, 0, 0, 0).value, 0);
}

// Whatever bytes a guest's user mode has there: they are refused or harmless.
TEST_F(Privileged, AnyBytesOfUserModeAreSafe) {
    std::mt19937_64 random(1);
    pv_state.kernel_mode = false;
    for (int round = 0; round < 100000; ++round) {
        Bytes bytes(15);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
        if (round % 4 == 0) bytes[random() % 4] = 0x0f;
        regs.rip = kCode + random() % (kPageSize - 15);
        machine.put(regs.rip, bytes);
        uint64_t rip = regs.rip;
        bool handled = pv::emulate_privileged(regs);
        ASSERT_TRUE(regs.rip == rip || (handled && regs.rip - rip <= 15));
        machine.traps.clear();
    }
}

}  // namespace
