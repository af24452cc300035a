#include "hv/x86/irq/pic.hpp"

#include "hv/x86/cpu/port_io.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv::irq::pic {

void init() {
    constexpr uint16_t kMaster = 0x20, kSlave = 0xa0;  // command; data is at + 1
    constexpr uint8_t kInitialise = 0x11;              // ICW1: cascade, ICW4 follows
    constexpr uint8_t kSlaveOnLine2 = 0x04, kSlaveIdentity = 0x02;
    constexpr uint8_t k8086Mode = 0x01;
    auto set_up = [](uint16_t port, uint8_t first_vector, uint8_t cascade) {
        const auto data = static_cast<uint16_t>(port + 1);
        arch::out8(port, kInitialise);
        arch::out8(data, first_vector);
        arch::out8(data, cascade);
        arch::out8(data, k8086Mode);
        arch::out8(data, 0xff);  // all masked
    };
    set_up(kMaster, kVectorPicFirst, kSlaveOnLine2);
    set_up(kSlave, kVectorPicFirst + 8, kSlaveIdentity);
}

}  // namespace hv::irq::pic
