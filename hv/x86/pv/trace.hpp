// Trace records of what PV guests' code runs into (TRC_PV_*, <xen/trace.h>). All cost a branch
// that is not taken while tracing is off. Addresses are two words each, low half first.
#pragma once

#include "hv/console/trace.hpp"

namespace hv::pv::trace_event {

/// An event with one address: where the instruction is that was emulated.
inline void at(uint32_t id, uint64_t rip) {
    trace::event(id | TRC_64_FLAG, trace::low(rip), trace::high(rip));
}

/// A trap that goes to the guest.
inline void trap(uint8_t vector, bool has_error, uint32_t error, uint64_t rip) {
    constexpr uint32_t kHasError = 1 << 15;
    trace::event(TRC_PV_TRAP | TRC_64_FLAG, trace::low(rip), trace::high(rip),
                 vector | (has_error ? kHasError : 0) | error << 16);
}

inline void page_fault(uint64_t address, uint32_t error, uint64_t rip) {
    trace::event(TRC_PV_PAGE_FAULT | TRC_64_FLAG, trace::low(rip), trace::high(rip),
                 trace::low(address), trace::high(address), error);
}

/// A page of a descriptor table was mapped since the processor looked for it.
inline void descriptor_page(uint64_t address, uint64_t rip) {
    trace::event(TRC_PV_GDT_LDT_MAPPING_FAULT | TRC_64_FLAG, trace::low(rip), trace::high(rip),
                 trace::low(address), trace::high(address));
}

/// A write to a page-table entry was carried out; `entry` is its value since.
inline void table_write(uint64_t address, uint64_t entry, uint64_t rip) {
    trace::event(TRC_PV_PTWR_EMULATION | TRC_64_FLAG, trace::low(entry), trace::high(entry),
                 trace::low(address), trace::high(address), trace::low(rip), trace::high(rip));
}

}  // namespace hv::pv::trace_event
