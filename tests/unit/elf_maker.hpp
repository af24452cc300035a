// Makes ELF kernels with Xen notes for the tests: a good one, of which each test spoils a part.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <xen/elfnote.h>

namespace fake {

struct ElfHeader {
    uint8_t magic[16] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    uint16_t type = 2, machine = 62;
    uint32_t version = 1;
    uint64_t entry = 0x1000000, program_headers = 64, section_headers = 0;
    uint32_t flags = 0;
    uint16_t header_size = 64, program_header_size = 56, program_header_count = 0;
    uint16_t section_header_size = 64, section_header_count = 0, section_names = 0;
};

struct ElfSegment {
    uint32_t type = 1, flags = 7;
    uint64_t offset = 0, virtual_address = 0, physical_address = 0, file_size = 0, memory_size = 0;
    uint64_t alignment = 4096;
};

class ElfMaker {
  public:
    static constexpr uint64_t kBase = 0xffffffff80000000;

    ElfHeader header;
    std::vector<ElfSegment> segments;
    std::vector<uint8_t> notes;

    /// As Debian's kernel: text at 16 MiB and a per-CPU segment with virtual address 0.
    static ElfMaker kernel() {
        ElfMaker maker;
        maker.segment(0x1000000, std::vector<uint8_t>(0x1800, 0x90), 0x2000);
        maker.segment(0x1003000, std::vector<uint8_t>(0x100, 0xcc), 0x1000);
        maker.note(XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
        maker.note(XEN_ELFNOTE_GUEST_OS, "linux");
        maker.note(XEN_ELFNOTE_VIRT_BASE, kBase);
        maker.note(XEN_ELFNOTE_ENTRY, kBase + 0x1000010);
        maker.note(XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb");
        return maker;
    }

    void segment(uint64_t physical, std::vector<uint8_t> bytes, uint64_t memory_size) {
        ElfSegment s;
        s.physical_address = physical;
        s.file_size = bytes.size();
        s.memory_size = memory_size;
        segments.push_back(s);
        contents_.push_back(std::move(bytes));
    }
    void note(uint32_t type, uint64_t value) { note(type, &value, sizeof value); }
    void note(uint32_t type, const std::string& text) { note(type, text.c_str(), text.size() + 1); }
    void note(uint32_t type, const void* value, size_t size, const char* owner = "Xen") {
        const uint32_t sizes[3] = {static_cast<uint32_t>(strlen(owner) + 1),
                                   static_cast<uint32_t>(size), type};
        append(notes, sizes, sizeof sizes);
        append(notes, owner, strlen(owner) + 1);
        append(notes, value, size);
    }

    std::vector<uint8_t> make() const {
        std::vector<ElfSegment> all = segments;
        ElfSegment note_segment;
        note_segment.type = 4;
        note_segment.file_size = note_segment.memory_size = notes.size();
        all.push_back(note_segment);

        ElfHeader h = header;
        h.program_header_count = static_cast<uint16_t>(all.size());
        std::vector<uint8_t> file(sizeof h + all.size() * sizeof(ElfSegment));
        for (size_t i = 0; i < all.size(); ++i) {
            const auto& bytes = i < contents_.size() ? contents_[i] : notes;
            all[i].offset = file.size();
            file.insert(file.end(), bytes.begin(), bytes.end());
        }
        memcpy(file.data(), &h, sizeof h);
        memcpy(file.data() + sizeof h, all.data(), all.size() * sizeof(ElfSegment));
        return file;
    }

  private:
    static void append(std::vector<uint8_t>& to, const void* from, size_t size) {
        const auto* bytes = static_cast<const uint8_t*>(from);
        to.insert(to.end(), bytes, bytes + size);
        while (to.size() % 4) to.push_back(0);
    }

    std::vector<std::vector<uint8_t>> contents_;
};

}  // namespace fake
