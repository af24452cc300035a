#include "hv/x86/boot/options.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "hv/x86/boot/foreign_options.hpp"
#include "hv/x86/boot/option_values.hpp"

namespace hv::boot {
namespace {

constinit Options in_force;

using Warn = void (*)(std::string_view);

enum class Verdict {
    kDone,
    kBadValue,
    kNoEffect,  // it is Xen's, and means nothing here
    kInPart,    // a mode of the screen, which the boot loader has set
};

/// What stands behind an option's name: `name=value`, `name`, or `no-name`.
struct Value {
    std::string_view text;  // "" if there is no `=`
    bool given;             // there is a `=`
    bool negated;           // `no-`

    std::optional<bool> boolean() const {
        if (!given) return !negated;
        const auto value = parse_boolean(text);
        return value && negated ? !*value : value;
    }
};

Verdict done_if(bool understood) {
    return understood ? Verdict::kDone : Verdict::kBadValue;
}

Verdict set_boolean(const Value& value, bool& into) {
    const auto boolean = value.boolean();
    if (boolean) into = *boolean;
    return done_if(boolean.has_value());
}

Verdict set_number(const Value& value, unsigned& into) {
    const auto number = parse_number(value.text);
    if (!number || *number > UINT32_MAX) return Verdict::kBadValue;
    into = static_cast<unsigned>(*number);
    return Verdict::kDone;
}

template <size_t N>
void copy_text(std::string_view from, char (&to)[N]) {
    from = from.substr(0, N - 1);
    std::copy(from.begin(), from.end(), to);
    to[from.size()] = '\0';
}

Verdict dom0_mem(const Value& value, Options& into) {
    std::string_view list = value.text;
    bool understood = !list.empty();
    while (understood && !list.empty()) {
        std::string_view item = cut(list, ',');
        MemorySize* size = &into.dom0_mem;
        if (item.starts_with("min:")) size = &into.dom0_mem_min;
        if (item.starts_with("max:")) size = &into.dom0_mem_max;
        if (size != &into.dom0_mem) item.remove_prefix(4);
        understood = parse_memory(item, *size);
    }
    return done_if(understood);
}

/// Serial lines, with Xen's suffix H or L (a line shared by two) left off, the screen, or none.
Verdict console(const Value& value, Options& into) {
    std::string_view list = value.text;
    bool understood = !list.empty();
    while (!list.empty()) {
        const std::string_view item = cut(list, ',');
        understood &=
            item == "none" || item.starts_with("com1") || item.starts_with("com2") || item == "vga";
    }
    if (!understood) return Verdict::kBadValue;
    copy_text(value.text, into.console);
    return Verdict::kDone;
}

/// Modes are the boot loader's business here, since only it can ask the firmware.
Verdict vga(const Value& value, Options& into) {
    std::string_view list = value.text;
    bool understood = !list.empty();
    bool mode = false;
    while (!list.empty()) {
        const std::string_view item = cut(list, ',');
        const bool is_mode = item == "ask" || item.starts_with("text-") ||
                             item.starts_with("gfx-") || item.starts_with("mode-");
        mode |= is_mode;
        if (item == "keep")
            into.vga_keep = true;
        else
            understood &= is_mode || item == "current";
    }
    if (!understood) return Verdict::kBadValue;
    return mode ? Verdict::kInPart : Verdict::kDone;
}

Verdict xpti(const Value& value, Options& into) {
    if (!value.given) {
        into.xpti_dom0 = into.xpti_domu = !value.negated;
        return Verdict::kDone;
    }
    std::string_view list = value.text;
    while (!list.empty()) {
        std::string_view item = cut(list, ',');
        if (item == "default") {
            into.xpti_dom0 = into.xpti_domu = -1;
            continue;
        }
        if (const auto both = parse_boolean(item)) {
            into.xpti_dom0 = into.xpti_domu = *both;
            continue;
        }
        const bool negated = item.starts_with("no-");
        if (negated) item.remove_prefix(3);
        const std::string_view name = cut(item, '=');
        const auto on = item.empty() ? std::optional(!negated) : parse_boolean(item);
        if (!on || (name != "dom0" && name != "domu")) return Verdict::kBadValue;
        (name == "dom0" ? into.xpti_dom0 : into.xpti_domu) = *on;
    }
    return Verdict::kDone;
}

/// SMAP and SMEP; `hvm`: not while a PV guest runs, which are the only ones there are.
Verdict supervisor_protection(const Value& value, bool& into) {
    if (value.text == "hvm") {
        into = false;
        return Verdict::kDone;
    }
    return set_boolean(value, into);
}

Verdict conring_size(const Value& value, Options& into) {
    constexpr uint64_t kLargest = 64 * kMiB;
    const auto bytes = parse_size(value.text);
    if (!bytes || *bytes == 0 || *bytes > kLargest) return Verdict::kBadValue;
    into.conring_bytes = *bytes;
    return Verdict::kDone;
}

Verdict low_memory_limit(const Value& value, Options& into) {
    const auto bytes = parse_size(value.text);
    if (!bytes) return Verdict::kBadValue;
    into.low_memory_bytes = *bytes;
    return Verdict::kDone;
}

Verdict slice(const Value& value, Options& into) {
    const auto ms = parse_number(value.text);
    if (!ms || *ms == 0 || *ms > 1000) return Verdict::kBadValue;
    into.sched_slice_ms = *ms;
    return Verdict::kDone;
}

/// `noacpi`: without the SRAT there are no nodes, so it is the same as off. `fake=` is not there.
Verdict numa(const Value& value, Options& into) {
    if (value.text.starts_with("fake=")) return Verdict::kNoEffect;
    if (value.text == "noacpi") {
        into.numa = false;
        return Verdict::kDone;
    }
    return set_boolean(value, into.numa);
}

/// Of the mitigations only this one can be asked for, and it is always so.
Verdict spec_ctrl(const Value& value, Options&) {
    return value.text == "eager-fpu" ? Verdict::kDone : Verdict::kNoEffect;
}

Verdict dom0_kind(const Value& value, Options&) {
    return value.text == "pv" ? Verdict::kDone : Verdict::kNoEffect;
}

/// Of the switches only that of the run-time services; `attr=uc` is how memory is mapped anyway.
Verdict efi(const Value& value, Options& into) {
    std::string_view list = value.text;
    bool understood = !list.empty();
    while (!list.empty()) {
        const std::string_view item = cut(list, ',');
        if (item == "rs" || item == "no-rs")
            into.efi_runtime = item == "rs";
        else if (item != "attr=uc" && item != "attr=no")
            understood = false;
    }
    return done_if(understood);
}

struct Known {
    std::string_view name;
    Verdict (*parse)(const Value& value, Options& into);
};

constexpr Known kKnown[] = {
    {"dom0_mem", dom0_mem},
    {"dom0_max_vcpus",
     [](const Value& v, Options& o) {
         return done_if(parse_vcpus(v.text, o.dom0_max_vcpus_min, o.dom0_max_vcpus_max));
     }},
    {"dom0_vcpus_pin", [](const Value& v, Options& o) { return set_boolean(v, o.dom0_vcpus_pin); }},
    {"dom0", dom0_kind},
    {"console", console},
    {"vga", vga},
    {"com1", [](const Value& v, Options& o) { return done_if(parse_serial(v.text, o.com1)); }},
    {"com2", [](const Value& v, Options& o) { return done_if(parse_serial(v.text, o.com2)); }},
    {"loglvl", [](const Value& v,
                  Options& o) { return done_if(parse_levels(v.text, o.log_level, o.log_rate)); }},
    {"guest_loglvl",
     [](const Value& v, Options& o) {
         return done_if(parse_levels(v.text, o.guest_log_level, o.guest_log_rate));
     }},
    {"conring_size", conring_size},
    {"low_mem_virq_limit", low_memory_limit},
    {"sched",
     [](const Value& v, Options& o) {
         copy_text(v.text, o.sched);  // the scheduler names those that it does not have
         return done_if(!v.text.empty());
     }},
    {"sched_credit_tslice_ms", slice},
    {"noreboot", [](const Value& v, Options& o) { return set_boolean(v, o.noreboot); }},
    {"xpti", xpti},
    {"smap", [](const Value& v, Options& o) { return supervisor_protection(v, o.smap); }},
    {"smep", [](const Value& v, Options& o) { return supervisor_protection(v, o.smep); }},
    {"x2apic", [](const Value& v, Options& o) { return set_boolean(v, o.x2apic); }},
    {"nosmp", [](const Value& v, Options& o) { return set_boolean(v, o.nosmp); }},
    {"numa", numa},
    {"maxcpus", [](const Value& v, Options& o) { return set_number(v, o.max_cpus); }},
    {"spec-ctrl", spec_ctrl},
    {"efi", efi},
};

const Known* find_known(std::string_view name) {
    const auto* found = std::find_if(std::begin(kKnown), std::end(kKnown),
                                     [&](const Known& known) { return known.name == name; });
    return found == std::end(kKnown) ? nullptr : found;
}

bool has_name(std::string_view name) {
    return find_known(name) || is_foreign_option(name);
}

/// Splits `word` into an option's name and its value. `no-` belongs to the value, unless the name
/// itself begins so.
std::string_view name_of(std::string_view word, Value& value) {
    value.given = word.find('=') != std::string_view::npos;
    std::string_view name = cut(word, '=');
    value.text = word;
    value.negated = name.starts_with("no-") && !has_name(name);
    return value.negated ? name.substr(3) : name;
}

void tell(Warn warn, std::string_view word, std::string_view what) {
    char line[256];
    const size_t length =
        base::format_into(line, sizeof line, "boot option `{}` {}", word.substr(0, 100), what);
    warn({line, length});
}

void parse_word(std::string_view word, Options& into, Warn warn) {
    Value value;
    const std::string_view name = name_of(word, value);
    const Known* known = find_known(name);
    const Verdict verdict = known                     ? known->parse(value, into)
                            : is_foreign_option(name) ? Verdict::kNoEffect
                                                      : Verdict::kBadValue;
    if (verdict == Verdict::kNoEffect)
        tell(warn, word, "is one of Xen's and has no effect here yet");
    else if (verdict == Verdict::kInPart)
        tell(warn, word,
             "names a mode of the screen, which stays as the boot loader left it (GRUB: "
             "gfxpayload=)");
    else if (verdict == Verdict::kBadValue)
        tell(warn, word,
             known ? "has a value that is not understood; the option is not applied"
                   : "is unknown and ignored");
}

/// Most loaders put the image's name first (GRUB 2 does not; Debian's entry says `placeholder`).
bool is_image_name(std::string_view word) {
    const size_t slash = word.find('/');
    const size_t equals = word.find('=');
    if (slash != std::string_view::npos && slash < equals) return true;
    Value value;
    return equals == std::string_view::npos && !has_name(name_of(word, value));
}

std::string_view without_leading_spaces(std::string_view text) {
    const size_t first = text.find_first_not_of(' ');
    return first == std::string_view::npos ? std::string_view{} : text.substr(first);
}

}  // namespace

const Options& options() {
    return in_force;
}

void parse_command_line(std::string_view line, Options& into, Warn warn) {
    constexpr std::string_view kForDom0 = " -- ";
    if (const size_t at = line.find(kForDom0); at != std::string_view::npos) {
        copy_text(without_leading_spaces(line.substr(at + kForDom0.size())), into.dom0_extra);
        line = line.substr(0, at);
    }
    line = without_leading_spaces(line);
    std::string_view rest = line;
    if (is_image_name(cut(rest, ' '))) line = without_leading_spaces(rest);
    copy_text(line, into.command_line);

    while (!line.empty()) {
        const std::string_view word = cut(line, ' ');
        if (!word.empty()) parse_word(word, into, warn);
    }
}

void parse_command_line(std::string_view line, Warn warn) {
    parse_command_line(line, in_force, warn);
}

}  // namespace hv::boot
