#include "efi/settings.hpp"

#include <algorithm>
#include <iterator>

namespace efi {
namespace {

constexpr std::string_view kKernelSetting = "kernel= in the configuration file";

/// The name of a section, which outlives the file that it came from.
struct SectionName {
    char text[128];
    size_t length = 0;
    std::string_view view() const { return {text, length}; }
};

template <class View>
Result<> copy_name(View from, SectionName& to) {
    if (from.size() > sizeof to.text ||
        std::any_of(from.begin(), from.end(), [](auto c) { return c >= 0x7f || c <= ' '; }))
        return fail(Errno::kEINVAL, "the section's name is too long, or not ASCII; rename it");
    std::transform(from.begin(), from.end(), to.text, [](auto c) { return static_cast<char>(c); });
    to.length = from.size();
    return {};
}

/// The file that goes by the program's name, or xen.cfg.
Result<Path> find_config(const Folder& folder) {
    Path path = folder.program();
    while (path.next_config())
        if (folder.has(path)) return path;
    Path usual = folder.program();
    usual.keep_folder();
    if (usual.append(std::string_view("xen.cfg")) && folder.has(usual)) return usual;
    path = folder.program();
    path.next_config();
    return fail(Errno::kENOENT,
                "there is no configuration file; put one at {}, or name one by "
                "-cfg=FILE",
                Ascii(path.text()));
}

Result<Path> config_path(const Folder& folder, const LoadOptions& options) {
    if (options.config.empty()) return find_config(folder);
    return folder.path_of(Ascii(options.config), "-cfg=");
}

Result<Config> load(const Folder& folder, const Path& path, std::string_view whose, Settings& to) {
    to.file = TRY(folder.read(path, whose));
    const Ascii name(path.text());
    base::format_into(to.name, sizeof to.name, "{}", name);
    const Config config(to.file.text());
    if (config.is_wide())
        return fail(Errno::kEINVAL, "{} is text in 16-bit characters; save it as ASCII", name);
    constexpr unsigned kMostWarnings = 8;
    size_t line = 0;
    for (unsigned i = 0; i < kMostWarnings; ++i) {
        const Config::Line unknown = config.next_unknown(line);
        if (!(line = unknown.number)) break;
        say("warning: {}, line {} is not understood: {}", name, line, unknown.text.substr(0, 60));
    }
    return config;
}

Fail no_kernel(const Config& config, const Settings& settings, std::string_view section) {
    if (section.empty())
        return fail(Errno::kEINVAL, "{} names no kernel for Domain 0; add a line kernel=FILE",
                    settings.name);
    if (config.has_section(section))
        return fail(Errno::kEINVAL, "section [{}] of {} has no kernel=; add a line kernel=FILE",
                    section, settings.name);
    return fail(Errno::kENOENT,
                "{} has no section [{}]; correct default= in [global], or the "
                "section named behind xenolith.efi",
                settings.name, section);
}

/// The first configuration, from `config` along `chain=`, whose section has a kernel.
Result<Config> follow_chain(const Folder& folder, Config config, std::string_view section,
                            Settings& to) {
    constexpr unsigned kLongest = 8;
    for (unsigned i = 0; i < kLongest; ++i) {
        if (config.find(section, "kernel")) return config;
        const auto chain = config.find("global", "chain");
        if (!chain) return no_kernel(config, to, section);
        const Path path = TRY(folder.path_of(*chain, "chain= in the configuration file"));
        config = TRY(load(folder, path, "chain= in the configuration file", to));
    }
    return fail(Errno::kEINVAL, "chain= leads on for more than {} files; does it lead back?",
                kLongest);
}

Result<> refuse_unsupported(const Config& config, std::string_view section) {
    if (config.find(section, "xsm"))
        return fail(Errno::kEOPNOTSUPP,
                    "xsm= names a security policy, which this hypervisor "
                    "cannot enforce; take the line out");
    if (config.find(section, "ucode") || config.find("global", "ucode"))
        say("warning: ucode= has no effect: microcode is not loaded");
    return {};
}

}  // namespace

Result<Settings> read_settings(const Folder& folder, const LoadOptions& options) {
    Settings to;
    Config config = TRY(load(folder, TRY(config_path(folder, options)), "-cfg=", to));
    SectionName section;
    if (!options.section.empty())
        TRY(copy_name(options.section, section));
    else
        TRY(copy_name(config.find("global", "default").value_or(""), section));
    config = TRY(follow_chain(folder, config, section.view(), to));
    TRY(refuse_unsupported(config, section.view()));

    const auto value = [&](std::string_view key) {
        return config.find(section.view(), key).value_or("");
    };
    to.kernel_line = value("kernel");
    to.kernel = cut_word(to.kernel_line);
    to.ramdisk = value("ramdisk");
    to.boot_line = value("options");
    to.video = value("video");
    if (to.video.empty()) to.video = config.find("global", "video").value_or("");
    if (to.kernel.empty())
        return fail(Errno::kEINVAL, "{} names no file in {}", kKernelSetting, to.name);
    return to;
}

}  // namespace efi
