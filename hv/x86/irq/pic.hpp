// The two legacy 8259A interrupt controllers, which are only moved out of the way.
#pragma once

namespace hv::irq::pic {

/// Moves their vectors away from the exceptions (to kVectorPicFirst) and masks every line. Even
/// masked they may raise a spurious interrupt, which must not look like an exception.
void init();

}  // namespace hv::irq::pic
