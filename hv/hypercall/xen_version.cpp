// xen_version: who the hypervisor is and what a guest may rely on (<xen/version.h>).
#include <cstdint>

#include <xen/xen.h>

#include <xen/features.h>
#include <xen/version.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "arch/cpu.hpp"
#include "boot/options.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/version.hpp"

namespace hv {

namespace {

constexpr std::string_view kDenied = "<denied>";

/// Fixed-size text fields of the ABI: cut to fit, the rest NUL.
template <size_t N>
void fill(char (&field)[N], std::string_view text) {
    std::memset(field, 0, N);
    std::memcpy(field, text.data(), std::min(text.size(), N - 1));
}

template <size_t N>
Outcome store_text(uint64_t address, std::string_view text) {
    struct Text {
        char bytes[N];
    } out;
    fill(out.bytes, text);
    return GuestOut<Text>(address).store(out);
}

Outcome compile_info(uint64_t address) {
    xen_compile_info_t info;
    fill(info.compiler, version::kCompiler);
    fill(info.compile_by, version::kCompileBy);
    fill(info.compile_domain, version::kCompileDomain);
    fill(info.compile_date, version::kCompileDate);
    return GuestOut<xen_compile_info_t>(address).store(info);
}

Outcome platform_parameters(uint64_t address) {
    // Where the hypervisor's part of a 64-bit guest's address space begins.
    const xen_platform_parameters_t parameters = {.virt_start = HYPERVISOR_VIRT_START};
    return GuestOut<xen_platform_parameters_t>(address).store(parameters);
}

constexpr uint32_t feature(unsigned bit) {
    return uint32_t{1} << bit;
}

Result<> get_features(uint64_t address) {
    const GuestInOut<xen_feature_info_t> argument(address);
    xen_feature_info_t info = TRY(argument.load());
    if (info.submap_idx != 0) return Errno::kEINVAL;
    const Domain& self = *arch::current().domain;
    // What a 64-bit PV guest gets: it sees machine frames, and MMU_PT_UPDATE_PRESERVE_AD works.
    info.submap = feature(XENFEAT_memory_op_vnode_supported) |
                  feature(XENFEAT_mmu_pt_update_preserve_ad) | feature(XENFEAT_highmem_assist) |
                  feature(XENFEAT_gnttab_map_avail_bits) | feature(XENFEAT_direct_mapped);
    if (self.vm_assist.load() & (uint64_t{1} << VMASST_TYPE_pae_extended_cr3))
        info.submap |= feature(XENFEAT_pae_pgdir_above_4gb);
    if (self.is_hardware) info.submap |= feature(XENFEAT_dom0);
    return argument.store(info);
}

Outcome guest_handle(uint64_t address) {
    struct Handle {
        uint8_t bytes[16];
    } handle;
    std::memcpy(handle.bytes, arch::current().domain->config.handle, sizeof handle.bytes);
    return GuestOut<Handle>(address).store(handle);
}

Outcome command_line(uint64_t address) {
    if (!policy::check(policy::Op::kVersionDetail, *arch::current().domain)) {
        struct Text {
            char bytes[kDenied.size() + 1];
        } out;
        fill(out.bytes, kDenied);
        return GuestOut<Text>(address).store(out);
    }
    return store_text<sizeof(xen_commandline_t)>(address, boot::options().command_line);
}

// The linker's note, as the script of the image places it; a host build has none.
extern "C" const char build_id_start[] __attribute__((weak));
extern "C" const char build_id_end[] __attribute__((weak));

/// The number in the note: name and type come before it.
std::string_view build_id() {
    struct Note {
        uint32_t name_bytes, id_bytes, type;
        char name[4];  // "GNU"
    } note;
    const auto bytes = static_cast<size_t>(build_id_end - build_id_start);
    if (bytes < sizeof note) return {};
    std::memcpy(&note, build_id_start, sizeof note);
    if (note.name_bytes != sizeof note.name || note.id_bytes > bytes - sizeof note) return {};
    return {build_id_start + sizeof note, note.id_bytes};
}

/// Its length; with a buffer also the bytes.
Result<int64_t> store_build_id(uint64_t address) {
    TRY(policy::check(policy::Op::kVersionDetail, *arch::current().domain));
    const std::string_view id = build_id();
    if (address) {
        const auto room = TRY(GuestIn<xen_build_id_t>(address).load());
        if (room.len == 0) return Errno::kEINVAL;
        if (id.size() > room.len) return Errno::kENOBUFS;
        const GuestOut<char> into(address + offsetof(xen_build_id_t, buf));
        TRY(into.store_many({id.data(), id.size()}));
    }
    if (id.empty()) return Errno::kENODATA;
    return static_cast<int64_t>(id.size());
}

[[gnu::noinline]] Outcome other_question(int command, uint64_t address) {
    switch (command) {
        case XENVER_extraversion:
            return store_text<sizeof(xen_extraversion_t)>(address, version::kExtra);
        case XENVER_compile_info:
            return compile_info(address);
        case XENVER_capabilities:
            return store_text<sizeof(xen_capabilities_info_t)>(address, version::kCapabilities);
        case XENVER_changeset:
            return store_text<sizeof(xen_changeset_info_t)>(address, version::kChangeset);
        case XENVER_platform_parameters:
            return platform_parameters(address);
        case XENVER_get_features:
            return get_features(address);
        case XENVER_pagesize:
            return address ? Outcome{Errno::kEINVAL} : Outcome{int64_t{kPageSize}};
        case XENVER_guest_handle:
            return guest_handle(address);
        case XENVER_commandline:
            return command_line(address);
        case XENVER_build_id:
            return store_build_id(address);
    }
    return Errno::kENOSYS;
}

}  // namespace

Outcome do_xen_version(uint64_t command, uint64_t address, uint64_t, uint64_t, uint64_t) {
    // By itself, as guests use it to have events delivered: it is the null hypercall.
    if (static_cast<int>(command) == XENVER_version)
        return Outcome{int64_t{version::kMajor << 16 | version::kMinor}};
    return other_question(static_cast<int>(command), address);
}

}  // namespace hv
