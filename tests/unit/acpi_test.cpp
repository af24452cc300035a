// ACPI tables made by hand, read by the parsers of hv/x86/acpi/tables.hpp.
#include "hv/x86/acpi/tables.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "boot_fakes.hpp"
#include "hv/x86/acpi/nodes.hpp"

namespace hv::acpi {

// What start-up would have read; these tests hand over their own.
const Info& info() {
    static const Info none;
    return none;
}

namespace {

using Table = std::vector<uint8_t>;

template <class T>
void put(Table& table, size_t offset, T value) {
    if (table.size() < offset + sizeof value) table.resize(offset + sizeof value);
    memcpy(table.data() + offset, &value, sizeof value);
}

void fix_checksum(Table& table, size_t at = 9, size_t bytes = 0) {
    uint8_t sum = 0;
    table[at] = 0;
    for (size_t i = 0; i < (bytes ? bytes : table.size()); ++i) sum += table[i];
    table[at] = static_cast<uint8_t>(-sum);
}

Table make_table(const char* signature, size_t bytes) {
    Table table(bytes);
    memcpy(table.data(), signature, 4);
    return table;
}

Table finish(Table table) {
    put<uint32_t>(table, 4, static_cast<uint32_t>(table.size()));
    fix_checksum(table);
    return table;
}

void append(Table& table, std::initializer_list<uint8_t> bytes) {
    table.insert(table.end(), bytes);
}

Table make_rsdp(uint8_t revision, uint32_t rsdt, uint64_t xsdt) {
    Table rsdp(36);
    memcpy(rsdp.data(), "RSD PTR ", 8);
    rsdp[15] = revision;
    put(rsdp, 16, rsdt);
    put<uint32_t>(rsdp, 20, 36);
    put(rsdp, 24, xsdt);
    fix_checksum(rsdp, 8, 20);
    fix_checksum(rsdp, 32, 36);
    return rsdp;
}

TEST(RootPointer, PrefersTheExtendedTable) {
    const auto found = parse_root_pointer(make_rsdp(2, 0x1000, 0x123456789000));
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->extended);
    EXPECT_EQ(found->table, 0x123456789000u);
}

TEST(RootPointer, FirstRevisionHasOnlyTheOldTable) {
    const auto found = parse_root_pointer(make_rsdp(0, 0x7ffe0000, 0x5000));
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->extended);
    EXPECT_EQ(found->table, 0x7ffe0000u);
}

TEST(RootPointer, DamagedExtensionFallsBackToTheOldTable) {
    Table rsdp = make_rsdp(2, 0x7ffe0000, 0x5000);
    rsdp[33] ^= 1;  // outside the first 20 bytes
    const auto found = parse_root_pointer(rsdp);
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->extended);
}

TEST(RootPointer, WrongChecksumOrTooShortIsRefused) {
    Table rsdp = make_rsdp(2, 0x1000, 0x2000);
    rsdp[10] ^= 0x40;
    EXPECT_FALSE(parse_root_pointer(rsdp));
    EXPECT_FALSE(parse_root_pointer(Bytes(make_rsdp(2, 0x1000, 0x2000)).first(19)));
}

TEST(RootPointer, IsFoundOnSixteenByteBoundariesOnly) {
    Table area(4096);
    const Table rsdp = make_rsdp(2, 0x1000, 0x2000);
    memcpy(area.data() + 0x308, rsdp.data(), rsdp.size());
    EXPECT_EQ(scan_for_root_pointer(area).error(), Errno::kENOENT);
    memcpy(area.data() + 0x7f0, rsdp.data(), rsdp.size());
    EXPECT_TRUE(scan_for_root_pointer(area));
    EXPECT_FALSE(scan_for_root_pointer({}));
}

TEST(Header, RefusesImpossibleLengths) {
    Table table = finish(make_table("APIC", 44));
    ASSERT_TRUE(parse_header(table));
    EXPECT_EQ(parse_header(table)->signature, "APIC");
    put<uint32_t>(table, 4, 35);
    EXPECT_FALSE(parse_header(table));
    put<uint32_t>(table, 4, 0xffffffff);
    EXPECT_FALSE(parse_header(table));
    EXPECT_FALSE(parse_header(Bytes(table).first(35)));
}

