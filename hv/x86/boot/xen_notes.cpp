#include "hv/x86/boot/xen_notes.hpp"

#include <string_view>

#include <xen/elfnote.h>
#include <xen/features.h>

namespace hv::boot {
namespace {

struct NoteHeader {
    uint32_t name_size, value_size, type;
};

constexpr uint64_t align4(uint64_t n) {
    return round_up(n, 4);
}

/// Numbers are 4 or 8 bytes.
Result<uint64_t> number(Bytes value) {
    if (value.size() == 4) return uint64_t{TRY(load<uint32_t>(value, 0))};
    if (value.size() == 8) return load<uint64_t>(value, 0);
    return Errno::kEINVAL;
}

/// Strings are terminated by NUL, and end with the note in any case.
std::string_view text(Bytes value) {
    std::string_view all(reinterpret_cast<const char*>(value.data()), value.size());
    return all.substr(0, all.find('\0'));
}

struct Feature {
    std::string_view name;
    unsigned bit;
};
constexpr Feature kFeatures[] = {
    {"writable_page_tables", XENFEAT_writable_page_tables},
    {"writable_descriptor_tables", XENFEAT_writable_descriptor_tables},
    {"auto_translated_physmap", XENFEAT_auto_translated_physmap},
    {"supervisor_mode_kernel", XENFEAT_supervisor_mode_kernel},
    {"pae_pgdir_above_4gb", XENFEAT_pae_pgdir_above_4gb},
    {"dom0", XENFEAT_dom0},
};

/// "!this|that": names from features.h between bars, `!` for those it cannot do without.
void read_required(std::string_view list, XenNotes& into) {
    while (!list.empty()) {
        size_t bar = list.find('|');
        std::string_view item = list.substr(0, bar);
        list = bar == std::string_view::npos ? std::string_view{} : list.substr(bar + 1);
        if (!item.starts_with('!')) continue;
        for (const Feature& feature : kFeatures)
            if (item.substr(1) == feature.name) into.required_features |= 1u << feature.bit;
    }
}

void copy_text(std::string_view from, char (&to)[32]) {
    from = from.substr(0, sizeof to - 1);
    __builtin_memcpy(to, from.data(), from.size());
    to[from.size()] = '\0';
}

Result<> read_note(uint32_t type, Bytes value, XenNotes& into) {
    into.any = true;
    switch (type) {
        case XEN_ELFNOTE_ENTRY:
            into.entry = TRY(number(value));
            break;
        case XEN_ELFNOTE_HYPERCALL_PAGE:
            into.hypercall_page = TRY(number(value));
            break;
        case XEN_ELFNOTE_VIRT_BASE:
            into.virt_base = TRY(number(value));
            break;
        case XEN_ELFNOTE_PADDR_OFFSET:
            into.paddr_offset = TRY(number(value));
            break;
        case XEN_ELFNOTE_INIT_P2M:
            into.init_p2m = TRY(number(value));
            break;
        case XEN_ELFNOTE_HV_START_LOW:
            into.hv_start_low = TRY(number(value));
            break;
        case XEN_ELFNOTE_PHYS32_ENTRY:
            into.physical_entry = TRY(number(value));
            break;
        case XEN_ELFNOTE_MOD_START_PFN:
            into.module_by_frame = TRY(number(value)) != 0;
            break;
        case XEN_ELFNOTE_SUPPORTED_FEATURES:
            into.supported_features = static_cast<uint32_t>(TRY(number(value)));
            break;
        case XEN_ELFNOTE_FEATURES:
            read_required(text(value), into);
            break;
        case XEN_ELFNOTE_XEN_VERSION:
            into.wrong_version = text(value) != "xen-3.0";
            break;
        case XEN_ELFNOTE_GUEST_OS:
            copy_text(text(value), into.guest_os);
            break;
        default:  // nothing that the loader of a 64-bit PV kernel has to act on
            break;
    }
    return {};
}

}  // namespace

Result<> read_xen_notes(Bytes segment, XenNotes& into) {
    uint64_t at = 0;
    while (segment.size() - at >= sizeof(NoteHeader)) {
        const auto header = TRY(load<NoteHeader>(segment, at));
        at += sizeof header;
        const Bytes name = TRY(slice(segment, at, header.name_size));
        at += align4(header.name_size);
        const Bytes value = TRY(slice(segment, at, header.value_size));
        at += align4(header.value_size);
        if (name.size() == 4 && __builtin_memcmp(name.data(), "Xen", 4) == 0)
            TRY(read_note(header.type, value, into));
        if (at > segment.size()) break;  // the last one's padding may be missing
    }
    return {};
}

}  // namespace hv::boot
