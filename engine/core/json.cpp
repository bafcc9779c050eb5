// SPDX-License-Identifier: Apache-2.0
// JSON files of the user: parse errors with their place, unknown keys with the list of known ones, atomic
// writes.
#include "engine/core/json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/core/error.h"
#include "engine/core/json_shape.h"
#include "engine/core/nearest_name.h"

namespace kernelites {
namespace {

constexpr std::size_t k_levels_max = 256;  // copying a JSON value recurses

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  // Not by a callback of the parser: with one, it looks through all siblings of an object that ends.
  if (!is_modest_json(text, k_levels_max))
    throw ConfigError(where, "", fmt::format("nests deeper than {} levels", k_levels_max));
  try {
    return Json::parse(text, nullptr, /*allow_exceptions=*/true, /*ignore_comments=*/true);
  } catch (const nlohmann::json::parse_error& error) {
    const std::string_view before = text.substr(0, std::min(error.byte, text.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    std::string detail = error.what();
    if (const auto colon = detail.rfind(": "); colon != std::string::npos) detail = detail.substr(colon + 2);
    throw ConfigError(where, fmt::format("line {}", line), fmt::format("not valid JSON ({})", detail));
  } catch (const nlohmann::json::out_of_range&) {
    throw ConfigError(where, "", "a number is larger than any that a double holds");
  }
}

Json read_json(const std::filesystem::path& file) { return parse_json(read_text(file), file.string()); }

std::string read_text(const std::filesystem::path& file) {
  std::error_code problem;
  const std::filesystem::file_status status = std::filesystem::status(file, problem);
  if (std::filesystem::is_directory(status))
    throw ConfigError(file.string(), "", "expected a file, found a folder");
  if (status.type() == std::filesystem::file_type::not_found)
    throw ConfigError(file.string(), "", "there is no such file");
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf()).good()) {
    if (stream && std::filesystem::file_size(file, problem) == 0) return "";
    throw ConfigError(file.string(), "", "cannot be read");
  }
  return std::move(text).str();
}

void write_text_atomically(const std::filesystem::path& file, std::string_view text) {
  const std::filesystem::path temporary = file.string() + ".tmp";
  std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  if (!stream) throw Error(fmt::format("{}: cannot be written", temporary.string()));
  std::error_code problem;
  std::filesystem::rename(temporary, file, problem);
  if (problem) throw Error(fmt::format("{}: cannot be written: {}", file.string(), problem.message()));
}

Json real_to_json(double value) {
  if (std::isfinite(value)) return value;
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

double real_from_json(const Json& json) {
  if (json.is_number()) return json.get<double>();
  if (json == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (json == "inf") return std::numeric_limits<double>::infinity();
  if (json == "-inf") return -std::numeric_limits<double>::infinity();
  throw Error("expected a number, \"inf\", \"-inf\" or \"nan\", found " + json.dump().substr(0, 80));
}

ObjectReader::ObjectReader(const Json& object, std::string where, std::string path)
    : object_(object), where_(std::move(where)), path_(std::move(path)) {
  if (!object_.is_object()) throw ConfigError(where_, path_, "expected an object");
}

const Json& ObjectReader::member(const char* key) {
  known_.insert(key);
  if (object_.contains(key)) return object_.at(key);
  for (const auto& [present, value] : object_.items()) {
    if (!known_.contains(present) && is_slip_of(present, key))
      fail(present, fmt::format("is not a known key; expected \"{}\", which is missing", key));
  }
  fail(key, "is missing");
}

void ObjectReader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (known_.contains(key)) continue;
    fail(key,
         fmt::format("is not a known key{}; known here: {}",
                     did_you_mean(key, std::vector(known_.begin(), known_.end())), fmt::join(known_, ", ")));
  }
}

std::string ObjectReader::field(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void ObjectReader::fail(std::string_view key, std::string_view problem) const {
  throw ConfigError(where_, field(key), problem);
}

}  // namespace kernelites
