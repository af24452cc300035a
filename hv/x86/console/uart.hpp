// A 16550 UART at an I/O port (National Semiconductor PC16550D).
#pragma once

#include <cstdint>
#include <string_view>

namespace hv::console {

struct UartConfig {
    uint16_t port;
    unsigned irq;
    unsigned baud;  ///< 0: as the firmware left it
    unsigned data_bits, stop_bits;
    char parity;
};

class Uart {
  public:
    /// False if nothing answers at the port.
    bool open(const UartConfig& config);
    bool is_open() const { return port_ != 0; }
    void put(char c);   ///< waits for room, but not for ever
    bool get(char& c);  ///< false: nothing was typed
    void enable_input_interrupt();
    unsigned irq() const { return irq_; }

  private:
    uint16_t port_ = 0;
    unsigned irq_ = 0;
    unsigned room_ = 0;  // what the FIFO takes without another look
};

}  // namespace hv::console
