// The bytes of the instruction that a guest stands at.
#pragma once

#include "arch/guest_memory.hpp"
#include "hv/limits.hpp"
#include "hv/x86/emulate/decode.hpp"

namespace hv::pv {

/// The eight bytes at `rip`, which the caller knows to be a guest's address; 0 if they are not all
/// in one page that the guest can read. The short way to the opcode of an instruction.
uint64_t load_code(uint64_t rip);

/// Copied in once; the first eight cover nearly every instruction that is emulated, more are
/// fetched when asked for. Never reaches into the next page before the instruction does: that
/// page may not be there.
class CodeBytes {
  public:
    static constexpr unsigned kMax = 15;  // the architecture's limit

    explicit CodeBytes(uint64_t rip) : rip_(rip) {}

    /// The byte at `index`; 0 and fault() when it cannot be had.
    uint8_t operator[](unsigned index) {
        if (index >= have_ && !fetch(index + 1)) [[unlikely]]
            return 0;
        return bytes_[index];
    }
    const uint8_t* data() const { return bytes_; }
    unsigned size() const { return have_; }
    bool fault() const { return fault_; }

    /// At least `count` bytes; false (and fault()) if there are not so many.
    bool fetch(unsigned count) {
        unsigned to_page_end = static_cast<unsigned>(kPageSize - (rip_ + have_) % kPageSize);
        while (have_ < count && !fault_) {
            unsigned step = have_ ? kMax - have_ : 8;
            if (step > to_page_end) step = to_page_end;
            if (count > kMax || !arch::copy_from_guest(bytes_ + have_, rip_ + have_, step).ok()) {
                fault_ = true;
                break;
            }
            have_ += step;
            to_page_end = kPageSize;
        }
        return !fault_;
    }

    /// The instruction that they are, of 64-bit code; more bytes are fetched only if it is longer
    /// than the first few. kEFAULT: not there; other errors as emulate::decode()'s.
    Result<emulate::Instruction> decode() {
        if (!fetch(1)) return Errno::kEFAULT;
        for (;;) {
            auto decoded = emulate::decode({bytes_, have_}, emulate::Mode::k64);
            if (decoded.ok() || decoded.error() != Errno::kENODATA) return decoded;
            if (!fetch(have_ + 1)) return Errno::kEFAULT;
        }
    }

  private:
    uint64_t rip_;
    unsigned have_ = 0;
    bool fault_ = false;
    uint8_t bytes_[16] = {};
};

}  // namespace hv::pv
