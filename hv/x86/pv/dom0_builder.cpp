#include "hv/x86/pv/dom0_builder.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/boot/kernel.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/pv/dom0_layout.hpp"
#include "hv/x86/pv/dom0_memory.hpp"
#include "hv/x86/pv/dom0_page_tables.hpp"
#include "hv/x86/pv/dom0_size.hpp"
#include "hv/x86/pv/dom0_start.hpp"
#include "hv/x86/pv/hypercall_page.hpp"
#include "hv/x86/pv/pin.hpp"

namespace hv::pv {
namespace {

using boot::BootModule;
using boot::Kernel;
using boot::KernelImage;

constexpr uint64_t mib(uint64_t pages) {
    return (pages << kPageShift) / kMiB;
}

uint64_t module_pages(const BootModule& module) {
    return pages_of(module.size);
}

/// Nobody needs the module any more.
void give_back(const BootModule& module) {
    if (module.size == 0) return;
    memory::add_free_range({module.machine_address, module.machine_address + module.size});
}

/// Pages that will be there for Domain 0 once the modules and buffers of boot are gone.
uint64_t available_pages(const Kernel& kernel, const BootModule& file, const BootModule& initrd) {
    uint64_t pages = memory::free_pages() + kernel.buffer_pages() + module_pages(initrd);
    if (kernel.uses_module()) pages += module_pages(file);
    return pages - std::min(pages, hypervisor_reserve(pages));
}

Result<Dom0Layout> plan(const KernelImage& image, uint64_t pages, const BootModule& initrd) {
    auto layout = lay_out_dom0({.pages = pages,
                                .virtual_base = image.virtual_base(),
                                .kernel_end = image.virtual_end(),
                                .initrd_bytes = initrd.size,
                                .initrd_by_frame = image.notes().module_by_frame,
                                .p2m_base = image.notes().init_p2m});
    if (!layout) {
        log(LogLevel::kError,
            "Domain 0 does not fit its address space: {} MiB of memory and an initrd of {} MiB "
            "above {:x}; give it less with dom0_mem=",
            mib(pages), initrd.size / kMiB, image.virtual_base());
    } else if (layout->least_pages > pages) {
        log(LogLevel::kError,
            "Domain 0 gets too little memory: its kernel and initrd need {} MiB, it has {}; raise "
            "dom0_mem=, or give the machine more memory",
            mib(layout->least_pages) + 1, mib(pages));
        return Errno::kENOMEM;
    }
    return layout;
}

/// Xen does not start either when it cannot give what the boot line asks for.
Result<> satisfiable(const Dom0Size& size) {
    if (size.asked <= size.pages) return {};
    log(LogLevel::kError,
        "dom0_mem= asks for {} MiB of memory, but only {} MiB are free; lower dom0_mem=, or give "
        "the machine more memory",
        mib(size.asked), mib(size.pages));
    return Errno::kENOMEM;
}

Result<DomainRef> create_domain(unsigned vcpus, uint64_t max_pages) {
    DomainConfig config;
    config.max_vcpus = vcpus;
    config.max_event_port = UINT32_MAX;  // as many as there are
    config.privileged = true;
    config.hardware = true;
    auto domain = Domain::create(DomId{0}, config);
    if (!domain) {
        log(LogLevel::kError, "Domain 0 cannot be created: error {}; give the machine more memory",
            domain.error());
        return domain;
    }
    (*domain)->pages.lock()->max = max_pages;
    return domain;
}

void load_kernel(Dom0Frames& frames, const KernelImage& image) {
    for (const boot::KernelSegment& segment : image.segments()) {
        frames.copy_in(segment.physical, segment.bytes);
        frames.zero(segment.physical + segment.bytes.size(),
                    segment.memory_size - segment.bytes.size());
    }
    if (const auto page = image.notes().hypercall_page) {
        const Pfn pfn{(*page - image.virtual_base()) >> kPageShift};
        fill_hypercall_page(arch::mfn_to_virt<uint8_t>(frames.mfn(pfn)));
    }
}

void load_initrd(Dom0Frames& frames, const Dom0Layout& layout, const BootModule& initrd) {
    if (initrd.size == 0) return;
    const auto* bytes = arch::machine_to_virt<const uint8_t>(initrd.machine_address);
    frames.copy_in(layout.initrd_pfn.raw() << kPageShift, {bytes, initrd.size});
}

/// The rest of its memory. Less than planned is no reason not to start it.
Result<> fill_up(Dom0Frames& frames, uint64_t pages) {
    auto grown = frames.grow_to(pages);
    if (grown) return {};
    if (grown.error() != Errno::kENOMEM) {
        log(LogLevel::kError, "Domain 0's memory cannot be allocated: error {}", grown.error());
        return grown;
    }
    log(LogLevel::kWarning, "Domain 0 gets {} MiB of the {} MiB planned: there is no more",
        mib(frames.pages()), mib(pages));
    return {};
}

/// Checks the page tables like any guest's, and keeps them so (the kernel will unpin its first).
Result<> pin(Domain& domain, Mfn l4) {
    auto pinned = pin_table(domain, l4, PageType::kL4);
    while (!pinned && pinned.error() == Errno::kERESTART)
        pinned = pin_table(domain, l4, PageType::kL4);
    if (!pinned) {
        log(LogLevel::kError,
            "broken: the page tables built for Domain 0 do not pass the check, error {}; please "
            "report this line and the kernel's version",
            pinned.error());
    }
    return pinned;
}

}  // namespace

Result<DomainRef> build_dom0(const BootModule& kernel_file, const BootModule& initrd) {
    const boot::Options& options = boot::options();
    Kernel kernel = TRY(Kernel::load(kernel_file));
    if (!kernel.uses_module()) give_back(kernel_file);

    const Dom0Size size = dom0_size(options, available_pages(kernel, kernel_file, initrd));
    TRY(satisfiable(size));
    const Dom0Layout layout = TRY(plan(kernel.image(), size.pages, initrd));
    const auto cpus = static_cast<unsigned>(arch::online_cpus().count());
    const unsigned vcpus = dom0_vcpus(options, cpus);
    DomainRef domain = TRY(create_domain(vcpus, size.max_pages));

    // First what the modules' contents go to; their memory can then be part of the rest.
    Dom0Frames frames = TRY(Dom0Frames::create(*domain));
    if (auto grown = frames.grow_to(layout.least_pages); !grown) {
        log(LogLevel::kError,
            "too little memory to load Domain 0: {} MiB are free, {} needed; give the machine more",
            mib(memory::free_pages()), mib(layout.least_pages - frames.pages()));
        return grown.error();
    }
    load_kernel(frames, kernel.image());
    load_initrd(frames, layout, initrd);
    const uint64_t entry = *kernel.image().notes().entry;
    const bool uses_module = kernel.uses_module();
    kernel.unload();
    if (uses_module) give_back(kernel_file);
    give_back(initrd);
    TRY(fill_up(frames, size.pages));
    domain->arch.physmap_pages = frames.pages();

    Dom0PageTables tables(frames, layout);
    tables.build();
    frames.write_list(layout.p2m_pfn, layout.p2m_pages);
    write_start_info(*domain, frames, layout, initrd, kernel_file.command_line);
    TRY(pin(*domain, tables.l4()));
    TRY(add_vcpus(*domain, vcpus, options.dom0_vcpus_pin));
    TRY(start_vcpu0(*domain, layout, tables.l4(), entry));
    log(LogLevel::kInfo, "Domain 0: {} MiB, {} vCPUs, kernel entered at {:x}", mib(frames.pages()),
        vcpus, entry);
    return domain;
}

}  // namespace hv::pv
