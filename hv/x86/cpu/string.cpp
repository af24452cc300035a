// What the compiler calls for copies, clears and counting bits; nothing else is needed of a C
// library.
#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
    void* d = to;
    size_t words = bytes / 8;
    size_t rest = bytes % 8;
    asm volatile("rep movsq\n\tmov %3, %%rcx\n\trep movsb"
                 : "+D"(d), "+S"(from), "+c"(words)
                 : "r"(rest)
                 : "memory");
    return to;
}

void* memmove(void* to, const void* from, size_t bytes) {
    if (static_cast<char*>(to) - static_cast<const char*>(from) < 0 ||
        static_cast<char*>(to) >= static_cast<const char*>(from) + bytes)
        return memcpy(to, from, bytes);
    auto* d = static_cast<volatile char*>(to);
    auto* s = static_cast<const char*>(from);
    while (bytes--) d[bytes] = s[bytes];
    return to;
}

void* memset(void* to, int value, size_t bytes) {
    void* d = to;
    size_t words = bytes / 8;
    const size_t rest = bytes % 8;
    const uint64_t pattern = 0x0101010101010101u * static_cast<uint8_t>(value);
    asm volatile("rep stosq\n\tmov %2, %%rcx\n\trep stosb"
                 : "+D"(d), "+c"(words)
                 : "r"(rest), "a"(pattern)
                 : "memory");
    return to;
}

int memcmp(const void* a, const void* b, size_t bytes) {
    auto* x = static_cast<const volatile unsigned char*>(a);
    auto* y = static_cast<const volatile unsigned char*>(b);
    for (size_t i = 0; i < bytes; ++i)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char* text) {
    auto* t = static_cast<const volatile char*>(text);
    size_t n = 0;
    while (t[n]) ++n;
    return n;
}

void* memchr(const void* where, int value, size_t bytes) {
    auto* w = static_cast<const volatile unsigned char*>(where);
    for (size_t i = 0; i < bytes; ++i)
        if (w[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(&w[i]);
    return nullptr;
}

// For processors without POPCNT, which the image may be run on.
int __popcountdi2(uint64_t value) {
    value -= value >> 1 & 0x5555555555555555;
    value = (value & 0x3333333333333333) + (value >> 2 & 0x3333333333333333);
    value = (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return static_cast<int>(value * 0x0101010101010101 >> 56);
}

}  // extern "C"
