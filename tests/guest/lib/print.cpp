#include "print.hpp"

#include "xen.hpp"

namespace guest {
namespace {

class Writer {
  public:
    Writer(char* out, size_t size) : out_(out), size_(size) {}

    void put(char c) {
        if (length_ + 1 < size_) out_[length_++] = c;
    }

    void number(unsigned long long value, unsigned base, bool negative, int width, char pad) {
        char digits[24];
        int count = 0;
        do digits[count++] = "0123456789abcdef"[value % base];
        while (value /= base);
        if (negative && pad == '0') put('-');
        for (int i = count + negative; i < width; ++i) put(pad);
        if (negative && pad != '0') put('-');
        while (count) put(digits[--count]);
    }

    void text(const char* s, int width) {
        int n = 0;
        for (; *s; ++s, ++n) put(*s);
        for (; n < width; ++n) put(' ');
    }

    int finish() {
        if (size_) out_[length_] = 0;
        return static_cast<int>(length_);
    }

  private:
    char* out_;
    size_t size_;
    size_t length_ = 0;
};

}  // namespace

int format(char* out, size_t size, const char* fmt, va_list args) {
    Writer w(out, size);
    for (; *fmt; ++fmt) {
        if (*fmt != '%') {
            w.put(*fmt);
            continue;
        }
        ++fmt;
        const char pad = *fmt == '0' ? '0' : ' ';
        while (*fmt == '0' || *fmt == '-') ++fmt;
        int width = 0;
        for (; *fmt >= '0' && *fmt <= '9'; ++fmt) width = width * 10 + (*fmt - '0');
        bool wide = false;
        for (; *fmt == 'l' || *fmt == 'z'; ++fmt) wide = true;
        switch (*fmt) {
            case 's':
                w.text(va_arg(args, const char*), width);
                break;
            case 'c':
                w.put(static_cast<char>(va_arg(args, int)));
                break;
            case 'd': {
                const long long v = wide ? va_arg(args, long) : va_arg(args, int);
                w.number(v < 0 ? -static_cast<unsigned long long>(v) : v, 10, v < 0, width, pad);
                break;
            }
            case 'u':
            case 'x': {
                const unsigned long v = wide ? va_arg(args, unsigned long) : va_arg(args, unsigned);
                w.number(v, *fmt == 'u' ? 10 : 16, false, width, pad);
                break;
            }
            case 'p':
                w.text("0x", 0);
                w.number(reinterpret_cast<unsigned long>(va_arg(args, void*)), 16, false, 0, ' ');
                break;
            case 0:
                return w.finish();
            default:
                w.put(*fmt);
        }
    }
    return w.finish();
}

void print(const char* fmt, ...) {
    char line[512];
    va_list args;
    va_start(args, fmt);
    const int length = format(line, sizeof line, fmt, args);
    va_end(args);
    console_io(CONSOLEIO_write, length, line);
}

void shutdown() {
    sched_shutdown_t request = {.reason = SHUTDOWN_reboot};
    sched_op(SCHEDOP_shutdown, &request);
    for (;;) sched_op(SCHEDOP_yield);
}

}  // namespace guest

extern "C" {

void* memset(void* dst, int value, size_t n) {
    void* out = dst;
    asm volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(value) : "memory");
    return out;
}

void* memcpy(void* dst, const void* src, size_t n) {
    void* out = dst;
    asm volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
    return out;
}

int memcmp(const void* a, const void* b, size_t n) {
    const auto* x = static_cast<const unsigned char*>(a);
    const auto* y = static_cast<const unsigned char*>(b);
    for (; n; --n, ++x, ++y)
        if (*x != *y) return *x - *y;
    return 0;
}

size_t strlen(const char* s) {
    size_t n = 0;
    while (s[n]) ++n;
    return n;
}

int strncmp(const char* a, const char* b, size_t n) {
    for (; n; --n, ++a, ++b)
        if (*a != *b || !*a) return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
    return 0;
}
}
