#include "efi/boot_information.hpp"

namespace efi {
namespace {

enum : uint32_t {
    kTagEnd = 0,
    kTagCommandLine = 1,
    kTagLoaderName = 2,
    kTagModule = 3,
    kTagMap = 6,
    kTagScreen = 8,
    kTagEfi64 = 12,
    kTagOldRsdp = 14,
    kTagNewRsdp = 15,
    kTagEfiMap = 17,
};
constexpr size_t kTagHeader = 8;
constexpr uint32_t kMapEntry = 24;

}  // namespace

BootInformation::BootInformation(std::span<uint8_t> buffer) : buffer_(buffer) {
    put(uint64_t{0});  // total size, put in by finish(), and a reserved word
}

void BootInformation::put_bytes(const void* bytes, size_t size) {
    if (!fits_ || size > buffer_.size() - used_) {
        fits_ = false;
        return;
    }
    if (size) __builtin_memcpy(buffer_.data() + used_, bytes, size);
    used_ += size;
}

template <class T>
void BootInformation::put(const T& value) {
    put_bytes(&value, sizeof value);
}

void BootInformation::begin(uint32_t type) {
    tag_ = used_;
    put(type);
    put(uint32_t{0});
}

void BootInformation::end() {
    const auto size = static_cast<uint32_t>(used_ - tag_);
    if (fits_) __builtin_memcpy(buffer_.data() + tag_ + 4, &size, sizeof size);
    constexpr uint8_t kPadding[8] = {};
    put_bytes(kPadding, (8 - used_ % 8) % 8);
}

void BootInformation::text_tag(uint32_t type, std::string_view text) {
    begin(type);
    put_bytes(text.data(), text.size());
    put('\0');
    end();
}

void BootInformation::command_line(std::string_view line) {
    text_tag(kTagCommandLine, line);
}

void BootInformation::loader(std::string_view name) {
    text_tag(kTagLoaderName, name);
}

void BootInformation::module(uint32_t start, uint32_t size, std::string_view line) {
    begin(kTagModule);
    put(start);
    put(start + size);
    put_bytes(line.data(), line.size());
    put('\0');
    end();
}

void BootInformation::memory(std::span<const Region> regions) {
    begin(kTagMap);
    put(kMapEntry);
    put(uint32_t{0});  // version
    for (const Region& r : regions) {
        put(r.start);
        put(r.bytes);
        put(r.type);
        put(uint32_t{0});
    }
    end();
}

void BootInformation::firmware_memory(const MemoryMap& map) {
    begin(kTagEfiMap);
    put(static_cast<uint32_t>(map.step));
    put(map.version);
    put_bytes(map.bytes.data(), map.bytes.size());
    end();
}

void BootInformation::system_table(uint64_t address) {
    begin(kTagEfi64);
    put(address);
    end();
}

void BootInformation::root_pointer(std::span<const uint8_t> bytes) {
    constexpr size_t kVersion1 = 20;
    begin(bytes.size() > kVersion1 ? kTagNewRsdp : kTagOldRsdp);
    put_bytes(bytes.data(), bytes.size());
    end();
}

void BootInformation::screen(const Screen& screen) {
    constexpr uint8_t kDirectColour = 1;
    begin(kTagScreen);
    put(screen.address);
    put(screen.bytes_per_line);
    put(screen.width);
    put(screen.height);
    put(uint8_t{32});  // bits a pixel
    put(kDirectColour);
    put(uint16_t{0});
    for (const Screen::Colour c : {screen.red, screen.green, screen.blue}) {
        put(c.position);
        put(c.bits);
    }
    end();
}

bool BootInformation::finish() {
    begin(kTagEnd);
    end();
    const auto size = static_cast<uint32_t>(used_);
    if (fits_) __builtin_memcpy(buffer_.data(), &size, sizeof size);
    return fits_;
}

size_t BootInformation::bytes_for(size_t descriptors, uint64_t step) {
    constexpr size_t kFixedTags = 512;
    return kFixedTags + 2 * kTagHeader + descriptors * (kMapEntry + step);
}

}  // namespace efi
