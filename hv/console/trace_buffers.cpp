#include "hv/console/trace_buffers.hpp"

#include <algorithm>
#include <bit>

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/console/trace.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::trace {
namespace {

// t_info: the number of pages, for each CPU where its list begins (in words), and the lists.
constexpr uint32_t kFirstList =
    (offsetof(t_info, mfn_offset) + kMaxCpus * sizeof(uint16_t) + 3) / 4;
constexpr uint32_t kMostWords = UINT16_MAX;  // mfn_offset is that wide

struct Buffers {
    Mfn info = kInvalidMfn;
    uint32_t info_pages = 0;
    uint32_t pages = 0;  ///< of each CPU
    Buffer of_cpu[kMaxCpus];
    CpuMask cpus;
};
constinit Buffers buffers;
// Read on other CPUs once it is set; it does not change again.
constinit std::atomic<const Buffers*> in_use{nullptr};

uint32_t cpu_limit() {
    return static_cast<uint32_t>(std::bit_width(arch::online_cpus().word(0)));
}

uint32_t list_of(uint32_t cpu, uint32_t pages) {
    return kFirstList + cpu * pages;
}

Result<> fill_list(uint32_t* list, uint32_t pages) {
    for (uint32_t i = 0; i < pages; ++i)
        list[i] = static_cast<uint32_t>(TRY(memory::alloc_frames(0)).raw());
    return {};
}

void free_list(const uint32_t* list, uint32_t pages) {
    for (uint32_t i = 0; i < pages && list[i]; ++i) memory::free_frames(Mfn{list[i]}, 0);
}

void show(const uint32_t* list, uint32_t pages) {
    for (uint32_t i = 0; i < pages; ++i)
        memory::show_to_control_domain(Mfn{list[i]}, 0, memory::Access::kReadWrite);
}

/// For each online CPU its list; false: no memory, and all are given back.
bool fill_lists(t_info& info, uint32_t pages) {
    auto* words = reinterpret_cast<uint32_t*>(&info);
    const CpuMask cpus = arch::online_cpus();
    bool complete = true;
    cpus.for_each([&](size_t cpu) {
        const uint32_t list = list_of(static_cast<uint32_t>(cpu), pages);
        info.mfn_offset[cpu] = static_cast<uint16_t>(list);
        complete = complete && fill_list(words + list, pages).ok();
    });
    if (complete) return true;
    cpus.for_each(
        [&](size_t cpu) { free_list(words + list_of(static_cast<uint32_t>(cpu), pages), pages); });
    return false;
}

}  // namespace

Result<> make_buffers(uint32_t pages) {
    if (buffers.pages) return pages == buffers.pages ? Errno::kEBUSY : Errno::kEINVAL;
    if (pages == 0) return Errno::kEINVAL;
    const uint32_t cpus = cpu_limit();
    pages = std::min(pages, (kMostWords - kFirstList) / cpus);
    const uint64_t bytes = list_of(cpus, pages) * sizeof(uint32_t);
    const auto order = static_cast<unsigned>(std::bit_width(pages_of(bytes) - 1));
    const Mfn first = TRY(memory::alloc_frames(order));
    auto& info = *arch::mfn_to_virt<t_info>(first);
    if (!fill_lists(info, pages)) {
        memory::free_frames(first, order);
        return Errno::kENOMEM;
    }
    info.tbuf_size = static_cast<uint16_t>(pages);
    buffers.info = first;
    buffers.info_pages = uint32_t{1} << order;
    buffers.pages = pages;
    buffers.cpus = arch::online_cpus();
    const auto* words = reinterpret_cast<const uint32_t*>(&info);
    buffers.cpus.for_each([&](size_t cpu) {
        const uint32_t* list = words + info.mfn_offset[cpu];
        buffers.of_cpu[cpu] = Buffer(list, pages);
        show(list, pages);
    });
    memory::show_to_control_domain(first, order, memory::Access::kReadOnly);
    in_use.store(&buffers, std::memory_order_release);
    log(LogLevel::kInfo, "trace buffers: {} pages for each of {} CPUs", pages,
        buffers.cpus.count());
    return {};
}

const Buffer* buffer_of(CpuId cpu) {
    const Buffers* all = in_use.load(std::memory_order_acquire);
    return all && all->cpus.test(cpu) ? &all->of_cpu[cpu] : nullptr;
}

Info info() {
    if (!buffers.pages) return {0, 0};
    return {buffers.info.raw(), buffers.info_pages * static_cast<uint32_t>(kPageSize)};
}

}  // namespace hv::trace
