// A machine started by UEFI: what is believed of the firmware's tables, and Domain 0's calls of the
// run-time services, against a firmware of our own that notes what it is handed.
#include "hv/x86/efi/efi.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "arch/guest_memory.hpp"
#include "arch/memory.hpp"
#include "boot_fakes.hpp"
#include "hv/x86/acpi/platform.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/efi/runtime.hpp"

namespace hv {
namespace {

constexpr uint64_t kFirmware = 0x7f000000;  // machine address of the memory that it keeps
constexpr uint64_t kFirmwarePages = 4;
constexpr uint64_t kFault = 0xdead000;  // a guest's address that is not mapped

uint8_t firmware_memory[kFirmwarePages * kPageSize];
std::map<std::u16string, std::vector<uint8_t>> variables;
unsigned calls;

#define SERVICE __attribute__((ms_abi))
SERVICE efi::Status get_variable(const char16_t* name, const efi::Guid*, uint32_t* attributes,
                                 uint64_t* size, void* data) {
    ++calls;
    const auto found = variables.find(name);
    if (found == variables.end()) return uint64_t{1} << 63 | 14;
    const auto& value = found->second;
    const bool fits = data && *size >= value.size();
    *size = value.size();
    *attributes = 7;
    if (!fits) return efi::kBufferTooSmall;
    memcpy(data, value.data(), value.size());
    return efi::kSuccess;
}
SERVICE efi::Status set_variable(const char16_t* name, const efi::Guid*, uint32_t, uint64_t size,
                                 const void* data) {
    ++calls;
    const auto* bytes = static_cast<const uint8_t*>(data);
    variables[name] = {bytes, bytes + size};
    return efi::kSuccess;
}
SERVICE efi::Status next_name(uint64_t* size, char16_t* name, efi::Guid* guid) {
    ++calls;
    name[0] = u'N', name[1] = 0;
    *size = 4;
    guid->a = 42;
    return efi::kSuccess;
}
SERVICE efi::Status get_time(efi::Time* time, efi::TimeCapabilities* able) {
    ++calls;
    *time = {.year = 2026, .month = 11, .day = 21, .time_zone = -60};
    *able = {1, 2, true};
    return efi::kSuccess;
}
SERVICE efi::Status liar(const char16_t*, const efi::Guid*, uint32_t*, uint64_t* size, void*) {
    *size = 1 << 20;  // more than there was room for
    return efi::kSuccess;
}

efi::RuntimeServices services;

}  // namespace

// What stands for the rooms around this one.
namespace arch {
void* map_device(uint64_t machine, size_t bytes, Caching) {
    EXPECT_LE(machine - kFirmware + bytes, sizeof firmware_memory);
    return firmware_memory + (machine - kFirmware);
}
Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    if (bytes && linear / kPageSize == kFault / kPageSize) return Errno::kEFAULT;
    memcpy(to, reinterpret_cast<const void*>(linear), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    if (bytes && linear / kPageSize == kFault / kPageSize) return Errno::kEFAULT;
    memcpy(reinterpret_cast<void*>(linear), from, bytes);
    return {};
}
}  // namespace arch
namespace efi {
Result<uint32_t> open_runtime(uint64_t, std::span<const MemoryDescriptor>) {
    return uint32_t{2 << 16 | 70};
}
Status detail::call_runtime(Status (*call)(const RuntimeServices&, void*), void* argument) {
    return call(services, argument);
}
}  // namespace efi

namespace {

class Efi : public testing::Test {
  protected:
    // The firmware is found once, as on a machine.
    static void SetUpTestSuite() {
        services.get_variable = get_variable;
        services.set_variable = set_variable;
        services.get_next_variable_name = next_name;
        services.get_time = get_time;
        const efi::SystemTable table{
            .header = {.signature = efi::kSystemTableSignature, .revision = 2 << 16 | 70},
            .firmware_vendor = kFirmware + kPageSize,
            .firmware_revision = 9,
            .runtime_services = kFirmware + 2 * kPageSize,
            .table_count = 3,
            .configuration_tables = kFirmware + 3 * kPageSize};
        memcpy(firmware_memory, &table, sizeof table);
        memcpy(firmware_memory + kPageSize, u"Maker", 12);
        const efi::MemoryDescriptor map[] = {
            {7, 0, 0, 0, 256, 0xf},
            {6, 0, kFirmware, 0, kFirmwarePages, efi::kRuntimeAttribute | 0xf}};
        efi::note_memory_map({reinterpret_cast<const uint8_t*>(map), sizeof map}, sizeof map[0]);
        efi::note_system_table(kFirmware);
        efi::init(true);
    }
    void SetUp() override {
        variables.clear();
        calls = 0;
        fake::heap_empty = false;
        op = {};
        op.cmd = XENPF_efi_runtime_call;
    }
    void TearDown() override { EXPECT_EQ(fake::heap_objects, 0u) << "a buffer is left"; }

