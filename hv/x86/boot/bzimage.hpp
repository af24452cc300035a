// A kernel file as the boot loader hands it over: a bzImage (Documentation/arch/x86/boot.rst of
// Linux, header version 2.08 or later) around a packed ELF image, or that image itself.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

enum class PayloadFormat : uint8_t { kElf, kXz };

struct KernelPayload {
    PayloadFormat format;
    Bytes bytes;             ///< within the file
    uint64_t unpacked_size;  ///< of kXz, as the file says; else bytes.size()
};

/// Finds the kernel proper in `file`. On failure the log has a line with cause and remedy:
/// kENODATA truncated, kENOEXEC neither a bzImage nor an ELF file, kEOPNOTSUPP packed in a format
/// that is not unpacked here (the line names it), kEINVAL contradicts itself.
Result<KernelPayload> find_payload(Bytes file);

}  // namespace hv::boot
