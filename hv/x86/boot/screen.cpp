#include "hv/x86/boot/screen.hpp"

#include "arch/memory.hpp"
#include "hv/x86/efi/efi.hpp"

namespace hv::boot {
namespace {

dom0_vga_console_info info;
bool known;

struct [[gnu::packed]] Tag {
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bits_per_pixel, kind;
    uint16_t reserved;
};
constexpr uint8_t kDirectColour = 1, kText = 2;
struct [[gnu::packed]] Colours {
    uint8_t red_position, red_bits, green_position, green_bits, blue_position, blue_bits;
};

bool set_text(const Tag& tag) {
    info.u.text_mode_3 = {.font_height = 16,
                          .cursor_x = 0,
                          .cursor_y = static_cast<uint16_t>(tag.height - 1),
                          .rows = static_cast<uint16_t>(tag.height),
                          .columns = static_cast<uint16_t>(tag.width)};
    return tag.height && tag.height <= UINT16_MAX && tag.width <= UINT16_MAX;
}

bool set_pixels(const Tag& tag, std::span<const uint8_t> rest) {
    Colours colours;
    if (rest.size() < sizeof colours || tag.width > UINT16_MAX || tag.height > UINT16_MAX ||
        tag.pitch > UINT16_MAX)
        return false;
    __builtin_memcpy(&colours, rest.data(), sizeof colours);
    constexpr uint64_t kUnit = 64 * 1024;  // what sizes of frame buffers are counted in
    auto& to = info.u.vesa_lfb;
    to.width = static_cast<uint16_t>(tag.width);
    to.height = static_cast<uint16_t>(tag.height);
    to.bytes_per_line = static_cast<uint16_t>(tag.pitch);
    to.bits_per_pixel = tag.bits_per_pixel;
    to.lfb_base = static_cast<uint32_t>(tag.address);
    to.ext_lfb_base = static_cast<uint32_t>(tag.address >> 32);
    to.lfb_size = static_cast<uint32_t>((uint64_t{tag.pitch} * tag.height + kUnit - 1) / kUnit);
    to.red_pos = colours.red_position, to.red_size = colours.red_bits;
    to.green_pos = colours.green_position, to.green_size = colours.green_bits;
    to.blue_pos = colours.blue_position, to.blue_size = colours.blue_bits;
    const int coloured = colours.red_bits + colours.green_bits + colours.blue_bits;
    if (tag.bits_per_pixel == 32 && coloured == 24) to.rsvd_pos = 24, to.rsvd_size = 8;
    constexpr uint32_t kNotVga = 2;
    to.gbl_caps = kNotVga;
    return true;
}

}  // namespace

void note_screen(std::span<const uint8_t> bytes) {
    Tag tag;
    if (bytes.size() < sizeof tag) return;
    __builtin_memcpy(&tag, bytes.data(), sizeof tag);
    info = {};
    if (tag.kind == kText) known = set_text(tag);
    if (tag.kind == kDirectColour) known = set_pixels(tag, bytes.subspan(sizeof tag));
    if (!known) return;
    // Whether it is EFI's is asked later: the tags come in any order.
    info.video_type = tag.kind == kText ? XEN_VGATYPE_TEXT_MODE_3 : XEN_VGATYPE_VESA_LFB;
}

void note_bios_screen(std::span<const uint8_t> data_area) {
    // Offsets in the area, as IBM's BIOSes had them: the mode, its columns, the cursor of page 0,
    // rows less one, height of a letter.
    constexpr size_t kMode = 0x49, kColumns = 0x4a, kCursor = 0x50, kRows = 0x84, kHeight = 0x85;
    constexpr uint8_t kColourText80 = 3;
    if (known || data_area.size() < 0x100 || data_area[kMode] != kColourText80) return;
    const auto columns = static_cast<uint16_t>(data_area[kColumns] | data_area[kColumns + 1] << 8);
    const uint8_t rows = data_area[kRows], height = data_area[kHeight];
    if (columns != 80 || rows < 24 || rows >= 60 || height == 0) return;
    info = {};
    info.video_type = XEN_VGATYPE_TEXT_MODE_3;
    info.u.text_mode_3 = {.font_height = height,
                          .cursor_x = data_area[kCursor],
                          .cursor_y = data_area[kCursor + 1],
                          .rows = static_cast<uint16_t>(rows + 1),
                          .columns = columns};
    known = true;
}

void find_bios_screen() {
    constexpr uint64_t kDataArea = 0x400;
    if (!efi::system_table())
        note_bios_screen({arch::machine_to_virt<const uint8_t>(kDataArea), 0x100});
}

const dom0_vga_console_info* screen() {
    if (!known) return nullptr;
    if (info.video_type == XEN_VGATYPE_VESA_LFB && efi::system_table())
        info.video_type = XEN_VGATYPE_EFI_LFB;
    return &info;
}

}  // namespace hv::boot
