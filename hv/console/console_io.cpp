// HYPERVISOR_console_io: Domain 0's hvc0 (xen.h, CONSOLEIO_*).
#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/console/console.hpp"
#include "hv/console/ring.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"

namespace hv {
namespace {

constexpr uint64_t kChunk = 128;

Outcome write_console(uint64_t count, uint64_t buffer) {
    const GuestIn<char> text(buffer);
    for (uint64_t done = 0; done < count;) {
        char chunk[kChunk];
        const uint64_t n = std::min(count - done, kChunk);
        if (const Result<> in = text.load_many({chunk, n}, done); !in.ok()) return in.error();
        console::write_past_ring({chunk, n});
        done += n;
        if (done < count && preempt_requested())
            return continue_with({CONSOLEIO_write, count - done, text.at(done, 1)});
    }
    return Outcome(0);
}

Outcome read_console(uint64_t count, uint64_t buffer) {
    const GuestOut<char> text(buffer);
    uint64_t done = 0;
    while (done < count) {
        char chunk[kChunk];
        const size_t n = console::take_input(chunk, std::min(count - done, kChunk));
        if (n == 0) break;
        if (const Result<> out = text.store_many({chunk, n}, done); !out.ok()) return out.error();
        done += n;
    }
    return Outcome(static_cast<int64_t>(done));
}

}  // namespace

Outcome do_console_io(uint64_t command, uint64_t count, uint64_t buffer, uint64_t, uint64_t) {
    const Result<> may = policy::check(policy::Op::kConsoleIo, *arch::current().domain);
    if (!may.ok()) return may;
    // The count is an int in the ABI.
    if (count > INT32_MAX) return Errno::kE2BIG;
    switch (static_cast<uint32_t>(command)) {
        case CONSOLEIO_write:
            return write_console(count, buffer);
        case CONSOLEIO_read:
            return read_console(count, buffer);
        default:
            return Errno::kENOSYS;
    }
}

}  // namespace hv
