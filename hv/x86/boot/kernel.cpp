#include "hv/x86/boot/kernel.hpp"

#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/boot/bzimage.hpp"

namespace hv::boot {

Result<Kernel> Kernel::load(const BootModule& module) {
    if (module.size == 0) {
        log(LogLevel::kError,
            "there is no kernel for Domain 0: give the boot loader a vmlinuz as the first module");
        return Errno::kENOENT;
    }
    const Bytes file(arch::machine_to_virt<const uint8_t>(module.machine_address), module.size);
    const KernelPayload payload = TRY(find_payload(file));
    if (payload.packing == Packing::kNone)
        return Kernel(TRY(KernelImage::parse(payload.bytes)), BootBuffer{});

    auto buffer = BootBuffer::create(payload.unpacked_size);
    if (!buffer) {
        log(LogLevel::kError,
            "too little memory to unpack Domain 0's kernel: it needs {} MiB in one piece; give "
            "the machine more",
            payload.unpacked_size / kMiB + 1);
        return buffer.error();
    }
    const std::span<uint8_t> unpacked(buffer->data(), payload.unpacked_size);
    if (auto done = unpack(payload.packing, payload.bytes, unpacked); !done) {
        log(LogLevel::kError, "Domain 0's kernel cannot be unpacked (see the line above)");
        return done.error();
    }
    const KernelImage image = TRY(KernelImage::parse(unpacked));
    return Kernel(image, static_cast<BootBuffer&&>(*buffer));
}

}  // namespace hv::boot
