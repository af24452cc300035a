#include "hv/console/log.hpp"

#include <atomic>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/console/ring.hpp"
#include "hv/domain/domain.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/boot/options.hpp"

namespace hv {
namespace {

using boot::Options;

// Lines of a level that is limited in rate: so many at once, then one each kRefill.
constexpr int64_t kBurst = 10;
constexpr Nanoseconds kRefill = 500 * kMillisecond;

struct RateLimit {
    std::atomic<int64_t> credit{kBurst};
    std::atomic<Nanoseconds> refilled{0};

    bool take() {
        const Nanoseconds now = arch::now();
        Nanoseconds last = refilled.load(std::memory_order_relaxed);
        const int64_t earned = (now - last) / kRefill;
        if (earned > 0 && refilled.compare_exchange_strong(last, now)) {
            const int64_t have = credit.load();
            credit.store(have + earned > kBurst ? kBurst : have + earned);
        }
        if (credit.fetch_sub(1) > 0) return true;
        credit.fetch_add(1);
        return false;
    }
};
RateLimit limits[2];

bool below(LogLevel level, Options::Level threshold) {
    return static_cast<unsigned>(level) < static_cast<unsigned>(threshold);
}

/// A line grows here and is written in one piece, so that lines of two CPUs do not mix.
struct Line {
    char text[512];
    size_t length = 0;

    static void append(void* self, std::string_view piece) {
        auto& line = *static_cast<Line*>(self);
        for (char c : piece)
            if (line.length < sizeof line.text - 1) line.text[line.length++] = c;
    }
};

}  // namespace

bool log_enabled(LogLevel level, bool guest) {
    const Options& o = boot::options();
    if (below(level, guest ? o.guest_log_level : o.log_level)) return true;
    return below(level, guest ? o.guest_log_rate : o.log_rate) && limits[guest].take();
}

void log_args(LogLevel, bool guest, std::string_view format, const base::FormatArg* args,
              size_t count) {
    Line line;
    Line::append(&line, "(XEN) ");
    if (guest) {
        const Vcpu& v = arch::current();
        base::format_to(Line::append, &line, "d{}v{} ", v.domain->id, v.id);
    }
    base::format_args(Line::append, &line, format, args, count);
    line.text[line.length++] = '\n';
    console::write({line.text, line.length});
    raise_softirq(Softirq::kConsole);
}

}  // namespace hv
