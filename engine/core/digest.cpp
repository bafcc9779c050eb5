// SPDX-License-Identifier: Apache-2.0
// SHA-256 digests and BLAKE2b key derivation over libsodium.
#include "engine/core/digest.h"

#include <sodium.h>

#include <cstring>

#include "engine/core/error.h"

namespace kernelites {
namespace {

std::string to_hex(const unsigned char* bytes, std::size_t count) {
  std::string text(count * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, count);
  text.pop_back();
  return text;
}

std::string length_prefix(std::string_view part) { return std::to_string(part.size()) + ":"; }

}  // namespace

std::string digest(std::string_view bytes) {
  unsigned char hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  return to_hex(hash, sizeof hash);
}

std::string digest_parts(std::initializer_list<std::string_view> parts) {
  std::string joined;
  for (std::string_view part : parts) joined.append(length_prefix(part)).append(part);
  return digest(joined);
}

Key Key::random() {
  if (sodium_init() < 0) throw Error("libsodium could not be initialised: no random source");
  Key key;
  randombytes_buf(key.bytes.data(), key.bytes.size());
  return key;
}

Key Key::fixed(std::string_view text) {
  Key key;
  crypto_generichash(key.bytes.data(), key.bytes.size(), reinterpret_cast<const unsigned char*>(text.data()),
                     text.size(), nullptr, 0);
  return key;
}

Key Key::from_hex(std::string_view hex, std::string_view where) {
  Key key;
  std::size_t length = 0;
  if (sodium_hex2bin(key.bytes.data(), key.bytes.size(), hex.data(), hex.size(), nullptr, &length, nullptr) !=
          0 ||
      length != key.bytes.size()) {
    throw ConfigError(where, "key", "expected 64 hexadecimal digits");
  }
  return key;
}

std::string Key::hex() const { return to_hex(bytes.data(), bytes.size()); }

Key Key::derive(std::string_view purpose, std::uint64_t ordinal) const {
  std::string message = length_prefix(purpose);
  message.append(purpose).append(std::to_string(ordinal));
  Key key;
  crypto_generichash(key.bytes.data(), key.bytes.size(),
                     reinterpret_cast<const unsigned char*>(message.data()), message.size(), bytes.data(),
                     bytes.size());
  return key;
}

std::uint64_t Key::seed() const {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace kernelites
