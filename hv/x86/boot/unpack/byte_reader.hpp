// Reads forward through packed data; every step is checked against its end.
#pragma once

#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

class ByteReader {
  public:
    explicit ByteReader(Bytes bytes) : bytes_(bytes) {}
    size_t at() const { return at_; }
    size_t left() const { return bytes_.size() - at_; }
    Bytes rest() const { return bytes_.subspan(at_); }

    Result<uint8_t> byte() {
        if (left() == 0) return Errno::kENODATA;
        return bytes_[at_++];
    }
    /// The next `count` bytes.
    Result<Bytes> take(uint64_t count) {
        Bytes part = TRY(slice(bytes_, at_, count));
        at_ += count;
        return part;
    }
    /// A little-endian number of `count` bytes, at most 8.
    Result<uint64_t> number(size_t count) {
        uint64_t value = 0;
        const Bytes part = TRY(take(count));
        for (size_t i = 0; i < count; ++i) value |= uint64_t{part[i]} << (8 * i);
        return value;
    }
    /// Skips `count` bytes, which have to be zero.
    Result<> zeros(size_t count) {
        for (; count; --count)
            if (TRY(byte()) != 0) return Errno::kEINVAL;
        return {};
    }

  private:
    Bytes bytes_;
    size_t at_ = 0;
};

}  // namespace hv::boot
