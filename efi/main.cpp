// xenolith.efi: started by the firmware, loads what its configuration file names, and enters the
// hypervisor that it carries in the way of a multiboot 2 loader. docs/boot.md has the whole way.
#include <algorithm>
#include <optional>

#include "efi/boot_information.hpp"
#include "efi/console.hpp"
#include "efi/departure.hpp"
#include "efi/folder.hpp"
#include "efi/load_options.hpp"
#include "efi/placement.hpp"
#include "efi/settings.hpp"

namespace efi {
namespace {

extern "C" const uint8_t hypervisor_image[], hypervisor_image_end[];

// What the hypervisor keeps of a line (hv/x86/boot/boot_info.hpp), without the 0 behind it.
constexpr size_t kLongestLine = 1023;

struct Line {
    char text[kLongestLine + 1];
    size_t length = 0;
    operator std::string_view() const { return {text, length}; }
};

/// kEINVAL, after a line that says so, if it would be cut.
template <class... Args>
Result<> write_line(Line& to, std::string_view what, std::string_view format, const Args&... args) {
    to.length = base::format_into(to.text, sizeof to.text, format, args...);
    if (to.length == kLongestLine)
        return fail(Errno::kEINVAL, "{} is too long; the hypervisor takes {} characters", what,
                    kLongestLine - 1);
    return {};
}

/// All that is loaded; what lies in memory of the firmware goes back to it with this.
struct Cargo {
    Line boot_line, kernel_line, ramdisk_line;
    Loaded kernel, ramdisk;
    Pages image, code, information, map;
    Placement place;
};

class Boot {
  public:
    Boot(Handle self, const SystemTable& table)
        : self_(self),
          table_(table),
          services_(*reinterpret_cast<const BootServices*>(table.boot_services)) {}

    /// Returns only if something is wrong, or only help was asked for.
    Result<> run();

  private:
    Result<const LoadedImage*> loaded_image() const;
    Result<> load(const Folder& folder, const LoadOptions& options, Cargo& cargo);
    Result<> load_modules(const Folder& folder, const Settings& settings, Cargo& cargo);
    Result<> allocate_rest(Cargo& cargo);
    void set_video(std::string_view text);
    std::span<const uint8_t> root_pointer() const;
    bool get_map(const Cargo& cargo, MemoryMap& map, uint64_t& key) const;
    bool write_information(const Cargo& cargo, const MemoryMap& map) const;
    Result<> check_place(const Cargo& cargo) const;
    Result<> leave(const Cargo& cargo);
    [[noreturn]] void enter(const Cargo& cargo) const;
    [[noreturn]] void give_up() const;

