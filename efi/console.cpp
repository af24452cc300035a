#include "efi/console.hpp"

namespace efi {
namespace {

TextOutput* output;

// SystemTable::boot_time: a handle and an interface each for input, output and errors (UEFI 4.3.1).
constexpr size_t kInput = 1, kOutput = 3;

template <class T>
T* interface(const SystemTable& table, size_t which) {
    return reinterpret_cast<T*>(table.boot_time[which]);
}

}  // namespace

void open_console(const SystemTable& table) {
    output = interface<TextOutput>(table, kOutput);
}

void print(void*, std::string_view text) {
    if (!output) return;
    for (const char c : text) {
        const char16_t line_end[] = u"\r\n";
        const char16_t one[] = {static_cast<char16_t>(c), u'\0'};
        output->output_string(output, c == '\n' ? line_end : one);
    }
}

Status status_of(Errno error) {
    // UEFI, appendix D.
    switch (error) {
        case Errno::kENOENT:
            return kNotFound;
        case Errno::kENOMEM:
            return kErrorBit | 9;  // out of resources
        case Errno::kEIO:
            return kErrorBit | 7;  // device error
        case Errno::kEINVAL:
            return kErrorBit | 2;  // invalid parameter
        case Errno::kEOPNOTSUPP:
            return kErrorBit | 3;  // unsupported
        default:
            return kErrorBit | 1;  // load error
    }
}

void wait_for_reader(const SystemTable& table, unsigned seconds) {
    auto* input = interface<TextInput>(table, kInput);
    const auto* services = reinterpret_cast<const BootServices*>(table.boot_services);
    print(nullptr, "(a key, or some seconds, and the firmware goes on)\n");
    constexpr unsigned kTenths = 10;
    for (unsigned i = 0; i < seconds * kTenths; ++i) {
        TextInput::Key key;
        if (input && input->read_key_stroke(input, &key) == hv::efi::kSuccess) return;
        services->stall(1'000'000 / kTenths);
    }
}

}  // namespace efi
