// Bytes between a guest and Domain 0: through blkfront to a disk, through netfront over TCP. The
// readings are the whole machine's: both kernels, both drivers and the hypervisor.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <span>

#include "loops.hpp"
#include "samples.hpp"

namespace bench {
namespace {

constexpr size_t kChunk = 64 << 10, kBlock = 4096;
constexpr unsigned kRounds = 2000;
// What a connection is for, its first byte.
enum Kind : char { kSend = 's', kReceive = 'r', kEcho = 'e' };

std::span<char> buffer() {
    // O_DIRECT wants whole pages.
    void* at = mmap(nullptr, kChunk, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    must(at == MAP_FAILED ? -1 : 0, "mmap");
    return {static_cast<char*>(at), kChunk};
}

sockaddr_in address_of(const char* text, unsigned short port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    must(inet_pton(AF_INET, text, &address.sin_addr) == 1 ? 0 : -1, "inet_pton");
    return address;
}

void send_all(int to, std::span<char> data, size_t bytes) {
    while (bytes)
        bytes -= static_cast<size_t>(
            must(write(to, data.data(), std::min(bytes, data.size())), "write"));
}

void receive_all(int from, std::span<char> data, size_t bytes) {
    while (bytes) {
        const long got = must(read(from, data.data(), std::min(bytes, data.size())), "read");
        if (got == 0) std::exit(1);
        bytes -= static_cast<size_t>(got);
    }
}

int connect_to(const char* address, unsigned short port, Kind kind) {
    const int to = static_cast<int>(must(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    const sockaddr_in peer = address_of(address, port);
    must(connect(to, reinterpret_cast<const sockaddr*>(&peer), sizeof peer), "connect");
    const int on = 1;
    must(setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    must(write(to, &kind, 1), "write");
    return to;
}

/// The peer's side of one connection.
[[noreturn]] void serve(int peer) {
    const std::span<char> data = buffer();
    const int on = 1;
    char kind = 0, byte = 0;
    must(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    must(read(peer, &kind, 1), "read");
    for (;;) {
        if (kind == kSend) {
            receive_all(peer, data, kChunk);
            must(write(peer, &byte, 1), "write");
        } else {
            if (read(peer, &byte, 1) != 1) std::exit(0);
            send_all(peer, data, kind == kReceive ? kChunk : 1);
        }
    }
}

}  // namespace

void run_disk(const char* device) {
    const std::span<char> data = buffer();
    const int disk = static_cast<int>(must(open(device, O_RDWR | O_DIRECT), device));
    const off_t size = must(lseek(disk, 0, SEEK_END), "lseek");
    // From the beginning again where the disk ends.
    const auto at = [size](unsigned i, size_t step) { return static_cast<off_t>(i * step) % size; };
    Samples::of(kRounds, [&](unsigned i) {
        must(pwrite(disk, data.data(), kChunk, at(i, kChunk)), "pwrite");
    }).print("disk_write", kChunk >> 10);
    Samples::of(kRounds, [&](unsigned i) {
        must(pread(disk, data.data(), kChunk, at(i, kChunk)), "pread");
    }).print("disk_read", kChunk >> 10);
    Samples::of(kRounds, [&](unsigned i) {
        must(pread(disk, data.data(), kBlock, at(i, kBlock)), "pread");
    }).print("disk_read_page");
    close(disk);
}

void serve_network(unsigned short port) {
    std::signal(SIGCHLD, SIG_IGN);
    const int at = static_cast<int>(must(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    const sockaddr_in own = address_of("0.0.0.0", port);
    must(bind(at, reinterpret_cast<const sockaddr*>(&own), sizeof own), "bind");
    must(listen(at, 8), "listen");
    for (;;) {
        const int peer = static_cast<int>(must(accept(at, nullptr, nullptr), "accept"));
        if (must(fork(), "fork") == 0) serve(peer);
        close(peer);
    }
}

void run_network(const char* address, unsigned short port) {
    const std::span<char> data = buffer();
    char byte = 0;
    int peer = connect_to(address, port, kSend);
    Samples::of(kRounds, [&](unsigned) {
        send_all(peer, data, kChunk);
        receive_all(peer, {&byte, 1}, 1);
    }).print("net_send", kChunk >> 10);
    close(peer);
    peer = connect_to(address, port, kReceive);
    Samples::of(kRounds, [&](unsigned) {
        must(write(peer, &byte, 1), "write");
        receive_all(peer, data, kChunk);
    }).print("net_receive", kChunk >> 10);
    close(peer);
    peer = connect_to(address, port, kEcho);
    Samples::of(kRounds, [&](unsigned) {
        must(write(peer, &byte, 1), "write");
        receive_all(peer, {&byte, 1}, 1);
    }).print("net_round_trip");
    close(peer);
}

}  // namespace bench