TEST(RootTable, ListsAddressesOfBothWidths) {
    Table rsdt = make_table("RSDT", 36);
    put<uint32_t>(rsdt, 36, 0x1000);
    put<uint32_t>(rsdt, 40, 0x2000);
    EXPECT_EQ(*root_table_entry(rsdt, false, 1), 0x2000u);
    EXPECT_FALSE(root_table_entry(rsdt, false, 2));
    Table xsdt = make_table("XSDT", 36);
    put<uint64_t>(xsdt, 36, 0x123400001000);
    EXPECT_EQ(*root_table_entry(xsdt, true, 0), 0x123400001000u);
    xsdt.pop_back();
    EXPECT_FALSE(root_table_entry(xsdt, true, 0));
}

Table make_madt() {
    Table madt = make_table("APIC", 44);
    put<uint32_t>(madt, 36, 0xfee00000);
    put<uint32_t>(madt, 40, 1);
    return madt;
}

TEST(Madt, ReadsEveryKindOfEntry) {
    Table madt = make_madt();
    append(madt, {0, 8, 7, 0, 1, 0, 0, 0});                           // CPU 7, APIC 0, enabled
    append(madt, {0, 8, 8, 1, 0, 0, 0, 0});                           // APIC 1, to be plugged
    append(madt, {9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0});  // x2APIC 0x100
    append(madt, {1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0});
    append(madt, {2, 10, 0, 0, 2, 0, 0, 0, 0, 0});    // ISA 0 at GSI 2, as the bus has it
    append(madt, {2, 10, 0, 9, 20, 0, 0, 0, 15, 0});  // ISA 9 at GSI 20, level, low
    append(madt, {4, 6, 0xff, 0, 0, 1});              // NMI at LINT1 of all
    append(madt, {0x55, 4, 1, 2});                    // a kind of the future
    madt = finish(madt);

    Info info;
    ASSERT_TRUE(parse_table(madt, info));
    EXPECT_TRUE(info.has_legacy_pics);
    ASSERT_EQ(info.cpus.size(), 3u);
    EXPECT_TRUE(info.cpus[0].enabled);
    EXPECT_EQ(info.cpus[0].acpi_id, 7u);
    EXPECT_FALSE(info.cpus[1].enabled);
    EXPECT_EQ(info.cpus[2].apic_id, 0x100u);
    EXPECT_EQ(info.cpus[2].acpi_id, 9u);
    ASSERT_EQ(info.ioapics.size(), 1u);
    EXPECT_EQ(info.ioapics[0].address, 0xfec00000u);
    ASSERT_EQ(info.overrides.size(), 2u);
    EXPECT_EQ(info.overrides[0].trigger, Trigger::kBusDefault);
    EXPECT_EQ(info.overrides[1].gsi, 20u);
    EXPECT_EQ(info.overrides[1].trigger, Trigger::kLevel);
    EXPECT_EQ(info.overrides[1].polarity, Polarity::kLow);
    ASSERT_EQ(info.local_nmis.size(), 1u);
    EXPECT_EQ(info.local_nmis[0].acpi_id, LocalNmi::kAllCpus);
    EXPECT_EQ(info.local_nmis[0].lint, 1);
}

TEST(Madt, CountsACpuThatIsListedTwiceOnce) {
    Table madt = make_madt();
    append(madt, {0, 8, 0, 3, 1, 0, 0, 0});
    append(madt, {9, 16, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0});
    Info info;
    ASSERT_TRUE(parse_madt(finish(madt), info));
    EXPECT_EQ(info.cpus.size(), 1u);
}

TEST(Madt, AddressOverrideReplacesTheLocalApic) {
    Table madt = make_madt();
    append(madt, {5, 12, 0, 0, 0, 0, 0, 0x12, 1, 0, 0, 0});
    Info info;
    ASSERT_TRUE(parse_madt(finish(madt), info));
    EXPECT_EQ(info.lapic_address, 0x112000000u);
}

TEST(Madt, EntriesThatDoNotFitAreRefused) {
    for (std::initializer_list<uint8_t> bad :
         {std::initializer_list<uint8_t>{0, 0}, {0, 1}, {0, 4, 1, 1}, {1, 12, 0, 0}}) {
        Table madt = make_madt();
        append(madt, bad);
        Info info;
        EXPECT_FALSE(parse_madt(finish(madt), info));
    }
    Info info;
    EXPECT_FALSE(parse_madt(make_table("APIC", 43), info));
}

TEST(Madt, MoreCpusThanCanBeListedAreCounted) {
    Table madt = make_madt();
    for (unsigned i = 0; i < 300; ++i) {
        Table entry(16);
        entry[0] = 9;
        entry[1] = 16;
        put<uint32_t>(entry, 4, i);
        put<uint32_t>(entry, 8, 1);
        madt.insert(madt.end(), entry.begin(), entry.end());
    }
    Info info;
    ASSERT_TRUE(parse_madt(finish(madt), info));
    EXPECT_EQ(info.cpus.size(), 256u);
    EXPECT_EQ(info.cpus.dropped(), 44u);
}

