#include "hv/console/ring.hpp"

#include <algorithm>

#include "base/lock.hpp"
#include "hv/console/console.hpp"
#include "hv/console/output.hpp"
#include "hv/event/event.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/softirq.hpp"

namespace hv::console {
namespace {

constexpr uint32_t kRingBytes = 64 * 1024;  // a power of two: indices wrap freely

char ring[kRingBytes];
uint32_t produced;  // index after the newest character
uint32_t oldest;    // index of the oldest that is still there and not cleared

SpinLock output_lock{static_cast<uint8_t>(Rank::kConsole)};

void put(char c) {
    put_out(c);
    ring[produced++ % kRingBytes] = c;
    if (produced - oldest > kRingBytes) oldest = produced - kRingBytes;
}

}  // namespace

void write_past_ring(std::string_view text) {
    LockGuard guard(output_lock);
    for (char c : text) put_out(c);
}

void write(std::string_view text) {
    LockGuard guard(output_lock);
    for (char c : text) put(c);
}

void for_each_in_ring(void (*fn)(char)) {
    LockGuard guard(output_lock);
    for (uint32_t at = oldest; at != produced; ++at) fn(ring[at % kRingBytes]);
}

Result<> read_ring(GuestOut<char> buffer, uint32_t& count, uint32_t& index, bool incremental,
                   bool clear) {
    uint32_t from = oldest;
    // An index from before the oldest (or from nowhere) starts at the oldest.
    if (incremental && produced - index <= produced - oldest) from = index;
    uint32_t copied = 0;
    while (copied < count && from != produced) {
        char chunk[256];
        uint32_t n = 0;
        {
            LockGuard guard(output_lock);
            while (n < sizeof chunk && copied + n < count && from != produced)
                chunk[n++] = ring[from++ % kRingBytes];
        }
        TRY(buffer.store_many({chunk, n}, copied));
        copied += n;
    }
    if (clear) {
        LockGuard guard(output_lock);
        oldest = produced;
    }
    count = copied;
    index = from;
    return {};
}

}  // namespace hv::console
