// SPDX-License-Identifier: Apache-2.0
// Reading and writing recorded outputs: see recording.h.
#include "tests/vgpu/recorded/recording.h"

#include <fmt/format.h>

#include <fstream>
#include <string_view>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/json.h"
#include "tests/vgpu/recorded/value_rule.h"

namespace kernelites::recorded {
namespace {

constexpr std::string_view k_digits = "0123456789abcdef";

std::string to_hex(const std::vector<std::byte>& bytes) {
  std::string hex;
  for (const std::byte byte : bytes) {
    hex += k_digits[std::to_integer<std::size_t>(byte >> 4)];
    hex += k_digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return hex;
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t k = 0; k + 1 < hex.size(); k += 2) {
    const std::size_t high = k_digits.find(hex[k]), low = k_digits.find(hex[k + 1]);
    if (high > 15 || low > 15) throw Error(fmt::format("no hex digits in a recording: {}", hex.substr(k, 2)));
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return bytes;
}

}  // namespace

std::vector<std::byte> pack_outputs(const Snippet& snippet, const std::vector<std::byte>& bytes) {
  std::vector<std::byte> packed;
  std::size_t at = 0;
  for (const SnippetOperand& operand : snippet.outputs) {
    const std::size_t length = std::size_t{operand.bytes} * snippet.threads();
    if (operand.type != "pred") {
      packed.insert(packed.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    } else {
      for (unsigned lane = 0; lane < snippet.threads(); lane += 8) {
        unsigned bits = 0;
        for (unsigned k = 0; k < 8; ++k) bits |= (bytes[at + 4 * (lane + k)] == std::byte{0} ? 0u : 1u) << k;
        packed.push_back(static_cast<std::byte>(bits));
      }
    }
    at += length;
  }
  return packed;
}

std::vector<std::byte> unpack_outputs(const Snippet& snippet, const std::vector<std::byte>& packed) {
  std::vector<std::byte> bytes;
  std::size_t at = 0;
  for (const SnippetOperand& operand : snippet.outputs) {
    const bool is_predicate = operand.type == "pred";
    const std::size_t length =
        is_predicate ? snippet.threads() / 8 : std::size_t{operand.bytes} * snippet.threads();
    if (at + length > packed.size()) return {};
    for (std::size_t k = 0; k < length; ++k) {
      const std::byte byte = packed[at + k];
      if (!is_predicate) bytes.push_back(byte);
      for (unsigned bit = 0; is_predicate && bit < 8; ++bit)
        bytes.insert(bytes.end(), {byte >> bit & std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}});
    }
    at += length;
  }
  return at == packed.size() ? bytes : std::vector<std::byte>{};
}

std::string source_digest(const Snippet& snippet) {
  const std::vector<std::byte> inputs = draw_inputs(snippet);
  const std::string_view text(reinterpret_cast<const char*>(inputs.data()), inputs.size());
  return digest_parts({module_text(snippet), text}).substr(0, 8);
}

std::string output_digest(const std::vector<std::byte>& packed) {
  return digest_parts({std::string_view(reinterpret_cast<const char*>(packed.data()), packed.size())})
      .substr(0, 16);
}

std::string compare_with(const Snippet& snippet, const RecordedOutput& recorded,
                         const std::vector<std::byte>& bytes) {
  if (!recorded.digest.empty())
    return output_digest(pack_outputs(snippet, bytes)) == recorded.digest ? ""
                                                                          : "another digest of the values";
  const Comparison comparison = compare_outputs(snippet, unpack_outputs(snippet, recorded.packed), bytes);
  if (comparison.different == 0) return "";
  return fmt::format("{} of {} values differ, finite ones by at most {} ulp: {}", comparison.different,
                     comparison.values, comparison.ulp_max, comparison.example);
}

Recording read_recording(const std::filesystem::path& path) {
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!file || !json.is_object()) throw Error(fmt::format("{} is no recording", path.string()));
  Recording recording{.device = json.at("device").get<std::string>(),
                      .date = json.at("date").get<std::string>(),
                      .driver_version = json.at("driver_version").get<int>(),
                      .outputs = {}};
  for (const auto& [name, entry] : json.at("outputs").items()) {
    const std::string text = entry.at(1).get<std::string>();
    RecordedOutput& output = recording.outputs[name];
    output.source = entry.at(0).get<std::string>();
    if (text.starts_with('#'))
      output.digest = text.substr(1);
    else
      output.packed = from_hex(text);
  }
  return recording;
}

Recording read_recordings(const std::filesystem::path& folder) {
  Recording all = read_recording(folder / "h100.json");
  all.outputs.merge(read_recording(folder / "h100_hopper.json").outputs);
  return all;
}

void write_recording(const std::filesystem::path& path, const Recording& recording) {
  std::ofstream file(path);
  file << fmt::format("{{\n\"device\": {}, \"driver_version\": {}, \"date\": {},\n\"outputs\": {{\n",
                      Json(recording.device).dump(), recording.driver_version, Json(recording.date).dump());
  const char* separator = "";
  for (const auto& [name, output] : recording.outputs) {
    file << separator
         << fmt::format("{}: [\"{}\", \"{}\"]", Json(name).dump(), output.source,
                        output.digest.empty() ? to_hex(output.packed) : "#" + output.digest);
    separator = ",\n";
  }
  file << "\n}\n}\n";
  file.close();
  if (!file) throw Error(fmt::format("cannot write {}", path.string()));
}

}  // namespace kernelites::recorded
