// Hypercalls while tracing is on: the same table with a record of each call in front.
#pragma once

namespace hv {

/// Has every hypercall noted from now on (hv/console/trace.hpp), or no longer.
void trace_hypercalls(bool on);

}  // namespace hv
