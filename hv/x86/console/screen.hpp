// Text on the machine's screen: in VGA's text memory, or painted into a frame buffer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <xen/xen.h>

namespace hv::console {

/// The memory that is seen on the screen, mapped.
struct Surface {
    /// VGA text: two bytes for each character. Else pixels.
    bool text = false;
    unsigned columns = 0, rows = 0;  ///< of characters
    uint8_t* memory = nullptr;
    size_t bytes_per_line = 0;     ///< of characters, or of pixels
    unsigned bytes_per_pixel = 0;  ///< 2 to 4
    uint32_t ink = 0;              ///< a pixel of a letter; the ground is 0
};

/// What a screen looks like, without its memory: false for one that cannot be written on (text of a
/// size that VGA does not have, less than 15 or more than 32 bits for a pixel, lines that overlap).
bool describe_surface(const dom0_vga_console_info& screen, Surface& surface);
/// Where its memory is, and how much of it is written.
uint64_t surface_address(const dom0_vga_console_info& screen);
size_t surface_bytes(const Surface& surface);

class Screen {
  public:
    /// Clears it and begins at the top. What does not fit into kMaxColumns x kMaxRows stays as it
    /// is.
    void open(const Surface& surface);
    bool is_open() const { return open_; }
    /// Nothing is written from now on, until reopen().
    void close() { open_ = false; }
    /// After close(): again, cleared.
    void reopen();
    /// Printable ASCII, \n, \r and \t; of what is not ASCII one `?` for each character of UTF-8.
    void put(char c);

  private:
    static constexpr unsigned kMaxColumns = 240, kMaxRows = 135;

    void clear();
    void set(unsigned row, unsigned column, char c);
    void draw_text(unsigned row, unsigned column, char c) const;
    template <unsigned kBytesPerPixel>
    void draw_pixels(unsigned row, unsigned column, char c) const;
    void new_line();

    Surface surface_;
    unsigned columns_ = 0, rows_ = 0;
    unsigned row_ = 0, column_ = 0;
    std::atomic<bool> open_ = false;  // closed by a CPU while another may print
    // What is on the screen: reading it back is slow.
    char cells_[kMaxRows][kMaxColumns];
};

}  // namespace hv::console
