// Page tables that nobody has loaded, to be pinned.
#pragma once

#include "memory.hpp"

namespace guest {

/// A tree of fresh tables, none of them in use: l4 -> l3 -> l2 -> l1 -> page.
struct Tree {
    uint64_t* table[5];
    uint64_t* page = alloc_page_as<uint64_t>();

    Tree() {
        table[0] = page;
        for (int level = 1; level <= 4; ++level) {
            table[level] = alloc_page_as<uint64_t>();
            table[level][3] = pte(mfn_of(table[level - 1]), kTableFlags);
        }
        for (int level = 1; level <= 4; ++level) make_read_only(table[level]);
    }
};

}  // namespace guest
