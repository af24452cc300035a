#include "hv/x86/boot/elf.hpp"

#include <xen/features.h>

#include "hv/console/log.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::boot {

struct ProgramHeader {
    uint32_t type, flags;
    uint64_t offset, virtual_address, physical_address, file_size, memory_size, alignment;
};

namespace {

struct FileHeader {
    uint8_t magic[4];
    uint8_t file_class, data, version, abi, abi_version, padding[7];
    uint16_t type, machine;
    uint32_t file_version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t header_size, program_header_size, program_header_count;
    uint16_t section_header_size, section_header_count, section_names;
};
static_assert(sizeof(FileHeader) == 64 && sizeof(ProgramHeader) == 56);

constexpr uint8_t kClass64 = 2;
constexpr uint8_t kLittleEndian = 1;
constexpr uint16_t kMachineX86_64 = 62;
constexpr uint32_t kLoad = 1;
constexpr uint32_t kNote = 4;

// Pseudo-physical addresses of a kernel; a higher one is a mistake, not a wish.
constexpr uint64_t kHighestPhysical = 2 * kGiB;

// Features that a kernel may demand and a PV Domain 0 cannot have.
constexpr uint32_t kImpossibleFeatures =
    1u << XENFEAT_auto_translated_physmap | 1u << XENFEAT_supervisor_mode_kernel;

Fail refuse(Errno error, const char* why) {
    log(LogLevel::kError, "Domain 0's kernel {}", why);
    return {error};
}

Result<FileHeader> read_header(Bytes file) {
    auto loaded = load<FileHeader>(file, 0);
    if (!loaded || __builtin_memcmp(loaded->magic,
                                    "\x7f"
                                    "ELF",
                                    4) != 0)
        return refuse(Errno::kENOEXEC, "is no ELF file; name a vmlinuz as the first module");
    const FileHeader header = *loaded;
    if (header.file_class != kClass64 || header.data != kLittleEndian ||
        header.machine != kMachineX86_64)
        return refuse(Errno::kENOEXEC, "is not for x86-64; use an amd64 kernel");
    if (header.program_header_size != sizeof(ProgramHeader))
        return refuse(Errno::kEINVAL, "has program headers of a wrong size; copy the file anew");
    return header;
}

}  // namespace

Result<KernelImage> KernelImage::parse(Bytes file) {
    KernelImage image;
    TRY(image.read_segments(file));
    TRY(image.check());
    return image;
}

Result<> KernelImage::read_segments(Bytes file) {
    const FileHeader header = TRY(read_header(file));
    const unsigned count = header.program_header_count;
    auto table = slice(file, header.program_headers, uint64_t{count} * sizeof(ProgramHeader));
    if (!table) return refuse(table.error(), "ends before its program headers; copy it anew");
    // Notes first: they say what the segments' addresses mean.
    for (uint32_t wanted : {kNote, kLoad}) {
        for (unsigned i = 0; i < count; ++i) {
            const auto segment = TRY(load<ProgramHeader>(*table, i * sizeof(ProgramHeader)));
            if (segment.type != wanted) continue;
            auto bytes = slice(file, segment.offset, segment.file_size);
            if (!bytes) return refuse(bytes.error(), "ends before its segments; copy it anew");
            if (wanted == kLoad) {
                TRY(add_segment(*bytes, segment));
            } else if (auto read = read_xen_notes(*bytes, notes_); !read) {
                return refuse(read.error(), "has notes that cannot be read; copy it anew");
            }
        }
    }
    return {};
}

Result<> KernelImage::add_segment(Bytes bytes, const ProgramHeader& header) {
    if (header.memory_size == 0) return {};
    if (count_ == kMaxSegments)
        return refuse(Errno::kEINVAL, "has more segments than any kernel; is it a kernel?");
    const uint64_t physical = header.physical_address - notes_.paddr_offset;
    if (header.file_size > header.memory_size || physical > kHighestPhysical ||
        header.memory_size > kHighestPhysical - physical)
        return refuse(Errno::kEINVAL, "has a segment outside all bounds; copy the file anew");
    segments_[count_++] = {physical, bytes, header.memory_size};
    const uint64_t end = physical + header.memory_size;
    if (end > physical_end_) physical_end_ = end;
    return {};
}

Result<> KernelImage::check() const {
    if (!notes_.any)
        return refuse(Errno::kENOEXEC,
                      "has no Xen notes: it was built without CONFIG_XEN_PV; use a distribution's "
                      "kernel such as Debian's linux-image-amd64");
    if (!notes_.entry || !notes_.virt_base)
        return refuse(Errno::kEOPNOTSUPP,
                      notes_.physical_entry
                          ? "can start as PVH only, and Domain 0 is PV; use one with CONFIG_XEN_PV"
                          : "lacks the Xen note ENTRY or VIRT_BASE; use one with CONFIG_XEN_PV");
    if (notes_.wrong_version)
        return refuse(Errno::kEOPNOTSUPP, "wants another ABI than xen-3.0; use a newer kernel");
    if (notes_.supported_features && !(*notes_.supported_features & 1u << XENFEAT_dom0))
        return refuse(
            Errno::kEOPNOTSUPP,
            "cannot be Domain 0; use one built with CONFIG_XEN_DOM0 (or CONFIG_XEN_PV_DOM0)");
    if (notes_.required_features & kImpossibleFeatures)
        return refuse(Errno::kEOPNOTSUPP, "requires features that a PV Domain 0 cannot have");
    if (count_ == 0) return refuse(Errno::kENOEXEC, "has nothing to load; is it a kernel?");
    return check_addresses();
}

/// All of it must lie in the guest's part of the address space, above or below the hypervisor's.
Result<> KernelImage::check_addresses() const {
    const uint64_t base = virtual_base();
    const uint64_t last = virtual_end() - 1;
    if (base % kPageSize != 0 || last < base || !paging::is_guest_address(base) ||
        !paging::is_guest_address(last) ||
        (base < paging::kHypervisorStart) != (last < paging::kHypervisorStart))
        return refuse(Errno::kEINVAL, "asks for addresses that are the hypervisor's (VIRT_BASE)");
    if (notes_.hv_start_low && *notes_.hv_start_low > paging::kHypervisorStart)
        return refuse(Errno::kEINVAL, "does not leave the hypervisor its addresses (HV_START_LOW)");
    if (*notes_.entry < base || *notes_.entry > last)
        return refuse(Errno::kEINVAL, "has its entry outside of itself (ENTRY)");
    if (notes_.hypercall_page && (*notes_.hypercall_page % kPageSize != 0 ||
                                  *notes_.hypercall_page < base || *notes_.hypercall_page > last))
        return refuse(Errno::kEINVAL, "has its hypercall page outside of itself");
    if (notes_.init_p2m &&
        (*notes_.init_p2m % kPageSize != 0 || !paging::is_guest_address(*notes_.init_p2m)))
        return refuse(Errno::kEINVAL, "wants its p2m list at an impossible address (INIT_P2M)");
    return {};
}

}  // namespace hv::boot