Table make_fadt(size_t bytes) {
    Table fadt = make_table("FACP", bytes);
    put<uint32_t>(fadt, 40, 0x7ffe1000);
    put<uint16_t>(fadt, 46, 9);
    put<uint32_t>(fadt, 56, 0x600);
    put<uint32_t>(fadt, 64, 0x604);
    put<uint32_t>(fadt, 76, 0x608);
    fadt[88] = 4;
    fadt[91] = 4;
    return fadt;
}

TEST(Fadt, FirstRevisionHasPortsButNoResetRegister) {
    Info info;
    ASSERT_TRUE(parse_fadt(finish(make_fadt(116)), info));
    EXPECT_EQ(info.sci, 9);
    EXPECT_EQ(info.pm1a_control_port, 0x604u);
    EXPECT_EQ(info.pm1b_control_port, 0u);
    EXPECT_EQ(info.pm_timer_port, 0x608);
    EXPECT_EQ(info.pm_timer_width, 24);
    EXPECT_EQ(info.dsdt_address, 0x7ffe1000u);
    EXPECT_FALSE(info.reset_register.present());
    EXPECT_FALSE(parse_fadt(make_fadt(115), info));
}

TEST(Fadt, ExtendedFieldsWin) {
    Table fadt = make_fadt(244);
    put<uint32_t>(fadt, 112, 1 << 8 | 1 << 10);
    fadt[116] = 1;  // reset register: port cf9
    put<uint64_t>(fadt, 120, 0xcf9);
    fadt[128] = 6;
    put<uint64_t>(fadt, 140, 0x17ffe1000);
    fadt[172] = 1;  // PM1a control as port b004
    put<uint64_t>(fadt, 176, 0xb004);
    Info info;
    ASSERT_TRUE(parse_fadt(finish(fadt), info));
    EXPECT_EQ(info.pm_timer_width, 32);
    EXPECT_EQ(info.pm1a_control_port, 0xb004u);
    EXPECT_EQ(info.dsdt_address, 0x17ffe1000u);
    EXPECT_EQ(info.reset_register.space, Register::Space::kPort);
    EXPECT_EQ(info.reset_register.address, 0xcf9u);
    EXPECT_EQ(info.reset_value, 6);
}

TEST(Hpet, SaysWhereItsRegistersAre) {
    Table hpet = make_table("HPET", 56);
    put<uint64_t>(hpet, 44, 0xfed00000);
    Info info;
    ASSERT_TRUE(parse_hpet(finish(hpet), info));
    EXPECT_EQ(info.hpet_address, 0xfed00000u);
    EXPECT_FALSE(parse_hpet(make_table("HPET", 55), info));
}

TEST(Mcfg, ListsRangesAndSkipsNonsense) {
    Table mcfg = make_table("MCFG", 44);
    auto add = [&](uint64_t address, uint16_t segment, uint8_t first, uint8_t last) {
        const size_t at = mcfg.size();
        mcfg.resize(at + 16);
        put(mcfg, at, address);
        put(mcfg, at + 8, segment);
        mcfg[at + 10] = first;
        mcfg[at + 11] = last;
    };
    add(0xb0000000, 0, 0, 255);
    add(0, 1, 0, 255);
    add(0xc0000000, 2, 9, 3);
    append(mcfg, {1, 2, 3});  // half an entry
    Info info;
    ASSERT_TRUE(parse_mcfg(finish(mcfg), info));
    ASSERT_EQ(info.mcfg.size(), 1u);
    EXPECT_EQ(info.mcfg[0].end_bus, 255);
}

void add_cpu(Table& srat, uint8_t apic_id, uint32_t proximity, bool enabled = true) {
    const size_t at = srat.size();
    append(srat, {0, 16, static_cast<uint8_t>(proximity), apic_id, enabled, 0, 0, 0, 0});
    append(srat, {static_cast<uint8_t>(proximity >> 8), static_cast<uint8_t>(proximity >> 16),
                  static_cast<uint8_t>(proximity >> 24)});
    srat.resize(at + 16);
}
void add_x2apic(Table& srat, uint32_t id, uint32_t proximity) {
    const size_t at = srat.size();
    append(srat, {2, 24});
    srat.resize(at + 24);
    put(srat, at + 4, proximity);
    put(srat, at + 8, id);
    put<uint32_t>(srat, at + 12, 1);
}
void add_memory(Table& srat, uint64_t start, uint64_t bytes, uint32_t proximity, uint32_t flags) {
    const size_t at = srat.size();
    append(srat, {1, 40});
    srat.resize(at + 40);
    put(srat, at + 2, proximity);
    put(srat, at + 8, start);
    put(srat, at + 16, bytes);
    put(srat, at + 28, flags);
}
Table make_srat(uint8_t revision = 3) {
    Table srat = make_table("SRAT", 48);
    srat[8] = revision;
    return srat;
}

