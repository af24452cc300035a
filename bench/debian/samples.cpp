#include "samples.hpp"

#include <algorithm>
#include <cstdlib>

namespace bench {

void Samples::print(const std::string& name, uint64_t units) const {
    std::vector<uint64_t> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const double minimum = static_cast<double>(sorted.front()) / static_cast<double>(units);
    const double median =
        static_cast<double>(sorted[sorted.size() / 2]) / static_cast<double>(units);
    // A newline in front: the console may hold the beginning of somebody else's line.
    std::printf("\nBENCH %s %.2f %.2f %zu\n", name.c_str(), minimum, median, sorted.size());
    std::fflush(stdout);
}

long must(long result, const char* what) {
    if (result < 0) {
        std::perror(what);
        std::exit(1);
    }
    return result;
}

}  // namespace bench
