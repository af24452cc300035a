// The sequences of a Zstandard block (RFC 8878, 3.1.1.3.2): each is so many literals, then a match
// of so many bytes from so far back. Three state machines say which.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/zstd/fse.hpp"
#include "hv/x86/boot/unpack/zstd/literals.hpp"

namespace hv::boot::zstd {

/// The frame's place in the output.
struct Output {
    uint8_t* begin;     ///< matches reach back to here
    uint8_t* at;        ///< where to write; moves on
    uint8_t* end;       ///< of the block: it must not unpack to more
    uint8_t* room_end;  ///< up to here may be overwritten in advance
};

class Sequences {
  public:
    /// A new frame: no tables to be used again, no earlier distances.
    void forget();
    /// Takes the section, which is the rest of a block, and writes what the block unpacks to.
    /// kEINVAL: damaged; kENODATA: ends too early; kENOSPC: unpacks to more than there is room for.
    Result<> run(ByteReader& block, const Literals& literals, Output& output);

  private:
    struct Code {
        FseTable table;
        bool is_set = false;
    };

    Result<> read_tables(ByteReader& block);
    Result<> execute(Bytes bits, uint32_t count, const Literals& literals, Output& output);

    Code literals_, distances_, matches_;
    size_t recent_[3];  // distances, the latest first
};

}  // namespace hv::boot::zstd
