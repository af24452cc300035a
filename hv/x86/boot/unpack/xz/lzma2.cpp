// A chunk's first byte, its control:
//
//   00         end marker                   size fields, big-endian, each less one:
//   01  02     stored; 01 starts afresh       stored: 2 bytes size
//   80…FF      LZMA; bits 5–6 say what        LZMA:   low 5 bits of control and 2 bytes unpacked
//              starts afresh:                         size, 2 bytes packed size, and from C0 on
//              80 nothing   A0 state                  one byte lc/lp/pb
//              C0 + lc/lp/pb   E0 + dictionary
#include "hv/x86/boot/unpack/xz/lzma2.hpp"

namespace hv::boot::xz {
namespace {

constexpr uint8_t kEnd = 0x00;
constexpr uint8_t kStoredAfresh = 0x01;
constexpr uint8_t kStored = 0x02;
constexpr uint8_t kLzma = 0x80;
constexpr uint8_t kLzmaState = 0xa0;
constexpr uint8_t kLzmaProperties = 0xc0;
constexpr uint8_t kLzmaDictionary = 0xe0;

constexpr size_t kStoredHeader = 3;
constexpr size_t kLzmaHeader = 5;

constexpr size_t big_endian_16(const uint8_t* at) {
    return static_cast<size_t>(at[0] << 8 | at[1]);
}

class Chunks {
  public:
    Chunks(LzmaDecoder& decoder, std::span<const uint8_t> packed, std::span<uint8_t> output)
        : decoder_(decoder), packed_(packed), output_(output) {}

    Result<Lzma2Progress> run() {
        for (;;) {
            if (left() == 0) return Errno::kENODATA;
            const uint8_t control = packed_[at_];
            if (control == kEnd) return Lzma2Progress{at_ + 1, out_};
            if (control >= kLzma)
                TRY(lzma(control));
            else
                TRY(stored(control));
        }
    }

  private:
    size_t left() const { return packed_.size() - at_; }
    size_t room() const { return output_.size() - out_; }

    /// What the first chunk must do, and later ones may: nothing before is referred to any more.
    void start_dictionary() {
        dictionary_ = out_;
        have_dictionary_ = true;
        need_properties_ = true;
    }

    Result<> stored(uint8_t control) {
        if (control > kStored) return Errno::kEINVAL;
        if (left() < kStoredHeader) return Errno::kENODATA;
        if (control == kStoredAfresh) start_dictionary();
        if (!have_dictionary_) return Errno::kEINVAL;
        const size_t size = big_endian_16(&packed_[at_ + 1]) + 1;
        at_ += kStoredHeader;
        if (left() < size) return Errno::kENODATA;
        if (room() < size) return Errno::kENOSPC;
        __builtin_memcpy(output_.data() + out_, &packed_[at_], size);
        at_ += size;
        out_ += size;
        return {};
    }

    Result<> lzma(uint8_t control) {
        if (left() < kLzmaHeader + 1) return Errno::kENODATA;
        const size_t size = (size_t{control & 0x1fu} << 16) + big_endian_16(&packed_[at_ + 1]) + 1;
        const size_t packed_size = big_endian_16(&packed_[at_ + 3]) + 1;
        at_ += kLzmaHeader;
        TRY(start_lzma(control));
        if (left() < packed_size + LzmaDecoder::kReadAhead) return Errno::kENODATA;
        if (room() < size) return Errno::kENOSPC;

        const uint8_t* input = &packed_[at_];
        uint8_t* out = output_.data() + out_;
        TRY(decoder_.decode_chunk({.input = input,
                                   .input_end = input + packed_size,
                                   .dictionary = output_.data() + dictionary_,
                                   .out = out,
                                   .out_end = out + size,
                                   .room_end = output_.data() + output_.size()}));
        at_ += packed_size;
        out_ += size;
        return {};
    }

    Result<> start_lzma(uint8_t control) {
        if (control >= kLzmaDictionary) start_dictionary();
        if (!have_dictionary_) return Errno::kEINVAL;
        if (control >= kLzmaProperties) {
            TRY(decoder_.set_properties(packed_[at_++]));
            need_properties_ = false;
        } else if (need_properties_) {
            return Errno::kEINVAL;
        }
        if (control >= kLzmaState) {
            decoder_.reset();
            need_state_ = false;
        } else if (need_state_) {
            return Errno::kEINVAL;
        }
        return {};
    }

    LzmaDecoder& decoder_;
    std::span<const uint8_t> packed_;
    std::span<uint8_t> output_;
    size_t at_ = 0;          // in packed_
    size_t out_ = 0;         // in output_
    size_t dictionary_ = 0;  // in output_: how far back matches may reach
    bool have_dictionary_ = false;
    bool need_properties_ = true;
    bool need_state_ = true;
};

}  // namespace

Result<Lzma2Progress> decode_lzma2(LzmaDecoder& decoder, std::span<const uint8_t> packed,
                                   std::span<uint8_t> output) {
    return Chunks(decoder, packed, output).run();
}

}  // namespace hv::boot::xz
