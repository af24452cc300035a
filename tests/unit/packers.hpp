// Data of all kinds for the decoders' tests, packed by the real tools. Include once.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

namespace packers {

using Data = std::vector<uint8_t>;

/// What `command`, a tool with its options, makes of `data`; the empty vector if there is no such
/// tool.
inline Data pack(const Data& data, const std::string& command) {
    const auto folder = std::filesystem::temp_directory_path();
    const std::string file = folder / ("packers." + std::to_string(getpid()));
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(data.data()), static_cast<long>(data.size()));
    Data packed;
    FILE* pipe = popen((command + " -c < " + file + " 2>/dev/null").c_str(), "r");
    std::array<uint8_t, 4096> piece;
    for (size_t n; (n = fread(piece.data(), 1, piece.size(), pipe)) > 0;)
        packed.insert(packed.end(), piece.begin(), piece.begin() + static_cast<long>(n));
    pclose(pipe);
    std::filesystem::remove(file);
    return packed;
}

inline Data random_bytes(size_t size, unsigned seed) {
    std::mt19937 random(seed);
    Data data(size);
    for (auto& byte : data) byte = static_cast<uint8_t>(random());
    return data;
}

/// Text-like and code-like bytes, runs, and repeats near and far: all kinds of symbols.
inline Data mixed(size_t size, unsigned seed) {
    std::mt19937 random(seed);
    Data data;
    while (data.size() < size) {
        switch (random() % 5) {
            case 0:
                data.insert(data.end(), random() % 400, static_cast<uint8_t>(random()));
                break;
            case 1:
                for (unsigned n = random() % 100; n; --n)
                    data.push_back(static_cast<uint8_t>("etaoin shrdlu"[random() % 13]));
                break;
            case 2:  // call rel32, often enough for the branch filter
                data.push_back(random() % 2 ? 0xe8 : 0xe9);
                for (int i = 0; i < 2; ++i) data.push_back(static_cast<uint8_t>(random()));
                data.push_back(static_cast<uint8_t>(random() % 4 ? 0 : 0xe8));
                data.push_back(random() % 2 ? 0x00 : 0xff);
                break;
            case 3: {
                if (data.empty()) break;
                const size_t distance = 1 + random() % std::min<size_t>(data.size(), 70000);
                for (unsigned n = random() % 300; n; --n)
                    data.push_back(data[data.size() - distance]);
                break;
            }
            case 4:
                for (unsigned n = random() % 30; n; --n)
                    data.push_back(static_cast<uint8_t>(random()));
        }
    }
    data.resize(size);
    return data;
}

}  // namespace packers