TEST(Srat, ListsWhatIsEnabled) {
    Table srat = make_srat();
    add_cpu(srat, 3, 0x01020304);
    add_cpu(srat, 4, 1, false);
    add_x2apic(srat, 300, 7);
    add_memory(srat, 0x100000, 0x7ff00000, 7, 1);
    add_memory(srat, 0x80000000, 0x1000, 8, 0);
    add_memory(srat, 0x90000000, 0, 8, 1);
    append(srat, {9, 4, 0, 0});  // of a kind that is not known
    Info info;
    ASSERT_TRUE(parse_table(finish(srat), info));
    ASSERT_EQ(info.cpu_affinity.size(), 2u);
    EXPECT_EQ(info.cpu_affinity[0].apic_id, 3u);
    EXPECT_EQ(info.cpu_affinity[0].proximity, 0x01020304u);
    EXPECT_EQ(info.cpu_affinity[1].apic_id, 300u);
    ASSERT_EQ(info.memory_affinity.size(), 1u);
    EXPECT_EQ(info.memory_affinity[0].bytes, 0x7ff00000u);
    EXPECT_EQ(info.memory_affinity[0].proximity, 7u);
}

TEST(Srat, OldRevisionsHaveNarrowDomains) {
    Table srat = make_srat(1);
    add_cpu(srat, 3, 0x01020304);
    add_memory(srat, 0, 0x1000, 0x01020304, 1);
    Info info;
    ASSERT_TRUE(parse_srat(finish(srat), info));
    EXPECT_EQ(info.cpu_affinity[0].proximity, 4u);
    EXPECT_EQ(info.memory_affinity[0].proximity, 4u);
}

TEST(Srat, BrokenEntriesAreRefused) {
    Table none = make_table("SRAT", 47);
    Table cut = make_srat();
    append(cut, {1, 40, 0, 0});
    Table too_short = make_srat();
    append(too_short, {1, 8, 0, 0, 0, 0, 0, 0});
    Table empty = make_srat();
    append(empty, {5, 0, 0, 0});
    for (Table* table : {&none, &cut, &too_short, &empty}) {
        Info info;
        EXPECT_FALSE(parse_srat(finish(*table), info));
    }
}

TEST(Slit, IsAMatrix) {
    Table slit = make_table("SLIT", 44);
    put<uint64_t>(slit, 36, 2);
    append(slit, {10, 21, 22, 10});
    Info info;
    ASSERT_TRUE(parse_table(finish(slit), info));
    ASSERT_EQ(info.distances.count, 2u);
    EXPECT_EQ(info.distances.from_to[0][1], 21);
    EXPECT_EQ(info.distances.from_to[1][0], 22);
    put<uint64_t>(slit, 36, 3);  // more than it holds
    Info other;
    EXPECT_FALSE(parse_slit(finish(slit), other));
    put<uint64_t>(slit, 36, ~uint64_t{0});
    EXPECT_TRUE(parse_slit(finish(slit), other));
    EXPECT_EQ(other.distances.count, 0u);
}

class NodesTest : public testing::Test {
  protected:
    void TearDown() override { (void)memory::nodes::describe(1, {}); }

    /// Two domains, 5 and 3: CPU 0 in the first; memory up to 1 GiB, and from 4 to 5 GiB.
    static Info two_nodes() {
        Info info;
        info.cpu_affinity.add({0, 5});
        info.cpu_affinity.add({1, 3});
        info.memory_affinity.add({0, kGiB, 5});
        info.memory_affinity.add({4 * kGiB, kGiB, 3});
        info.memory_affinity.add({5 * kGiB, kGiB, 5});
        return info;
    }
    static constexpr memory::MachineRange kRam[] = {{0, kGiB}, {4 * kGiB, 6 * kGiB}};
};

