#include "hv/x86/pv/dom0_size.hpp"

#include <algorithm>

#include "hv/limits.hpp"

namespace hv::pv {
namespace {

constexpr uint64_t kLargestDefaultReserve = 128 * kMiB >> kPageShift;

/// A size of the boot line in pages; negative ones are taken off what is available.
uint64_t pages_of_option(const boot::MemorySize& size, uint64_t available) {
    const uint64_t pages = (size.bytes >> kPageShift) + available / 100 * size.percent;
    if (!size.negative) return pages;
    return available > pages ? available - pages : 0;
}

}  // namespace

Dom0Size dom0_size(const boot::Options& options, uint64_t available) {
    uint64_t pages = options.dom0_mem.given ? pages_of_option(options.dom0_mem, available) : 0;
    if (pages == 0) pages = available - std::min(available / 16, kLargestDefaultReserve);

    // Without max: the domain may grow as far as its page count can be told.
    uint64_t max_pages = UINT32_MAX;
    if (options.dom0_mem_max.given)
        max_pages = std::min(max_pages, pages_of_option(options.dom0_mem_max, available));
    if (options.dom0_mem_min.given)
        pages = std::max(pages, pages_of_option(options.dom0_mem_min, available));
    pages = std::min(pages, max_pages);
    return {std::min(pages, available), max_pages, pages};
}

uint64_t hypervisor_reserve(uint64_t free) {
    return free / 128 + (4 * kMiB >> kPageShift);
}

unsigned dom0_vcpus(const boot::Options& options, unsigned cpus) {
    unsigned count = std::max(cpus, options.dom0_max_vcpus_min);
    if (options.dom0_max_vcpus_max) count = std::min(count, options.dom0_max_vcpus_max);
    return std::clamp(count, 1u, static_cast<unsigned>(kMaxVcpusPerDomain));
}

}  // namespace hv::pv
