// Options that Xen 4.17 knows on x86 and that have no effect here: whoever passes one is told so,
// and not that it is unknown.
#pragma once

#include <string_view>

namespace hv::boot {

bool is_foreign_option(std::string_view name);

}  // namespace hv::boot
