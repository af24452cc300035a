// The parts of the program, one for each word of its command line; each prints its rows.
#pragma once

namespace bench {

/// Loops in one process, or a few: fork, exec, pipe, mmap, page faults.
void run_loops();

/// Reads and writes a block device past the page cache; its contents are lost.
void run_disk(const char* device);

/// Answers run_network() on that port, for ever.
[[noreturn]] void serve_network(unsigned short port);

/// TCP to serve_network() at that address, both ways, and a byte there and back.
void run_network(const char* address, unsigned short port);

}  // namespace bench
