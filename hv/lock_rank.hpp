// The order in which locks are taken: a CPU that holds a lock may only take one of higher rank.
// Two locks of the same rank are taken together only in one order: of addresses (paging), of
// references (grant entries).
#pragma once

#include <cstdint>

namespace hv {

enum class Rank : uint8_t {
    kDomctl = 10,      // one control operation at a time
    kDomainList = 20,  // the table of domains
    kCpuPool = 25,
    kDomain = 30,       // a domain's life: vCPUs, shutdown
    kPaging = 40,       // a domain's page tables
    kLeaves = 45,       // and the entries of those of the first level
    kGrant = 50,        // a domain's grant table
    kGrantEntry = 52,   // one entry's use
    kMaptrack = 55,     // a domain's list of grants it has mapped
    kEvent = 60,        // binding and closing of a domain's ports (sending takes none)
    kPirq = 62,         // a domain's physical interrupts
    kIrq = 65,          // one interrupt line
    kDomainPages = 70,  // a domain's page counts
    kHostPaging = 72,   // the hypervisor's own page tables, which take frames
    kAllocator = 75,    // free frames
    kHeap = 80,         // the hypervisor's small objects
    kRcu = 85,
    kEventQueue = 88,  // one FIFO queue of events: whoever sends takes it, and nothing inside
    kScheduler = 90,   // a run queue
    kTimer = 95,       // a CPU's timers
    kCalibration = 97,
    kIoApic = 105,    // an I/O APIC's register window
    kPci = 110,       // configuration cycles
    kFirmware = 112,  // the firmware's run-time services
    kFlush = 115,
    kConsole = 120,  // the innermost: anyone may print
};

}  // namespace hv
