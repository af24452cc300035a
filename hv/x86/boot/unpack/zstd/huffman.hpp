// Zstandard's Huffman codes for literals (RFC 8878, 4.2).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/unpack/zstd/fse.hpp"

namespace hv::boot::zstd {

class HuffmanTable {
  public:
    /// Reads a tree's description at the start of `bytes`; returns the bytes that this took.
    /// kEINVAL: damaged; kENODATA: ends too early.
    Result<size_t> read(Bytes bytes);

    /// Unpacks one stream, which must give `output` exactly. kEINVAL, kENODATA as above.
    Result<> decode(Bytes stream, std::span<uint8_t> output) const;

  private:
    static constexpr unsigned kMostLog = 11;
    static constexpr size_t kMostSymbols = 256;
    using Weights = std::span<uint8_t, kMostSymbols>;

    Result<size_t> read_packed_weights(Bytes bytes, Weights weights);
    Result<> set(Weights weights, size_t symbols);

    struct Entry {
        uint8_t symbol;
        uint8_t bits;
    };
    Entry entries_[1 << kMostLog];  // by the next log_ bits
    unsigned log_ = 0;
    FseTable weights_;  // the code of the weights, while a description is read
};

}  // namespace hv::boot::zstd
