// Private to the parsers of ACPI's tables.
#pragma once

#include <cstring>

#include "hv/x86/acpi/tables.hpp"

namespace hv::acpi {

/// Little-endian number at `offset`; the caller has checked that it lies inside.
template <class T>
T read(Bytes bytes, size_t offset) {
    T value;
    memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

}  // namespace hv::acpi
