// Xen's error numbers as a type. The values are the ABI's (<xen/errno.h>); they leave the
// hypervisor negated, and only at its edge.
#pragma once

namespace base {

// XEN_ERRNO's first argument is only pasted, never expanded, so a hosted <errno.h> does not hurt.
enum class Errno : int {
#define XEN_ERRNO(name, value) k##name = value,
#include <xen/errno.h>
    kERESTART = 85,  // never leaves the hypervisor; the header shows it to __XEN__ only
};

}  // namespace base
