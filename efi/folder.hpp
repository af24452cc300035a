// The folder that the program was started from, and reading its files.
#pragma once

#include "efi/firmware.hpp"
#include "efi/pages.hpp"
#include "efi/path.hpp"

namespace efi {

/// A file in memory.
struct Loaded {
    Pages pages;
    uint64_t size = 0;
    std::span<const uint8_t> bytes() const { return pages.bytes().first(size); }
    std::string_view text() const { return {reinterpret_cast<const char*>(bytes().data()), size}; }
};

class Folder {
  public:
    /// kENOENT, kEIO, after a line that says why, if the program was not started from a file
    /// system.
    static Result<Folder> open(const BootServices& services, const LoadedImage& image, Range avoid);
    Folder(Folder&& other) : Folder() { *this = static_cast<Folder&&>(other); }
    Folder& operator=(Folder&& other);
    ~Folder();

    /// The program's own file.
    const Path& program() const { return program_; }

    /// Of a file in this folder, or anywhere if its name begins with `\` or `/`; kEINVAL after a
    /// line if that is no name. `whose` is the setting that named it.
    Result<Path> path_of(std::string_view name, std::string_view whose) const;

    bool has(const Path& path) const;

    /// The whole file. kENOENT, kEIO, kENOMEM, kEINVAL (empty), after a line that says why.
    Result<Loaded> read(const Path& path, std::string_view whose) const;

  private:
    Folder() = default;

    const BootServices* services_ = nullptr;
    File* root_ = nullptr;
    Range avoid_{};
    Path program_;
};

}  // namespace efi
