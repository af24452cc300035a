// Domain 0's kernel, found, unpacked and read: from a boot module to something to load.
#pragma once

#include "base/result.hpp"
#include "hv/x86/boot/boot_buffer.hpp"
#include "hv/x86/boot/elf.hpp"
#include "hv/x86/boot/module.hpp"

namespace hv::boot {

class Kernel {
  public:
    /// On failure the log has a line with cause and remedy. If the kernel was packed, the module
    /// is not needed any more afterwards (uses_module() is false).
    static Result<Kernel> load(const BootModule& module);

    const KernelImage& image() const { return image_; }
    bool uses_module() const { return unpacked_.pages() == 0; }
    /// Frames that come back with unload(), or when this object goes.
    uint64_t buffer_pages() const { return unpacked_.pages(); }
    /// Gives the memory back; the image's segments must not be looked at any more.
    void unload() { unpacked_.release(); }

  private:
    Kernel(KernelImage image, BootBuffer unpacked)
        : image_(image), unpacked_(static_cast<BootBuffer&&>(unpacked)) {}

    KernelImage image_;    // refers to unpacked_, or to the module
    BootBuffer unpacked_;  // empty if the module is the ELF image itself
};

}  // namespace hv::boot
