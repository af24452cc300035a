// What the hypervisor says about itself. The build may define XENOLITH_CHANGESET and the like;
// without, a build is the same wherever and whenever it is made.
#pragma once

#include <string_view>

#ifndef XENOLITH_CHANGESET
#define XENOLITH_CHANGESET "unknown"
#endif
#ifndef XENOLITH_COMPILE_DATE
#define XENOLITH_COMPILE_DATE "unknown"
#endif

namespace hv::version {

// The interface's version: what the ABI is compatible with, and what the tools compare.
inline constexpr unsigned kMajor = 4;
inline constexpr unsigned kMinor = 17;
inline constexpr std::string_view kExtra = ".0-xenolith";

/// The kinds of guest that can be built, each followed by a space.
inline constexpr std::string_view kCapabilities = "xen-3.0-x86_64 ";

#if defined(__clang__)
inline constexpr std::string_view kCompiler = "clang " __clang_version__;
#else
inline constexpr std::string_view kCompiler = "gcc " __VERSION__;
#endif
inline constexpr std::string_view kCompileBy = "xenolith";
inline constexpr std::string_view kCompileDomain = "";
inline constexpr std::string_view kCompileDate = XENOLITH_COMPILE_DATE;
inline constexpr std::string_view kChangeset = XENOLITH_CHANGESET;

}  // namespace hv::version
