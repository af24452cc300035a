#include "hv/x86/irq/vectors.hpp"

#include <atomic>

namespace hv::irq {
namespace {

std::atomic<Irq*> g_lines[256];

/// PV guests issue these with `int`: their gates belong to the guests.
bool reserved_for_guests(unsigned vector) {
    return vector == 0x80 || vector == 0x82;
}

}  // namespace

Result<uint8_t> allocate_vector(Irq& line) {
    // Spread over the priority classes (the upper four bits): 16 apart, then the next offset.
    for (unsigned offset = 0; offset < 16; ++offset) {
        for (unsigned base = kVectorDeviceFirst & 0xf0; base <= kVectorDeviceLast; base += 16) {
            const unsigned vector = base + offset;
            if (vector < kVectorDeviceFirst || reserved_for_guests(vector)) continue;
            Irq* nobody = nullptr;
            if (g_lines[vector].compare_exchange_strong(nobody, &line))
                return static_cast<uint8_t>(vector);
        }
    }
    return Errno::kENOSPC;
}

void free_vector(uint8_t vector) {
    g_lines[vector].store(nullptr);
}

Irq* line_of_vector(uint8_t vector) {
    return g_lines[vector].load(std::memory_order_acquire);
}

}  // namespace hv::irq
