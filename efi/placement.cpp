#include "efi/placement.hpp"

namespace efi {
namespace {

// System V ABI, chapter 4 and 5.
struct Header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t size, program_header_size, program_header_count;
};
struct ProgramHeader {
    uint32_t type, flags;
    uint64_t offset, virtual_address, physical_address, file_size, memory_size, alignment;
};
constexpr uint32_t kMagic = 0x464c457f;  // "\x7fELF"
constexpr uint8_t kClass64 = 2;
constexpr uint16_t kX86_64 = 62;
constexpr uint32_t kLoad = 1;
constexpr uint64_t k4GiB = uint64_t{1} << 32;

template <class T>
bool read(std::span<const uint8_t> file, uint64_t offset, T& to) {
    if (offset > file.size() || file.size() - offset < sizeof to) return false;
    __builtin_memcpy(&to, file.data() + offset, sizeof to);
    return true;
}

bool is_kernel(const Header& header) {
    uint32_t magic;
    __builtin_memcpy(&magic, header.ident, sizeof magic);
    return magic == kMagic && header.ident[4] == kClass64 && header.machine == kX86_64 &&
           header.program_header_size == sizeof(ProgramHeader);
}

bool fits(const ProgramHeader& p, uint64_t file_size) {
    return p.file_size <= p.memory_size && p.offset <= file_size &&
           p.file_size <= file_size - p.offset && p.memory_size && p.memory_size < k4GiB &&
           p.physical_address <= k4GiB - p.memory_size;
}

}  // namespace

std::optional<Placement> find_placement(std::span<const uint8_t> elf) {
    Header header;
    if (!read(elf, 0, header) || !is_kernel(header)) return {};
    std::optional<Placement> found;
    for (unsigned i = 0; i < header.program_header_count; ++i) {
        ProgramHeader p;
        if (header.program_headers > elf.size() ||
            !read(elf, header.program_headers + i * sizeof p, p))
            return {};
        if (p.type != kLoad) continue;
        const uint64_t entry = header.entry - p.virtual_address;
        if (found || !fits(p, elf.size()) || entry >= p.file_size) return {};
        found = {.bytes = elf.subspan(p.offset, p.file_size),
                 .start = static_cast<uint32_t>(p.physical_address),
                 .memory_size = static_cast<uint32_t>(p.memory_size),
                 .entry = static_cast<uint32_t>(p.physical_address + entry)};
    }
    return found;
}

}  // namespace efi
