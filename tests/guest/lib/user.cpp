#include "user.hpp"

#include "memory.hpp"
#include "test.hpp"

extern "C" const unsigned char user_text_start[], user_text_end[];

namespace guest {
namespace {

uint64_t *l4, *l3, *l2;
uint64_t* l1[8];  // one table for each 2 MiB from 0
unsigned char* data;

void map(Arg va, uint64_t entry) {
    uint64_t*& table = l1[va >> 21];
    if (!table) table = alloc_page_as<uint64_t>();
    table[va >> 12 & 511] = entry;
}

void build() {
    l4 = alloc_page_as<uint64_t>();
    l3 = alloc_page_as<uint64_t>();
    l2 = alloc_page_as<uint64_t>();
    data = alloc_page_as<unsigned char>();
    for (const unsigned char* p = user_text_start; p < user_text_end; p += kPageSize)
        map(kUserText + (p - user_text_start), pte(mfn_of(p), kReadOnlyFlags));
    map(kUserData, pte(mfn_of(data), kDataFlags));
    map(kUserStackTop - kPageSize, pte(mfn_of(alloc_page()), kDataFlags));
    for (unsigned i = 0; i < 8; ++i) {
        if (!l1[i]) continue;
        make_read_only(l1[i]);
        l2[i] = pte(mfn_of(l1[i]), kTableFlags);
    }
    l3[0] = pte(mfn_of(l2), kTableFlags);
    l4[0] = pte(mfn_of(l3), kTableFlags);
    make_read_only(l2);
    make_read_only(l3);
    CHECK_EQ(pin(l4, 4), 0);
}

}  // namespace

void use_user_space() {
    if (!l4) build();
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(l4)), 0);
}

void* user_data() {
    return data;
}
uint64_t* user_l4() {
    return l4;
}
uint64_t* user_l1_of(Arg va) {
    return &l1[va >> 21][va >> 12 & 511];
}

Arg user_address(const unsigned char* code) {
    return kUserText + (code - user_text_start);
}

TrapFrame user_frame(const unsigned char* code) {
    TrapFrame frame = {};
    frame.rip = user_address(code);
    frame.cs = FLAT_USER_CS;
    frame.rflags = 0x202;
    frame.rsp = kUserStackTop - 64;
    frame.ss = FLAT_USER_SS;
    return frame;
}

Trap run_user(const TrapFrame& frame, uint64_t iret_flags) {
    use_user_space();
    return enter(frame, iret_flags);
}

Trap run_user(const unsigned char* code) {
    return run_user(user_frame(code));
}

}  // namespace guest