    long call(uint32_t function) {
        op.u.efi_runtime_call.function = function;
        return acpi::platform::efi_runtime_call(
                   acpi::platform::Request(reinterpret_cast<uint64_t>(&op)), op)
            .value;
    }
    void name_is(const char16_t* name) {
        op.u.efi_runtime_call.u.get_variable.name.p = const_cast<char16_t*>(name);
    }
    void buffer_is(void* data, uint64_t size) {
        op.u.efi_runtime_call.u.get_variable.data.p = data;
        op.u.efi_runtime_call.u.get_variable.size = size;
    }

    xen_platform_op op{};
    xenpf_efi_runtime_call& runtime = op.u.efi_runtime_call;
};

long error(Errno e) {
    return -static_cast<long>(e);
}

TEST_F(Efi, TheTablesAreFound) {
    ASSERT_TRUE(efi::system_table());
    EXPECT_EQ(std::u16string(efi::vendor().begin(), efi::vendor().end()), u"Maker");
    EXPECT_EQ(efi::find_memory(kFirmware + kFirmwarePages * kPageSize), nullptr);
    EXPECT_EQ(efi::find_memory(kFirmware + 1)->type, 6u);

    acpi::platform::EfiInfo info{};
    EXPECT_TRUE(acpi::platform::efi_info(XEN_FW_EFI_CONFIG_TABLE, info).ok());
    EXPECT_EQ(info.cfg.addr, kFirmware + 3 * kPageSize);
    EXPECT_EQ(info.cfg.nent, 3u);
    info.mem = {.addr = kFirmware + kPageSize, .size = 1 << 30, .attr = 0, .type = 0};
    EXPECT_TRUE(acpi::platform::efi_info(XEN_FW_EFI_MEM_INFO, info).ok());
    EXPECT_EQ(info.mem.size, 3 * kPageSize) << "what is left of the descriptor";
    info.mem.addr = 0x123456789000;
    EXPECT_EQ(acpi::platform::efi_info(XEN_FW_EFI_MEM_INFO, info).error(), Errno::kESRCH);
    EXPECT_EQ(acpi::platform::efi_info(99, info).error(), Errno::kEINVAL);
}

TEST_F(Efi, VendorIsCutToTheGuestsRoom) {
    char16_t name[8];
    std::fill(std::begin(name), std::end(name), u'x');
    acpi::platform::EfiInfo info{};
    info.vendor.name.p = name;
    info.vendor.bufsz = 3 * sizeof(char16_t);
    EXPECT_TRUE(acpi::platform::efi_info(XEN_FW_EFI_VENDOR, info).ok());
    EXPECT_EQ(std::u16string(name, 4), u"Makx");
    info.vendor.name.p = reinterpret_cast<void*>(kFault);
    EXPECT_EQ(acpi::platform::efi_info(XEN_FW_EFI_VENDOR, info).error(), Errno::kEFAULT);
}

TEST_F(Efi, VariablesGoThroughOurBuffers) {
    char value[] = "value", back[16] = {};
    name_is(u"Name");
    buffer_is(value, 5);
    EXPECT_EQ(call(XEN_EFI_set_variable), 0);
    EXPECT_EQ(variables[u"Name"].size(), 5u);
    buffer_is(back, 2);
    EXPECT_EQ(call(XEN_EFI_get_variable), 0);
    EXPECT_EQ(runtime.status, efi::kBufferTooSmall);
    EXPECT_EQ(runtime.u.get_variable.size, 5u);
    EXPECT_EQ(back[0], 0);
    runtime.misc = 0;
    buffer_is(back, sizeof back);
    EXPECT_EQ(call(XEN_EFI_get_variable), 0);
    EXPECT_EQ(runtime.status, efi::kSuccess);
    EXPECT_STREQ(back, "value");
    EXPECT_EQ(runtime.misc, 7u) << "its attributes";
}

TEST_F(Efi, WhatAGuestHandsOverIsChecked) {
    static char16_t endless[4096];
    std::fill(std::begin(endless), std::end(endless), u'x');
    char data[8];
    buffer_is(data, sizeof data);
    name_is(endless);
    EXPECT_EQ(call(XEN_EFI_get_variable), error(Errno::kEINVAL));
    name_is(reinterpret_cast<const char16_t*>(kFault));
    EXPECT_EQ(call(XEN_EFI_get_variable), error(Errno::kEFAULT));
    name_is(u"Name");
    buffer_is(data, uint64_t{1} << 40);
    EXPECT_EQ(call(XEN_EFI_get_variable), error(Errno::kENOMEM));
    EXPECT_EQ(call(XEN_EFI_set_variable), error(Errno::kENOMEM));
    buffer_is(reinterpret_cast<void*>(kFault), 8);
    EXPECT_EQ(call(XEN_EFI_set_variable), error(Errno::kEFAULT));
    runtime.misc = 1;
    for (uint32_t f :
         {XEN_EFI_get_time, XEN_EFI_set_time, XEN_EFI_get_wakeup_time, XEN_EFI_get_variable,
          XEN_EFI_get_next_variable_name, XEN_EFI_get_next_high_monotonic_count})
        EXPECT_EQ(call(f), error(Errno::kEINVAL)) << f;
    runtime.misc = 8;
    EXPECT_EQ(call(XEN_EFI_set_wakeup_time), error(Errno::kEINVAL));
    EXPECT_EQ(call(XEN_EFI_query_variable_info), error(Errno::kEINVAL));
    EXPECT_EQ(call(99), error(Errno::kENOSYS));
    EXPECT_EQ(call(XEN_EFI_update_capsule), error(Errno::kEOPNOTSUPP));
    fake::heap_empty = true;
    runtime.misc = 0;
    buffer_is(data, sizeof data);
    EXPECT_EQ(call(XEN_EFI_get_variable), error(Errno::kENOMEM));
    EXPECT_EQ(calls, 0u) << "the firmware was called all the same";
}

TEST_F(Efi, AVariablesValueThatCannotBeStoredIsAFault) {
    variables[u"Name"] = {1, 2, 3};
    name_is(u"Name");
    buffer_is(reinterpret_cast<void*>(kFault), 8);
    EXPECT_EQ(call(XEN_EFI_get_variable), error(Errno::kEFAULT));
}

TEST_F(Efi, FirmwareThatLiesAboutSizesIsNotBelieved) {
    services.get_variable = liar;
    char data[8];
    name_is(u"Name");
    buffer_is(data, sizeof data);
    EXPECT_EQ(call(XEN_EFI_get_variable), 0);  // the sanitizer sees a byte too many
    services.get_variable = get_variable;
}

TEST_F(Efi, NamesAndTimesComeBack) {
    char16_t name[8] = u"";
    runtime.u.get_next_variable_name.name.p = name;
    runtime.u.get_next_variable_name.size = sizeof name;
    EXPECT_EQ(call(XEN_EFI_get_next_variable_name), 0);
    EXPECT_EQ(std::u16string(name), u"N");
    EXPECT_EQ(runtime.u.get_next_variable_name.vendor_guid.data1, 42u);
    EXPECT_EQ(runtime.u.get_next_variable_name.size, 4u);
    EXPECT_EQ(call(XEN_EFI_get_time), 0);
    EXPECT_EQ(runtime.u.get_time.time.year, 2026);
    EXPECT_EQ(runtime.u.get_time.time.tz, -60);
    EXPECT_EQ(runtime.misc, unsigned{XEN_EFI_GET_TIME_SET_CLEARS_NS});
}

TEST(EfiOption, ForbidsTheRuntimeServices) {
    boot::Options options;
    boot::parse_command_line("efi=no-rs", options, [](std::string_view line) { FAIL() << line; });
    EXPECT_FALSE(options.efi_runtime);
    unsigned warnings = 0;
    static unsigned* counter;
    counter = &warnings;
    boot::parse_command_line("efi=nonsense", options, [](std::string_view) { ++*counter; });
    EXPECT_EQ(warnings, 1u);
}

}  // namespace
}  // namespace hv
