// SPDX-License-Identifier: Apache-2.0
// Content digests (SHA-256 in hex) and keyed derivation of secrets (BLAKE2b), both from libsodium.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace kernelites {

/// SHA-256 of `bytes` as 64 lower-case hex digits: the same as `sha256sum` prints.
std::string digest(std::string_view bytes);

/// Digest of a list of parts; unlike a concatenation it tells ("a", "bc") from ("ab", "c").
std::string digest_parts(std::initializer_list<std::string_view> parts);

/// A 256-bit secret or a key that secrets derive from. Never logged, never sent to an executor.
struct Key {
  std::array<unsigned char, 32> bytes{};

  /// A fresh key from the operating system's random source.
  static Key random();
  /// A fixed key for golden runs and tests: the BLAKE2b hash of `text`.
  static Key fixed(std::string_view text);
  /// From 64 hex digits. Throws ConfigError naming `where` if it is anything else.
  static Key from_hex(std::string_view hex, std::string_view where);

  std::string hex() const;
  /// The sub-key for a purpose ("inputs", "rows", ...) and an ordinal (invariant 7 of docs/architecture.md).
  Key derive(std::string_view purpose, std::uint64_t ordinal = 0) const;
  /// The first 64 bits, as a seed for `Rng`.
  std::uint64_t seed() const;

  bool operator==(const Key&) const = default;
};

}  // namespace kernelites
