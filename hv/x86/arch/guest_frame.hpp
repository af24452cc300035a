// What frame a guest means: the definition of a function of hv/grant/grant.hpp, in line for the
// paths that ask it for each element. Host tests bring their own.
#pragma once

#include "hv/grant/grant.hpp"

namespace hv::arch {

#ifndef XENOLITH_HOST
inline Result<Mfn> guest_frame_to_mfn(Domain&, Gfn gfn) {
    return Mfn{gfn.raw()};
}
#endif

}  // namespace hv::arch
