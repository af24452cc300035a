// The literals of a Zstandard block, which come all together, before what says where they go
// (RFC 8878, 3.1.1.3.1).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/copy.hpp"
#include "hv/x86/boot/unpack/zstd/huffman.hpp"

namespace hv::boot::zstd {

/// A block never unpacks to more.
inline constexpr size_t kMostOfBlock = 128 * kKiB;

class Literals {
  public:
    /// A new frame: no tree to be used again.
    void forget() { have_tree_ = false; }
    /// Takes the section at the start of a block. kEINVAL: damaged; kENODATA: ends too early.
    Result<> read(ByteReader& block);

    const uint8_t* begin() const { return bytes_; }
    const uint8_t* end() const { return bytes_ + size_; }
    /// Up to here whole words may be read.
    const uint8_t* readable_end() const { return bytes_ + sizeof bytes_; }

  private:
    Result<> read_packed(ByteReader& block, uint8_t first, bool new_tree);
    Result<> decode_four(Bytes streams);

    uint8_t bytes_[kMostOfBlock + kCopySlack];
    size_t size_ = 0;
    HuffmanTable tree_;
    bool have_tree_ = false;
};

}  // namespace hv::boot::zstd
