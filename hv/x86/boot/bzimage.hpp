// A kernel file as the boot loader hands it over: a bzImage (Documentation/arch/x86/boot.rst of
// Linux, header version 2.08 or later) around a packed ELF image, or that image itself.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"
#include "hv/x86/boot/unpack/unpack.hpp"

namespace hv::boot {

struct KernelPayload {
    Packing packing;         ///< kNone: it is the ELF image itself
    Bytes bytes;             ///< within the file
    uint64_t unpacked_size;  ///< as the file says; if not packed, bytes.size()
};

/// Finds the kernel proper in `file`. On failure the log has a line with cause and remedy:
/// kENODATA truncated, kENOEXEC neither a bzImage nor an ELF file, kEOPNOTSUPP packed in a format
/// that is not unpacked here (the line names it), kEINVAL contradicts itself.
Result<KernelPayload> find_payload(Bytes file);

}  // namespace hv::boot