TEST_F(NodesTest, DomainsAreNumberedAsTheyAreMet) {
    Info info = two_nodes();
    info.distances.count = 6;
    info.distances.from_to[5][3] = 31;
    info.distances.from_to[3][5] = 32;
    info.distances.from_to[5][5] = info.distances.from_to[3][3] = 10;
    ASSERT_TRUE(find_nodes(info, kRam));
    EXPECT_EQ(memory::nodes::count(), 2u);
    EXPECT_EQ(node_of_apic(info, 0), 0);
    EXPECT_EQ(node_of_apic(info, 1), 1);
    EXPECT_EQ(node_of_apic(info, 2), 0);  // nobody says
    EXPECT_EQ(*node_of_proximity(3), 1);
    EXPECT_FALSE(node_of_proximity(0));
    EXPECT_EQ(memory::nodes::of(Mfn{5}), 0);
    EXPECT_EQ(memory::nodes::of(Mfn{4 * kGiB >> kPageShift}), 1);
    EXPECT_EQ(memory::nodes::of(Mfn{5 * kGiB >> kPageShift}), 0);
    EXPECT_EQ(memory::nodes::end_of_stretch(Mfn{5}), Mfn{kGiB >> kPageShift});
    EXPECT_EQ(memory::nodes::end_of_stretch(Mfn{kGiB >> kPageShift}), Mfn{4 * kGiB >> kPageShift});
    EXPECT_EQ(memory::nodes::distance(0, 1), 31);
    EXPECT_EQ(memory::nodes::distance(1, 0), 32);
    constexpr Mfn kEverything{memory::kMaxFrames};
    EXPECT_EQ(memory::nodes::spanned_pages(0, kEverything), 6 * kGiB >> kPageShift);
    EXPECT_EQ(memory::nodes::spanned_pages(1, kEverything), kGiB >> kPageShift);
    EXPECT_EQ(memory::nodes::spanned_pages(1, Mfn{(4 * kGiB >> kPageShift) + 5}), 5u);
}

TEST_F(NodesTest, WhatContradictsItselfIsOneNode) {
    EXPECT_EQ(find_nodes(Info{}, kRam).error(), Errno::kENOENT);
    Info overlapping = two_nodes();
    overlapping.memory_affinity.add({kGiB / 2, kGiB, 3});
    EXPECT_EQ(find_nodes(overlapping, kRam).error(), Errno::kEINVAL);
    Info wrapping = two_nodes();
    wrapping.memory_affinity.add({8 * kGiB, ~uint64_t{0}, 3});
    EXPECT_EQ(find_nodes(wrapping, kRam).error(), Errno::kEINVAL);
    constexpr memory::MachineRange kMore[] = {{0, kGiB}, {4 * kGiB, 7 * kGiB}};
    EXPECT_EQ(find_nodes(two_nodes(), kMore).error(), Errno::kEINVAL);
    Info many = two_nodes();
    for (uint32_t domain = 10; domain < 20; ++domain) many.cpu_affinity.add({domain, domain});
    EXPECT_EQ(find_nodes(many, kRam).error(), Errno::kENOSPC);
    EXPECT_EQ(memory::nodes::count(), 1u);
    EXPECT_EQ(memory::nodes::distance(0, 0), 10);
}

Table make_dsdt(std::initializer_list<uint8_t> aml) {
    Table dsdt = make_table("DSDT", 36);
    append(dsdt, {0x10, 0x20});
    append(dsdt, aml);
    return finish(dsdt);
}

TEST(SoftOff, IsFoundAsQemuWritesIt) {
    Info info;  // Name (_S5, Package (4) {Zero, Zero, Zero, Zero})
    find_soft_off(make_dsdt({0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0}), info);
    EXPECT_TRUE(info.soft_off.known);
    EXPECT_EQ(info.soft_off.a, 0);
}

TEST(SoftOff, ReadsByteConstantsBehindARootedName) {
    Info info;
    find_soft_off(
        make_dsdt({0x08, '\\', '_', 'S', '5', '_', 0x12, 0x40 | 7, 0, 4, 0x0a, 7, 0x0a, 5, 0, 0}),
        info);
    EXPECT_TRUE(info.soft_off.known);
    EXPECT_EQ(info.soft_off.a, 7 << 10);
    EXPECT_EQ(info.soft_off.b, 5 << 10);
}

TEST(SoftOff, AnythingElseIsNotUnderstood) {
    for (std::initializer_list<uint8_t> aml :
         {std::initializer_list<uint8_t>{'_', 'S', '5', '_', 0x12, 6, 4, 0, 0},
          {0x08, '_', 'S', '5', '_', 0x14, 6, 4, 0, 0},
          {0x08, '_', 'S', '5', '_', 0x12, 6, 1, 0, 0},
          {0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a},
          {0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 9, 0},
          {0x08, '_', 'S', '5', '_'}}) {
        Info info;
        find_soft_off(make_dsdt(aml), info);
        EXPECT_FALSE(info.soft_off.known);
    }
}

}  // namespace
}  // namespace hv::acpi