    Handle self_;
    const SystemTable& table_;
    const BootServices& services_;
    GraphicsOutput* graphics_ = nullptr;
};

constexpr std::string_view kHelp =
    "xenolith.efi [OPTIONS] [SECTION] [-- BOOT LINE]\n"
    "  SECTION      of the configuration file; else what default= in [global] names\n"
    "  BOOT LINE    is added to the section's options=\n"
    "  -cfg=FILE    the configuration file; else the program's name with .cfg, or xen.cfg\n"
    "  -basevideo   keep the screen's mode, whatever video= says\n"
    "  -help, -?    this text\n";

Result<const LoadedImage*> Boot::loaded_image() const {
    void* found = nullptr;
    if (failed(services_.handle_protocol(self_, &LoadedImage::kGuid, &found)))
        return fail(Errno::kEOPNOTSUPP, "the firmware does not say what it has loaded; use GRUB");
    return static_cast<const LoadedImage*>(found);
}

Result<> Boot::load_modules(const Folder& folder, const Settings& settings, Cargo& cargo) {
    constexpr std::string_view kKernel = "kernel= in the configuration file",
                               kRamdisk = "ramdisk= in the configuration file";
    TRY(write_line(cargo.kernel_line, "kernel=", "{} {}", settings.kernel, settings.kernel_line));
    const Path kernel = TRY(folder.path_of(settings.kernel, kKernel));
    cargo.kernel = TRY(folder.read(kernel, kKernel));
    say("kernel {}, {} KiB", settings.kernel, cargo.kernel.size / 1024);
    if (settings.ramdisk.empty()) return {};
    TRY(write_line(cargo.ramdisk_line, "ramdisk=", "{}", settings.ramdisk));
    const Path ramdisk = TRY(folder.path_of(settings.ramdisk, kRamdisk));
    cargo.ramdisk = TRY(folder.read(ramdisk, kRamdisk));
    say("ramdisk {}, {} KiB", settings.ramdisk, cargo.ramdisk.size / 1024);
    return {};
}

Result<> Boot::load(const Folder& folder, const LoadOptions& options, Cargo& cargo) {
    const Settings settings = TRY(read_settings(folder, options));
    say("configuration {}", settings.name);
    TRY(write_line(cargo.boot_line, "options=", "{}{}{}", settings.boot_line,
                   options.boot_line.empty() ? "" : " ", Ascii(options.boot_line)));
    TRY(load_modules(folder, settings, cargo));
    TRY(allocate_rest(cargo));
    void* found = nullptr;
    if (!failed(services_.locate_protocol(&GraphicsOutput::kGuid, nullptr, &found)))
        graphics_ = static_cast<GraphicsOutput*>(found);
    if (!options.base_video && !settings.video.empty()) set_video(settings.video);
    return {};
}

/// What comes after the files, so that nothing but time can change the map until it is taken.
Result<> Boot::allocate_rest(Cargo& cargo) {
    const Range image{cargo.place.start, cargo.place.end()};
    cargo.image =
        TRY(Pages::allocate(services_, cargo.place.bytes.size(), image, "the hypervisor"));
    std::copy(cargo.place.bytes.begin(), cargo.place.bytes.end(), cargo.image.bytes().begin());
    cargo.code = TRY(Pages::allocate(services_, sizeof(Departure) + 4096, image, "the hypervisor",
                                     MemoryType::kLoaderCode));
    uint64_t bytes = 0, key, step = 0;
    uint32_t version;
    services_.get_memory_map(&bytes, nullptr, &key, &step, &version);
    constexpr uint64_t kMore = 32;  // what the allocations from here on may split
    if (step < sizeof(MemoryDescriptor))
        return fail(Errno::kEOPNOTSUPP, "the firmware gives no memory map; use another version");
    const uint64_t descriptors = bytes / step + kMore;
    // The map, and behind it the one in e820's terms.
    cargo.map = TRY(
        Pages::allocate(services_, descriptors * (step + sizeof(Region)), image, "its memory map"));
    cargo.information = TRY(
        Pages::allocate(services_, BootInformation::bytes_for(descriptors, step) + sizeof(Cargo),
                        image, "its memory map"));
    return {};
}

void Boot::set_video(std::string_view text) {
    const auto wanted = parse_video(text);
    if (!wanted) return say("warning: video={} is not gfx-WIDTHxHEIGHT[xBITS]", text);
    for (uint32_t i = 0; graphics_ && i < graphics_->mode->count; ++i) {
        const GraphicsOutput::Info* info = nullptr;
        uint64_t bytes = 0;
        if (failed(graphics_->query_mode(graphics_, i, &bytes, &info)) || !wanted->matches(*info))
            continue;
        if (failed(graphics_->set_mode(graphics_, i))) break;
        return;
    }
    say("warning: the screen has no mode {}", text);
}

std::span<const uint8_t> Boot::root_pointer() const {
    std::span<const uint8_t> found;
    const auto* tables = reinterpret_cast<const ConfigurationTable*>(table_.configuration_tables);
    for (uint64_t i = 0; i < table_.table_count; ++i) {
        const auto* bytes = static_cast<const uint8_t*>(tables[i].table);
        if (tables[i].guid == kAcpi2) return {bytes, 36};
        if (tables[i].guid == kAcpi1) found = {bytes, 20};
    }
    return found;
}

bool Boot::get_map(const Cargo& cargo, MemoryMap& map, uint64_t& key) const {
    const auto room = cargo.map.bytes();
    // The rest of the pages is for the regions.
    uint64_t bytes =
        room.size() * sizeof(MemoryDescriptor) / (sizeof(MemoryDescriptor) + sizeof(Region));
    if (failed(services_.get_memory_map(&bytes, room.data(), &key, &map.step, &map.version)))
        return false;
    map.bytes = room.first(bytes);
    return true;
}

std::span<Region> regions_of(const Cargo& cargo, const MemoryMap& map) {
    const auto room = cargo.map.bytes();
    const size_t begin = (map.bytes.size() + 7) / 8 * 8;
    return {reinterpret_cast<Region*>(room.data() + begin), (room.size() - begin) / sizeof(Region)};
}

bool Boot::write_information(const Cargo& cargo, const MemoryMap& map) const {
    BootInformation to(cargo.information.bytes());
    to.command_line(cargo.boot_line);
    to.loader("xenolith.efi");
    to.module(cargo.kernel.pages.address(), static_cast<uint32_t>(cargo.kernel.size),
              cargo.kernel_line);
    if (cargo.ramdisk.size)
        to.module(cargo.ramdisk.pages.address(), static_cast<uint32_t>(cargo.ramdisk.size),
                  cargo.ramdisk_line);
    const auto regions = regions_of(cargo, map);
    to.memory(regions.first(make_e820(map, regions)));
    to.firmware_memory(map);
    to.system_table(reinterpret_cast<uint64_t>(&table_));
    if (const auto pointer = root_pointer(); !pointer.empty()) to.root_pointer(pointer);
    if (const auto screen = graphics_ ? describe(*graphics_->mode) : std::nullopt)
        to.screen(*screen);
    return to.finish();
}

Result<> Boot::check_place(const Cargo& cargo) const {
    MemoryMap map;
    uint64_t key;
    if (!get_map(cargo, map, key) || !write_information(cargo, map))
        return fail(Errno::kENOMEM, "the firmware's memory map does not fit; start it again");
    const auto regions = regions_of(cargo, map);
    const size_t count = make_e820(map, regions);
    if (!is_free_later(regions.first(count), cargo.place.start, cargo.place.end()))
        return fail(Errno::kENOMEM,
                    "the firmware keeps memory between {:x} and {:x} for itself, where the "
                    "hypervisor has to lie; another version of the firmware may not",
                    cargo.place.start, cargo.place.end());
    return {};
}

/// After the first attempt to leave, nothing may be printed or allocated (UEFI 7.4.6); the key is
/// out of date if an interrupt has changed the map since.
Result<> Boot::leave(const Cargo& cargo) {
    TRY(check_place(cargo));
    say("entering the hypervisor");
    constexpr unsigned kAttempts = 4;
    for (unsigned i = 0; i < kAttempts; ++i) {
        MemoryMap map;
        uint64_t key;
        if (!get_map(cargo, map, key) || !write_information(cargo, map)) break;
        if (!failed(services_.exit_boot_services(self_, key))) enter(cargo);
    }
    give_up();
}

void Boot::enter(const Cargo& cargo) const {
    const size_t code_bytes = static_cast<size_t>(departure_code_end - departure_code);
    const auto pages = cargo.code.bytes();
    const Departure departure{
        .staged = cargo.image.address(),
        .destination = cargo.place.start,
        .bytes = static_cast<uint32_t>(cargo.place.bytes.size()),
        .zeros = static_cast<uint32_t>(cargo.place.memory_size - cargo.place.bytes.size()),
        .entry = cargo.place.entry,
        .information = cargo.information.address()};
    __builtin_memcpy(pages.data(), &departure, sizeof departure);
    __builtin_memcpy(pages.data() + sizeof departure, departure_code, code_bytes);
    const auto code = reinterpret_cast<void (*)(const void*)>(pages.data() + sizeof departure);
    code(pages.data());
    __builtin_unreachable();
}

/// Half of the firmware is gone: neither can it go on, nor can anything be said.
void Boot::give_up() const {
    using Reset = Call<uint32_t, Status, uint64_t, const void*>;
    const auto* runtime =
        reinterpret_cast<const hv::efi::RuntimeServices*>(table_.runtime_services);
    reinterpret_cast<Reset>(runtime->reset_system)(0, status_of(Errno::kEIO), 0, nullptr);
    while (true) asm volatile("hlt");
}

Result<> Boot::run() {
    const LoadedImage& image = *TRY(loaded_image());
    const LoadOptions options(
        {static_cast<const uint8_t*>(image.load_options), image.load_options_size});
    if (options.help) {
        print(nullptr, kHelp);
        return {};
    }
    if (options.too_long)
        return fail(Errno::kEINVAL, "its load options are longer than 2048 characters");
    if (!options.unknown.empty())
        say("warning: there is no option {}; -help lists them", Ascii(options.unknown));
    const auto place = find_placement(
        {hypervisor_image, static_cast<size_t>(hypervisor_image_end - hypervisor_image)});
    if (!place) return fail(Errno::kENOEXEC, "it is damaged; copy it again");

    services_.set_watchdog_timer(0, 0, 0, nullptr);  // large files from slow media take their time
    Cargo cargo;
    cargo.place = *place;
    const Folder folder = TRY(Folder::open(services_, image, {place->start, place->end()}));
    TRY(load(folder, options, cargo));
    return leave(cargo);
}

}  // namespace

extern "C" __attribute__((ms_abi)) Status efi_main(Handle self, const SystemTable* table) {
    open_console(*table);
    const Result<> result = Boot(self, *table).run();
    if (result) return hv::efi::kSuccess;
    constexpr unsigned kSecondsToRead = 10;
    wait_for_reader(*table, kSecondsToRead);
    return status_of(result.error());
}

}  // namespace efi
