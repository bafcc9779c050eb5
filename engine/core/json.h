// SPDX-License-Identifier: Apache-2.0
// Reading JSON that a person wrote: comments allowed, unknown keys refused, every error names file, field,
// expectation.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>

namespace kernelites {

/// `json` as a T, if it is a whole number within T, which may also be written as a real number without a fraction, up
/// to 2^53.
template <typename T, typename AnyJson>
std::optional<T> whole_number_in(const AnyJson& json) {
  using Limits = std::numeric_limits<T>;
  if (const auto* natural = json.template get_ptr<const std::uint64_t*>()) {
    if (*natural <= static_cast<std::uint64_t>(Limits::max())) return static_cast<T>(*natural);
  } else if (const auto* whole = json.template get_ptr<const std::int64_t*>()) {
    const bool is_low =
        *whole < 0 && (std::is_unsigned_v<T> || *whole < static_cast<std::int64_t>(Limits::min()));
    const bool is_high =
        *whole > 0 && static_cast<std::uint64_t>(*whole) > static_cast<std::uint64_t>(Limits::max());
    if (!is_low && !is_high) return static_cast<T>(*whole);
  } else if (const auto* real = json.template get_ptr<const double*>()) {
    constexpr double k_exact = 9007199254740992.0;
    if (*real >= -k_exact && *real <= k_exact && std::trunc(*real) == *real &&
        *real >= static_cast<double>(Limits::min()) && *real <= static_cast<double>(Limits::max()))
      return static_cast<T>(*real);
  }
  return std::nullopt;
}

/// The same, where anything else is an error: throws the JSON library's type_error, where the library itself would
/// convert 1e30, -1.5 or a number beyond T as the processor does.
template <typename T, typename AnyJson>
T whole_number(const AnyJson& json) {
  if (const std::optional<T> number = whole_number_in<T>(json)) return *number;
  throw nlohmann::detail::type_error::create(
      302, "type must be a whole number in its range, but is " + json.dump().substr(0, 80), &json);
}

/// How values leave a Json, wherever they do: whole numbers by `whole_number`, all else as the library has it.
template <typename T, typename = void>
struct CheckedReading : nlohmann::adl_serializer<T> {};
template <typename T>
struct CheckedReading<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
    : nlohmann::adl_serializer<T> {
  template <typename AnyJson>
  static void from_json(const AnyJson& json, T& value) {
    value = whole_number<T>(json);
  }
};

/// Keys keep the order in which they were written, so that what we write reads like what we document.
using Json = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool, std::int64_t,
                                  std::uint64_t, double, std::allocator, CheckedReading>;

/// Parses JSON with `//` and `/* */` comments. Throws ConfigError naming `where`, line and column.
Json parse_json(std::string_view text, std::string_view where);
/// Reads and parses a file. Throws ConfigError if it cannot be read or parsed.
Json read_json(const std::filesystem::path& file);
/// Whole file as text. Throws ConfigError naming the file if it cannot be read.
std::string read_text(const std::filesystem::path& file);
/// Writes through a temporary file and a rename: a reader sees the old text or the new, never a half. Throws
/// Error.
void write_text_atomically(const std::filesystem::path& file, std::string_view text);

/// A number that may be infinite or NaN, which JSON cannot say: those travel as "inf", "-inf" and "nan".
Json real_to_json(double value);
/// Inverse of `real_to_json`. Throws Error if `json` is neither a number nor one of the three words.
double real_from_json(const Json& json);

/// Reads the members of one JSON object and, at `finish`, refuses what nobody asked for.
class ObjectReader {
 public:
  /// `where` is the file; `path` the place of `object` in it ("" for the root).
  /// Borrows `object`. Throws ConfigError if it is not an object.
  ObjectReader(const Json& object, std::string where, std::string path = "");

  bool has(const char* key) const { return object_.contains(key); }
  /// The member, which must exist.
  const Json& member(const char* key);
  /// The member converted to T; throws ConfigError if missing or of another type.
  template <typename T>
  T required(const char* key) {
    return convert<T>(key, member(key));
  }
  /// The member converted to T, or `fallback` if it is absent.
  template <typename T>
  T optional(const char* key, T fallback) {
    known_.insert(key);
    return has(key) ? convert<T>(key, member(key)) : fallback;
  }
  /// Refuses unknown members, listing the known ones.
  void finish() const;

  std::string field(std::string_view key) const;
  const std::string& where() const { return where_; }
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;

 private:
  template <typename T>
  T convert(const char* key, const Json& value) const {
    try {
      if constexpr (std::is_same_v<T, bool>) {
        if (!value.is_boolean()) fail(key, "expected true or false");
      } else if constexpr (std::is_integral_v<T>) {
        if (!value.is_number_integer()) fail(key, "expected a whole number");
      }
      return value.get<T>();
    } catch (const nlohmann::json::exception&) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
        fail_range(key, std::to_string(std::numeric_limits<T>::min()),
                   std::to_string(std::numeric_limits<T>::max()));
      fail(key, expectation<T>());
    }
  }
  [[noreturn]] void fail_range(const char* key, const std::string& least, const std::string& most) const {
    fail(key, "expected a whole number from " + least + " to " + most);
  }
  template <typename T>
  static const char* expectation() {
    if constexpr (std::is_same_v<T, std::string>)
      return "expected a string";
    else if constexpr (std::is_same_v<T, std::vector<std::string>>)
      return "expected an array of strings";
    else if constexpr (std::is_floating_point_v<T>)
      return "expected a number";
    else
      return "has the wrong type";
  }

  const Json& object_;
  std::string where_;
  std::string path_;
  std::set<std::string> known_;
};

}  // namespace kernelites
