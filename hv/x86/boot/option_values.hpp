// The kinds of values that boot options have, as Xen reads them (docs/misc/xen-command-line).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "hv/limits.hpp"
#include "hv/x86/boot/options.hpp"

namespace hv::boot {

/// Cuts `text` at the first `separator`: returns what is before it and leaves what is behind.
std::string_view cut(std::string_view& text, char separator);

/// yes on true enable 1, no off false disable 0.
std::optional<bool> parse_boolean(std::string_view text);
/// Decimal, 0x hexadecimal or 0 octal, without a sign; nothing may follow.
std::optional<uint64_t> parse_number(std::string_view text);
/// A number and a unit of one letter, B K M G T in either case; without one: KiB.
std::optional<uint64_t> parse_size(std::string_view text);
/// none error warning info debug all.
std::optional<Options::Level> parse_level(std::string_view text);

// Whole values; false: not understood, and `into` may be changed in part.
bool parse_levels(std::string_view text, Options::Level& level, Options::Level& rate);
bool parse_memory(std::string_view text, MemorySize& into);
bool parse_vcpus(std::string_view text, unsigned& min, unsigned& max);
/// BAUD[/CLOCK][,DPS[,PORT[,IRQ]]]
bool parse_serial(std::string_view text, Options::Serial& into);

}  // namespace hv::boot
