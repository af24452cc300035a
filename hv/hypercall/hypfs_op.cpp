// hypfs_op: the hypervisor's own small file system, which `xenhypfs` shows (<xen/hypfs.h>). A
// folder reads as a list of entries, a file as its bytes; every path begins at the root.
#include <cstddef>
#include <cstdint>

#include <xen/xen.h>

#include <xen/hypfs.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/version.hpp"

namespace hv {

namespace {

struct HypfsNode {
    std::string_view path;  ///< of a folder without the slash at its end: the root is empty
    uint8_t type;
    std::string_view text = {};
    uint32_t number = 0;

    bool is_folder() const { return type == XEN_HYPFS_TYPE_DIR; }
};

constexpr uint8_t kFolder = XEN_HYPFS_TYPE_DIR, kText = XEN_HYPFS_TYPE_STRING,
                  kNumber = XEN_HYPFS_TYPE_UINT;

// What is in a folder stands right behind it, by name.
constexpr HypfsNode kNodes[] = {
    {"", kFolder},
    {"/buildinfo", kFolder},
    {"/buildinfo/changeset", kText, version::kChangeset},
    {"/buildinfo/compileinfo", kFolder},
    {"/buildinfo/compileinfo/compile_by", kText, version::kCompileBy},
    {"/buildinfo/compileinfo/compile_date", kText, version::kCompileDate},
    {"/buildinfo/compileinfo/compile_domain", kText, version::kCompileDomain},
    {"/buildinfo/compileinfo/compiler", kText, version::kCompiler},
    {"/buildinfo/version", kFolder},
    {"/buildinfo/version/extra", kText, version::kExtra},
    {"/buildinfo/version/major", kNumber, {}, version::kMajor},
    {"/buildinfo/version/minor", kNumber, {}, version::kMinor},
};

/// The name of `node` if it lies right in `folder`; empty if not.
std::string_view name_in(const HypfsNode& folder, const HypfsNode& node) {
    const std::string_view path = node.path;
    if (path.size() <= folder.path.size() + 1 || !path.starts_with(folder.path)) return {};
    const std::string_view name = path.substr(folder.path.size() + 1);
    const bool right_in_it = path[folder.path.size()] == '/' && name.find('/') == name.npos;
    return right_in_it ? name : std::string_view{};
}

/// An entry of a folder's list: its head, its name with a NUL, padding to four bytes.
constexpr size_t entry_bytes(std::string_view name) {
    return round_up(offsetof(xen_hypfs_dirlistentry, name) + name.size() + 1, 4);
}

size_t content_bytes(const HypfsNode& node) {
    if (node.type == kText) return node.text.size() + 1;
    if (node.type == kNumber) return sizeof node.number;
    size_t bytes = 0;
    for (const HypfsNode& other : kNodes)
        if (const auto name = name_in(node, other); !name.empty()) bytes += entry_bytes(name);
    return bytes;
}

xen_hypfs_direntry head_of(const HypfsNode& node) {
    return {.type = node.type,
            .encoding = XEN_HYPFS_ENC_PLAIN,
            .content_len = static_cast<uint32_t>(content_bytes(node))};
}

Result<> write_list(const HypfsNode& folder, GuestAddress into) {
    size_t left = content_bytes(folder);
    for (const HypfsNode& node : kNodes) {
        const std::string_view name = name_in(folder, node);
        if (name.empty()) continue;
        constexpr size_t kMost = 64;
        alignas(xen_hypfs_dirlistentry) char entry[kMost] = {};
        const size_t bytes = entry_bytes(name);
        auto& head = *reinterpret_cast<xen_hypfs_dirlistentry*>(entry);
        head.e = head_of(node);
        left -= bytes;
        head.off_next = static_cast<uint16_t>(left ? bytes : 0);
        std::memcpy(entry + offsetof(xen_hypfs_dirlistentry, name), name.data(), name.size());
        TRY(GuestOut<char>(into.raw()).store_many({entry, bytes}));
        into = GuestAddress(into.at(bytes, 1));
    }
    return {};
}

Result<> write_content(const HypfsNode& node, GuestAddress into) {
    if (node.is_folder()) return write_list(node, into);
    if (node.type == kNumber) return GuestOut<uint32_t>(into.raw()).store(node.number);
    const GuestOut<char> out(into.raw());
    TRY(out.store_many({node.text.data(), node.text.size()}));
    return out.store('\0', node.text.size());
}

/// The node that a path of the guest's names. kEINVAL: too long, no NUL at its end, or not from
/// the root; kENOENT.
Result<const HypfsNode*> find(uint64_t address, uint64_t bytes) {
    char path[XEN_HYPFS_MAX_PATHLEN];
    if (bytes == 0 || bytes > sizeof path) return Errno::kEINVAL;
    TRY(GuestIn<char>(address).load_many({path, bytes}));
    std::string_view name(path, bytes - 1);
    if (path[bytes - 1] != '\0' || name.find('\0') != name.npos || !name.starts_with('/'))
        return Errno::kEINVAL;
    if (name.ends_with('/')) name.remove_suffix(1);
    for (const HypfsNode& node : kNodes)
        if (node.path == name) return &node;
    return Errno::kENOENT;
}

/// The head always, so that the caller learns how much room it needs; kENOBUFS: the rest not.
Result<> read(const HypfsNode& node, GuestAddress buffer, uint64_t room) {
    const xen_hypfs_direntry head = head_of(node);
    if (room < sizeof head) return Errno::kEINVAL;
    TRY(GuestOut<xen_hypfs_direntry>(buffer.raw()).store(head));
    if (room < sizeof head + head.content_len) return Errno::kENOBUFS;
    return write_content(node, GuestAddress(buffer.at(sizeof head, 1)));
}

}  // namespace

Outcome do_hypfs_op(uint64_t command, uint64_t path, uint64_t path_bytes, uint64_t buffer,
                    uint64_t buffer_bytes) {
    TRY(policy::check(policy::Op::kControlHost, *arch::current().domain));
    const auto operation = static_cast<uint32_t>(command);
    if (operation == XEN_HYPFS_OP_get_version) {
        if (path || path_bytes || buffer || buffer_bytes) return Errno::kEINVAL;
        return Outcome{int64_t{XEN_HYPFS_VERSION}};
    }
    const HypfsNode* node = TRY(find(path, path_bytes));
    switch (operation) {
        case XEN_HYPFS_OP_read:
            return read(*node, GuestAddress(buffer), buffer_bytes);
        case XEN_HYPFS_OP_write_contents:
            return Errno::kEACCES;  // no node can be written
    }
    return Errno::kEOPNOTSUPP;
}

}  // namespace hv
