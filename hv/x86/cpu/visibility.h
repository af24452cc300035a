// Included before everything (hv/CMakeLists.txt): declarations, too, are hidden, so that no address
// goes through a global offset table. -fvisibility=hidden alone covers definitions only.
#pragma GCC visibility push(hidden)
