#include "hv/x86/irq/msi.hpp"

#include "hv/x86/irq/msix_tables.hpp"

namespace hv::irq {
namespace {

// Both capabilities have their control word at +2. Addresses and data: Intel's manual, volume 3,
// 11.11 ("Message Signalled Interrupts").
constexpr uint32_t kControl = 2;
constexpr uint16_t kMsiEnable = 1 << 0;
constexpr uint16_t kMsiMultipleMask = 7 << 4;  // how many messages are in use, as power of two
constexpr uint16_t kMsi64Bit = 1 << 7;
constexpr uint16_t kMsiMaskable = 1 << 8;
constexpr uint16_t kMsixEnable = 1 << 15;
constexpr uint16_t kMsixSizeMask = 0x7ff;
constexpr uint32_t kMsixTable = 4;  // BAR index and offset of the table
constexpr size_t kMsixEntryBytes = 16;
constexpr uint32_t kMsixVectorControl = 3;  // word of a table entry; bit 0 masks

constexpr uint32_t kCommand = 4;
constexpr uint32_t kCommandMemory = 1 << 1;
constexpr uint32_t kFirstBar = 0x10;

constexpr uint32_t kMessageAddress = 0xfee00000;  // + APIC id << 12: physical, no redirection

uint32_t data_offset(const Msi& msi) {
    return msi.capability + (msi.is_64bit ? 12u : 8u);
}
uint32_t mask_offset(const Msi& msi) {
    return data_offset(msi) + 4;
}

uint16_t control(const Msi& msi) {
    return static_cast<uint16_t>(pci_config_read(msi.bdf, msi.capability + kControl, 2));
}
void set_control(const Msi& msi, uint16_t value) {
    pci_config_write(msi.bdf, msi.capability + kControl, 2, value);
}

/// Where a memory BAR begins; 0: it is an I/O BAR or not set (virtual functions have none).
uint64_t bar_address(Bdf bdf, unsigned index) {
    constexpr uint32_t kIoBar = 1;
    constexpr uint32_t kTypeMask = 6, kType64 = 4;
    if (index > 5) return 0;
    const uint32_t low = pci_config_read(bdf, kFirstBar + index * 4, 4);
    if (low & kIoBar) return 0;
    uint64_t address = low & ~uint32_t{0xf};
    if ((low & kTypeMask) == kType64 && index < 5)
        address |= uint64_t{pci_config_read(bdf, kFirstBar + (index + 1) * 4, 4)} << 32;
    return address;
}

Result<Msi> find_plain(Bdf bdf) {
    Msi msi;
    msi.bdf = bdf;
    msi.capability = pci_find_capability(bdf, kCapabilityMsi);
    if (!msi.capability) return Errno::kENODEV;
    const uint16_t flags = control(msi);
    msi.is_64bit = flags & kMsi64Bit;
    msi.maskable = flags & kMsiMaskable;
    return msi;
}

Result<Msi> find_in_table(Bdf bdf, uint16_t entry, uint64_t table_base) {
    Msi msi;
    msi.bdf = bdf;
    msi.is_msix = msi.maskable = true;
    msi.entry = entry;
    msi.capability = pci_find_capability(bdf, kCapabilityMsix);
    if (!msi.capability) return Errno::kENODEV;
    const size_t entries = (control(msi) & kMsixSizeMask) + 1u;
    if (entry >= entries) return Errno::kEINVAL;
    if (!(pci_config_read(bdf, kCommand, 2) & kCommandMemory)) return Errno::kENXIO;
    const uint32_t where = pci_config_read(bdf, msi.capability + kMsixTable, 4);
    uint64_t base = bar_address(bdf, where & 7);
    if (!base) base = table_base;
    volatile uint32_t* table =
        TRY(map_msix_table(base + (where & ~uint32_t{7}), entries * kMsixEntryBytes));
    msi.table_entry = table + entry * (kMsixEntryBytes / 4);
    return msi;
}

}  // namespace

Result<Msi> find_msi(Bdf bdf, uint16_t entry, uint64_t table_base) {
    if (!pci_exists(bdf)) return Errno::kENODEV;
    return table_base ? find_in_table(bdf, entry, table_base) : find_plain(bdf);
}

void write_message(const Msi& msi, MsiTarget target) {
    const uint32_t address = kMessageAddress | uint32_t{target.apic_id} << 12;
    const uint32_t data = target.vector;  // fixed, edge
    set_message_masked(msi, true);
    if (msi.is_msix) {
        msi.table_entry[0] = address;
        msi.table_entry[1] = 0;
        msi.table_entry[2] = data;
        return;
    }
    pci_config_write(msi.bdf, msi.capability + 4, 4, address);
    if (msi.is_64bit) pci_config_write(msi.bdf, msi.capability + 8, 4, 0);
    pci_config_write(msi.bdf, data_offset(msi), 2, data);
}

void set_message_masked(const Msi& msi, bool masked) {
    if (msi.is_msix) {
        msi.table_entry[kMsixVectorControl] = masked;
        (void)msi.table_entry[kMsixVectorControl];  // pushes the write to the device
    } else if (msi.maskable) {
        // Only the first message is used; the mask bits of the others stay set.
        pci_config_write(msi.bdf, mask_offset(msi), 4, masked ? ~uint32_t{0} : ~uint32_t{1});
    }
}

void enable_messages(const Msi& msi, bool on) {
    const uint16_t flags = control(msi);
    if (msi.is_msix) {
        if (on) set_control(msi, flags | kMsixEnable);
        return;  // other entries may be in use: Domain 0 switches the function off
    }
    const auto one_message = static_cast<uint16_t>(flags & ~kMsiMultipleMask & ~kMsiEnable);
    set_control(msi, on ? one_message | kMsiEnable : one_message);
}

}  // namespace hv::irq
