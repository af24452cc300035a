#include "hv/x86/pv/dom0_start.hpp"

#include <algorithm>

#include <xen/xen.h>

#include "arch/cpu.hpp"
#include "arch/domain.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/boot/screen.hpp"

namespace hv::pv {
namespace {

constexpr uint64_t kInterruptsOn = 1 << 9;  // EFLAGS.IF

/// Appends as much of `text` as fits into the command line, which stays terminated.
bool append(start_info& info, size_t& length, std::string_view text) {
    const size_t room = MAX_GUEST_CMDLINE - 1 - length;
    const size_t count = std::min(room, text.size());
    __builtin_memcpy(info.cmd_line + length, text.data(), count);
    length += count;
    return count == text.size();
}

void write_command_line(start_info& info, std::string_view line) {
    const std::string_view extra(boot::options().dom0_extra);
    size_t length = 0;
    bool whole = append(info, length, line);
    if (!extra.empty()) {
        if (length) whole &= append(info, length, " ");
        whole &= append(info, length, extra);
    }
    if (!whole)
        log(LogLevel::kWarning, "Domain 0's command line is cut at {} characters",
            MAX_GUEST_CMDLINE - 1);
}

/// Behind start_info, in its page.
void write_screen(start_info& info) {
    constexpr size_t kOffset = (sizeof(start_info) + 7) & ~size_t{7};
    static_assert(kOffset + sizeof(dom0_vga_console_info) <= kPageSize);
    const dom0_vga_console_info* screen = boot::screen();
    if (!screen) return;
    __builtin_memcpy(reinterpret_cast<char*>(&info) + kOffset, screen, sizeof *screen);
    info.console.dom0 = {.info_off = kOffset, .info_size = sizeof *screen};
}

}  // namespace

void write_start_info(Domain& domain, Dom0Frames& frames, const Dom0Layout& layout,
                      const boot::BootModule& initrd, std::string_view command_line) {
    const uint64_t stack = layout.stack_end - kPageSize;
    arch::clear_page(frames.mfn(layout.pfn_of(stack)));
    const Mfn frame = frames.mfn(layout.pfn_of(layout.start_info));
    arch::clear_page(frame);

    auto& info = *arch::mfn_to_virt<start_info>(frame);
    constexpr std::string_view kMagic = "xen-3.0-x86_64";
    __builtin_memcpy(info.magic, kMagic.data(), kMagic.size());
    info.nr_pages = frames.pages();
    info.shared_info = address_of(domain.shared_mfn);
    info.flags = SIF_PRIVILEGED | SIF_INITDOMAIN;
    info.pt_base = layout.tables;
    info.nr_pt_frames = layout.table_pages;
    info.mfn_list = layout.p2m;
    if (layout.p2m_table_pages) {
        info.first_p2m_pfn = layout.p2m_pfn.raw();
        info.nr_p2m_frames = layout.p2m_pages + layout.p2m_table_pages;
    }
    if (initrd.size) {
        info.mod_start = layout.initrd ? layout.initrd : layout.initrd_pfn.raw();
        info.mod_len = initrd.size;
        if (!layout.initrd) info.flags |= SIF_MOD_START_PFN;
    }
    write_command_line(info, command_line);
    write_screen(info);

    // No upcall before the kernel has said where to and unmasks them itself.
    for (vcpu_info& vcpu : domain.shared->vcpu_info) vcpu.evtchn_upcall_mask = 1;
}

Result<> add_vcpus(Domain& domain, unsigned count, bool pin) {
    const CpuMask online = arch::online_cpus();
    CpuId cpu = static_cast<CpuId>(online.first());
    for (unsigned n = 0; n < count; ++n) {
        auto vcpu = domain.add_vcpu(VcpuId{n});
        if (!vcpu) {
            log(LogLevel::kError,
                "Domain 0's vCPU {} cannot be created: error {}; lower dom0_max_vcpus= or give "
                "the machine more memory",
                n, vcpu.error());
            return vcpu.error();
        }
        if (pin) TRY(sched::set_affinity(**vcpu, CpuMask::single(cpu), CpuMask::all()));
        const size_t next = online.next(cpu + 1);
        cpu = static_cast<CpuId>(next == CpuMask::kNone ? online.first() : next);
    }
    return {};
}

Result<> start_vcpu0(Domain& domain, const Dom0Layout& layout, Mfn l4, uint64_t entry) {
    heap::Owned<vcpu_guest_context> context(heap::create<vcpu_guest_context>());
    if (!context) return Errno::kENOMEM;
    context->flags = VGCF_in_kernel | VGCF_online;
    cpu_user_regs& regs = context->user_regs;
    regs.rip = entry;
    regs.rsp = layout.stack_end;
    regs.rsi = layout.start_info;
    regs.rflags = kInterruptsOn;
    regs.cs = FLAT_KERNEL_CS;
    regs.ss = FLAT_KERNEL_SS;
    regs.ds = regs.es = regs.fs = regs.gs = FLAT_KERNEL_DS;
    context->kernel_ss = FLAT_KERNEL_SS;
    context->kernel_sp = layout.stack_end;
    context->ctrlreg[3] = address_of(l4);

    Vcpu& vcpu = *domain.vcpu(0);
    if (auto set = arch::set_vcpu_context(vcpu, *context); !set) {
        log(LogLevel::kError, "broken: Domain 0's first registers are refused, error {}",
            set.error());
        return set;
    }
    vcpu.initialised = true;
    vcpu.pause_flags.fetch_and(~pause::kDown);
    return {};
}

}  // namespace hv::pv
