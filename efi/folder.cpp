#include "efi/folder.hpp"

#include <algorithm>
#include <utility>

namespace efi {
namespace {

/// An open file that is closed at the end.
class Opened {
  public:
    Opened(File* root, const Path& path) {
        status_ = root->open(root, &file_, path.c_str(), kOpenToRead, 0);
        if (failed(status_)) file_ = nullptr;
    }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    ~Opened() {
        if (file_) file_->close(file_);
    }
    Status status() const { return status_; }
    File* operator->() const { return file_; }

    Status size(uint64_t& bytes) const {
        Status s = file_->set_position(file_, kEndOfFile);
        if (!failed(s)) s = file_->get_position(file_, &bytes);
        return failed(s) ? s : file_->set_position(file_, 0);
    }

    /// In pieces: there is firmware that reads large files in part or not at all.
    Status read(std::span<uint8_t> to) const {
        constexpr uint64_t kPiece = 4 << 20;
        while (!to.empty()) {
            uint64_t bytes = std::min<uint64_t>(to.size(), kPiece);
            if (const Status s = file_->read(file_, &bytes, to.data()); failed(s)) return s;
            if (!bytes) return kErrorBit | 31;  // end of file
            to = to.subspan(bytes);
        }
        return hv::efi::kSuccess;
    }

  private:
    File* file_ = nullptr;
    Status status_;
};

/// The pieces of a device path that name a file, one behind the other (UEFI 10.3.4.4).
Result<> read_path(const DevicePath* node, Path& path) {
    for (; node && node->type != kEndOfPath && node->length >= sizeof *node;
         node = reinterpret_cast<const DevicePath*>(reinterpret_cast<const uint8_t*>(node) +
                                                    node->length)) {
        if (node->type != kMediaPath || node->subtype != kFilePath) continue;
        const auto* name = reinterpret_cast<const char16_t*>(node + 1);
        std::u16string_view piece(name, (node->length - sizeof *node) / 2);
        piece = piece.substr(0, piece.find(u'\0'));
        const bool apart = path.text().ends_with(u'\\') || piece.starts_with(u'\\');
        if ((!apart && !path.append(std::u16string_view(u"\\"))) || !path.append(piece))
            return fail(Errno::kEINVAL,
                        "its own path is longer than 511 characters; put it into "
                        "a folder nearer to the root");
    }
    return {};
}

}  // namespace

Result<Folder> Folder::open(const BootServices& services, const LoadedImage& image, Range avoid) {
    Folder folder;
    folder.services_ = &services;
    folder.avoid_ = avoid;
    void* found = nullptr;
    if (!image.device || failed(services.handle_protocol(image.device, &FileSystem::kGuid, &found)))
        return fail(Errno::kENOENT,
                    "it was not started from a file system that the firmware "
                    "reads; start it from the EFI system partition");
    auto* files = static_cast<FileSystem*>(found);
    if (const Status s = files->open_volume(files, &folder.root_); failed(s))
        return fail(Errno::kEIO,
                    "the file system that it was started from cannot be opened "
                    "(EFI error {}); check the medium",
                    s & ~kErrorBit);
    TRY(read_path(image.file_path, folder.program_));
    return folder;
}

Folder& Folder::operator=(Folder&& other) {
    std::swap(services_, other.services_);
    std::swap(root_, other.root_);
    std::swap(avoid_, other.avoid_);
    std::swap(program_, other.program_);
    return *this;
}

Folder::~Folder() {
    if (root_) root_->close(root_);
}

Result<Path> Folder::path_of(std::string_view name, std::string_view whose) const {
    Path path;
    if (!name.starts_with('/') && !name.starts_with('\\')) {
        path = program_;
        path.keep_folder();
    }
    if (name.empty() || !path.append(name))
        return fail(Errno::kEINVAL, "{} names no file: \"{}\" is empty, too long or not ASCII",
                    whose, name);
    return path;
}

bool Folder::has(const Path& path) const {
    return Opened(root_, path).status() != kNotFound;
}

Result<Loaded> Folder::read(const Path& path, std::string_view whose) const {
    const Ascii name(path.text());
    const Opened file(root_, path);
    if (file.status() == kNotFound)
        return fail(Errno::kENOENT, "there is no file {}; put it there, or correct {}", name,
                    whose);
    Loaded loaded;
    Status status = file.status();
    if (!failed(status)) status = file.size(loaded.size);
    if (!failed(status) && !loaded.size)
        return fail(Errno::kEINVAL, "{} is empty; copy it again, or correct {}", name, whose);
    if (!failed(status)) {
        loaded.pages = TRY(Pages::allocate(*services_, loaded.size, avoid_, name));
        status = file.read(loaded.pages.bytes().first(loaded.size));
    }
    if (failed(status))
        return fail(Errno::kEIO,
                    "{} cannot be read (EFI error {}); check the medium, or correct "
                    "{}",
                    name, status & ~kErrorBit, whose);
    return loaded;
}

}  // namespace efi
