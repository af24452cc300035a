#include "hv/x86/console/uart.hpp"

#include "hv/x86/cpu/port_io.hpp"

namespace hv::console {
namespace {

using arch::in8;
using arch::out8;

enum Register : uint16_t {
    kData = 0,             // divisor, low, while kDivisorLatch
    kInterruptEnable = 1,  // divisor, high
    kFifoControl = 2,
    kLineControl = 3,
    kModemControl = 4,
    kLineStatus = 5,
    kScratch = 7,
};
constexpr uint8_t kDivisorLatch = 0x80, kDataReady = 0x01, kTransmitterEmpty = 0x20;
constexpr unsigned kClock = 115200, kFifoBytes = 16;

uint8_t line_format(const UartConfig& c) {
    uint8_t format = static_cast<uint8_t>((c.data_bits - 5) & 3);
    if (c.stop_bits == 2) format |= 4;
    switch (c.parity) {
        case 'o':
            return format | 0x08;
        case 'e':
            return format | 0x18;
        case 'm':
            return format | 0x28;
        case 's':
            return format | 0x38;
        default:
            return format;
    }
}

}  // namespace

bool Uart::open(const UartConfig& c) {
    out8(c.port + kScratch, 0x5a);
    if (in8(c.port + kScratch) != 0x5a) return false;
    out8(c.port + kInterruptEnable, 0);
    if (c.baud) {
        const unsigned divisor = kClock / c.baud ? kClock / c.baud : 1;
        out8(c.port + kLineControl, kDivisorLatch);
        out8(c.port + kData, static_cast<uint8_t>(divisor));
        out8(c.port + kInterruptEnable, static_cast<uint8_t>(divisor >> 8));
        out8(c.port + kLineControl, line_format(c));
    } else {
        out8(c.port + kLineControl, in8(c.port + kLineControl) & ~kDivisorLatch);
    }
    out8(c.port + kFifoControl, 0x07);   // on, and empty
    out8(c.port + kModemControl, 0x0b);  // DTR, RTS, OUT2: the interrupt's gate on a PC
    port_ = c.port;
    irq_ = c.irq;
    return true;
}

void Uart::put(char c) {
    // A line that takes nothing (flow control, a broken UART) must not stop the hypervisor.
    if (room_ == 0) {
        for (unsigned tries = 0;
             tries < 100'000 && !(in8(port_ + kLineStatus) & kTransmitterEmpty);)
            ++tries;
        room_ = kFifoBytes;
    }
    --room_;
    out8(port_ + kData, static_cast<uint8_t>(c));
}

bool Uart::get(char& c) {
    if (!(in8(port_ + kLineStatus) & kDataReady)) return false;
    c = static_cast<char>(in8(port_ + kData));
    return true;
}

void Uart::enable_input_interrupt() {
    out8(port_ + kInterruptEnable, 1);
}

}  // namespace hv::console
