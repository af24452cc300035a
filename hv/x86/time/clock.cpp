#include "hv/x86/time/clock.hpp"

#include <atomic>

#include "arch/time.hpp"
#include "hv/x86/time/tsc.hpp"

namespace hv::time {
namespace {

/// Readers copy the fields and look whether `version` is still the same and even. The fields are
/// atomic only so that a torn read is a discarded one and not undefined.
struct Published {
    std::atomic<uint64_t> version{0};
    std::atomic<uint64_t> tsc{0};
    std::atomic<uint64_t> ns{0};
    std::atomic<uint64_t> scale{0};  // mul in the low half, shift above
};
constinit Published published;
constinit Rate rate_in_force;

uint64_t pack(Scale s) {
    return s.mul | uint64_t{static_cast<uint8_t>(s.shift)} << 32;
}
Scale unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<int8_t>(word >> 32)};
}

void publish(const Line& line) {
    const uint64_t version = published.version.load(std::memory_order_relaxed);
    published.version.store(version + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    published.tsc.store(line.tsc, std::memory_order_relaxed);
    published.ns.store(line.ns, std::memory_order_relaxed);
    published.scale.store(pack(line.scale), std::memory_order_relaxed);
    published.version.store(version + 2, std::memory_order_release);
}

}  // namespace

Line current_line(uint64_t& version) {
    for (;;) {
        version = published.version.load(std::memory_order_acquire);
        const Line line{published.tsc.load(std::memory_order_relaxed),
                        published.ns.load(std::memory_order_relaxed),
                        unpack(published.scale.load(std::memory_order_relaxed))};
        std::atomic_thread_fence(std::memory_order_acquire);
        if (!(version & 1) && published.version.load(std::memory_order_relaxed) == version)
            return line;
    }
}

uint64_t line_version() {
    return published.version.load(std::memory_order_acquire);
}

void bend(uint64_t tsc, Rate rate) {
    uint64_t version;
    const Line line = current_line(version);
    rate_in_force = rate;
    publish({tsc, line.at(tsc), Scale::of(rate)});
}

void start_clock(uint64_t tsc, Rate rate) {
    rate_in_force = rate;
    publish({tsc, 0, Scale::of(rate)});
}

Rate current_rate() {
    return rate_in_force;
}

}  // namespace hv::time

namespace hv::arch {

Nanoseconds now() {
    uint64_t version;
    const time::Line line = time::current_line(version);
    return static_cast<Nanoseconds>(line.at(time::read_tsc()));
}

uint64_t tsc_khz() {
    return time::current_rate().hz() / 1000;
}

}  // namespace hv::arch
