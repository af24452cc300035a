#include "hv/x86/pv/port_io.hpp"

#include <xen/xen.h>

#include "arch/guest_memory.hpp"
#include "base/lock.hpp"
#include "hv/domain/domain.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/cpu/port_io.hpp"
#include "hv/x86/irq/pci.hpp"
#include "hv/x86/pv/mmu.hpp"

namespace hv::pv {
namespace {

constexpr uint16_t kPitChannel2 = 0x42, kPitControl = 0x43, kSpeaker = 0x61;
constexpr uint16_t kCmosIndex = 0x70, kCmosData = 0x71;
constexpr uint32_t kConfigEnable = 1u << 31;

constinit SpinLock cmos_lock{static_cast<uint8_t>(Rank::kPci)};

uint32_t real_in(uint16_t port, unsigned bytes) {
    switch (bytes) {
        case 1:
            return arch::in8(port);
        case 2:
            return arch::in16(port);
        default:
            return arch::in32(port);
    }
}
void real_out(uint16_t port, unsigned bytes, uint32_t value) {
    switch (bytes) {
        case 1:
            arch::out8(port, static_cast<uint8_t>(value));
            break;
        case 2:
            arch::out16(port, static_cast<uint16_t>(value));
            break;
        default:
            arch::out32(port, value);
            break;
    }
}

/// The PIT's channel 0 and 1 are the hypervisor's; Domain 0 gets channel 2, for the speaker.
bool is_pit(uint16_t port) {
    return port == kPitChannel2 || port == kPitControl || port == kSpeaker;
}
uint8_t read_pit(const Domain& domain, uint16_t port) {
    if (!domain.is_hardware || port == kPitControl) return 0xff;
    return arch::in8(port);
}
void write_pit(const Domain& domain, uint16_t port, uint8_t value) {
    constexpr uint8_t kGateAndSpeaker = 3;
    if (!domain.is_hardware) return;
    if (port == kPitChannel2) arch::out8(port, value);
    if (port == kPitControl && value >> 6 == 2) arch::out8(port, value);
    if (port == kSpeaker)
        arch::out8(port, (arch::in8(port) & ~kGateAndSpeaker) | (value & kGateAndSpeaker));
}

/// The index is kept per domain and written right before each access, under a lock.
uint8_t read_cmos(Domain& domain, uint16_t port) {
    if (!domain.is_hardware) return 0xff;
    if (port == kCmosIndex) return domain.arch.cmos_index;
    LockGuard guard(cmos_lock);
    arch::out8(kCmosIndex, domain.arch.cmos_index & 0x7f);  // bit 7 would mask NMIs
    return arch::in8(kCmosData);
}
void write_cmos(Domain& domain, uint16_t port, uint8_t value) {
    if (!domain.is_hardware) return;
    if (port == kCmosIndex) {
        domain.arch.cmos_index = value & 0x7f;
        return;
    }
    LockGuard guard(cmos_lock);
    arch::out8(kCmosIndex, domain.arch.cmos_index & 0x7f);
    arch::out8(kCmosData, value);
}

/// CONFIG_ADDRESS is a register only to 32-bit accesses (PCI 3.0, 3.2.2.3.2).
bool is_config_address(uint16_t port, unsigned bytes) {
    return port == irq::kPortConfigAddress && bytes == 4;
}
bool is_config_data(uint16_t port) {
    return (port & ~3) == irq::kPortConfigData;
}
bool config_reachable(const Domain& domain) {
    return domain.is_hardware && (domain.arch.pci_cf8 & kConfigEnable);
}
irq::Bdf config_bdf(const Domain& domain) {
    return irq::Bdf{(domain.arch.pci_cf8 >> 8) & 0xffff};
}
uint32_t config_register(const Domain& domain, uint16_t port) {
    return (domain.arch.pci_cf8 & 0xfc) | (port & 3);
}

/// How many bytes from `port` on one handler takes: a configuration cycle is 1, 2 or 4, aligned.
unsigned piece_size(uint16_t port, unsigned bytes) {
    if (is_config_address(port, bytes)) return 4;
    if (!is_config_data(port)) return 1;
    return bytes >= 4 && !(port & 3) ? 4 : bytes >= 2 && !(port & 1) ? 2 : 1;
}

uint32_t read_piece(Domain& domain, uint16_t port, unsigned bytes) {
    if (is_config_address(port, bytes)) return domain.is_hardware ? domain.arch.pci_cf8 : ~0u;
    if (is_config_data(port))
        return config_reachable(domain)
                   ? irq::pci_config_read(config_bdf(domain), config_register(domain, port), bytes)
                   : ~0u;
    if (is_pit(port)) return read_pit(domain, port);
    if (port == kCmosIndex || port == kCmosData) return read_cmos(domain, port);
    return arch::may_use_ports(domain, port, 1) ? arch::in8(port) : 0xff;
}

void write_piece(Domain& domain, uint16_t port, unsigned bytes, uint32_t value) {
    if (is_config_address(port, bytes)) {
        domain.arch.pci_cf8 = value;
    } else if (is_config_data(port)) {
        if (config_reachable(domain))
            irq::pci_config_write(config_bdf(domain), config_register(domain, port), bytes, value);
    } else if (is_pit(port)) {
        write_pit(domain, port, static_cast<uint8_t>(value));
    } else if (port == kCmosIndex || port == kCmosData) {
        write_cmos(domain, port, static_cast<uint8_t>(value));
    } else if (arch::may_use_ports(domain, port, 1)) {
        arch::out8(port, static_cast<uint8_t>(value));
    }
}

/// The guest kernel's own bitmap (PHYSDEVOP_set_iobitmap), a 0 bit permits; what cannot be read
/// denies. It lies in kernel memory, which user mode's page tables may lack.
bool bitmap_permits(Vcpu& vcpu, uint16_t port, unsigned bytes) {
    const arch::PvVcpu& pv = vcpu.arch.pv;
    if ((uint32_t{port} + bytes + 7) / 8 > pv.physdev_port_bitmap_bytes) return false;
    uint8_t map[2] = {0xff, 0xff};
    bool from_user = !pv.kernel_mode;
    if (from_user) toggle_mode(vcpu);
    unsigned count = (port % 8 + bytes > 8) ? 2 : 1;
    bool read = arch::copy_from_guest(map, pv.physdev_port_bitmap + port / 8, count).ok();
    if (from_user) toggle_mode(vcpu);
    unsigned mask = ((1u << bytes) - 1) << (port % 8);
    return read && !((map[0] | map[1] << 8) & mask);
}

}  // namespace

bool iopl_permits(const Vcpu& vcpu) {
    constexpr uint64_t kArchitectural = uint64_t{1} << VMASST_TYPE_architectural_iopl;
    const arch::PvVcpu& pv = vcpu.arch.pv;
    unsigned ring = 3;
    if (pv.kernel_mode) ring = (vcpu.domain->vm_assist.load() & kArchitectural) ? 0 : 1;
    return ring <= pv.iopl;
}

bool port_access_permitted(Vcpu& vcpu, uint16_t port, unsigned bytes) {
    return iopl_permits(vcpu) || bitmap_permits(vcpu, port, bytes);
}

uint32_t read_port(Vcpu& vcpu, uint16_t port, unsigned bytes) {
    Domain& domain = *vcpu.domain;
    if (!is_config_address(port, bytes) && arch::may_use_ports(domain, port, bytes))
        return real_in(port, bytes);
    uint32_t value = 0;
    for (unsigned done = 0; done < bytes;) {
        auto at = static_cast<uint16_t>(port + done);
        unsigned size = piece_size(at, bytes - done);
        uint32_t piece = read_piece(domain, at, size);
        if (size < 4) piece &= (1u << (8 * size)) - 1;
        value |= piece << (8 * done);
        done += size;
    }
    return value;
}

void write_port(Vcpu& vcpu, uint16_t port, unsigned bytes, uint32_t value) {
    Domain& domain = *vcpu.domain;
    if (!is_config_address(port, bytes) && arch::may_use_ports(domain, port, bytes))
        return real_out(port, bytes, value);
    for (unsigned done = 0; done < bytes;) {
        auto at = static_cast<uint16_t>(port + done);
        unsigned size = piece_size(at, bytes - done);
        write_piece(domain, at, size, value >> (8 * done));
        done += size;
    }
}

}  // namespace hv::pv
