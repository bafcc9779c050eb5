// SPDX-License-Identifier: Apache-2.0
// The PTX mutator and the launch of what it made.
#include "tests/vgpu/ptx_mutator.h"

#include <cctype>
#include <cstring>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker::vgpu {
namespace {

struct Slice {
  std::size_t begin = 0, size = 0;
};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("%._$", c) != nullptr;
}

/// A token that begins at or after a random place, or an empty slice.
Slice random_word(std::string_view text, MutationRandom& random) {
  std::size_t at = random.below(text.size());
  while (at > 0 && is_word(text[at]) && is_word(text[at - 1])) --at;
  while (at < text.size() && !is_word(text[at])) ++at;
  std::size_t end = at;
  while (end < text.size() && text[end] != '\0' && is_word(text[end])) ++end;
  return {at, end - at};
}

Slice random_line(std::string_view text, MutationRandom& random) {
  if (text.empty()) return {};
  const std::size_t at = random.below(text.size());
  const std::size_t before = text.rfind('\n', at == 0 ? 0 : at - 1);
  const std::size_t begin = before == std::string_view::npos || before >= at ? 0 : before + 1;
  return {begin, std::min(text.find('\n', at), text.size() - 1) - begin + 1};
}

/// A word of the same kind (register, number, opcode, directive), or any word after a few tries.
std::string_view similar_word(std::string_view like, std::string_view from, MutationRandom& random) {
  std::string_view found;
  for (int tries = 0; tries < 8; ++tries) {
    const Slice slice = random_word(from, random);
    found = from.substr(slice.begin, slice.size);
    if (!found.empty() && !like.empty() && found[0] == like[0]) break;
  }
  return found;
}

std::string some_number(MutationRandom& random) {
  static constexpr const char* k_numbers[] = {"0",
                                              "1",
                                              "2",
                                              "3",
                                              "4",
                                              "7",
                                              "8",
                                              "15",
                                              "16",
                                              "17",
                                              "31",
                                              "32",
                                              "33",
                                              "63",
                                              "64",
                                              "127",
                                              "128",
                                              "255",
                                              "256",
                                              "1023",
                                              "1024",
                                              "4096",
                                              "32767",
                                              "32768",
                                              "65535",
                                              "65536",
                                              "2147483647",
                                              "2147483648",
                                              "4294967295",
                                              "4294967296",
                                              "9223372036854775807",
                                              "9223372036854775808",
                                              "18446744073709551615",
                                              "0f7FFFFFFF",
                                              "0f00000001",
                                              "0fFF800000",
                                              "0d7FF0000000000000",
                                              "0d8000000000000001",
                                              "0f4F000000",
                                              "0x7fffffffffff",
                                              "99999999999999999999",
                                              "0x",
                                              "1.5",
                                              "0b",
                                              "4294967292"};
  const std::string sign = random.below(4) == 0 ? "-" : "";
  if (random.below(3) == 0) return sign + std::to_string(random() >> random.below(64));
  return sign + k_numbers[random.below(std::size(k_numbers))];
}

void mutate_number(std::string& text, MutationRandom& random) {
  std::size_t at = random.below(text.size());
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) == 0) ++at;
  std::size_t end = at;
  while (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])) != 0) ++end;
  text.replace(at, end - at, some_number(random));
}

/// "ld.global.u32" with one part exchanged, lost or doubled.
void mutate_opcode_part(std::string& text, std::string_view other, MutationRandom& random) {
  const Slice word = random_word(text, random);
  const std::size_t dot = text.find('.', word.begin + 1);
  if (dot >= word.begin + word.size) return;
  std::size_t end = dot + 1;
  while (end < word.begin + word.size && text[end] != '.') ++end;
  const Slice from = random_word(other, random);
  const std::string_view donor = other.substr(from.begin, from.size);
  const std::size_t donor_dot = donor.find('.');
  const std::size_t donor_end = donor_dot == std::string_view::npos ? 0 : donor.find('.', donor_dot + 1);
  const std::string part(
      donor_dot == std::string_view::npos ? "" : donor.substr(donor_dot, donor_end - donor_dot));
  text.replace(dot, random.below(4) == 0 ? 0 : end - dot, part);
}

void mutate_once(std::string& text, std::string_view other, MutationRandom& random) {
  if (text.empty()) return;
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2: {
      const Slice word = random_word(text, random);
      text.replace(word.begin, word.size,
                   std::string(similar_word(std::string_view(text).substr(word.begin, word.size),
                                            random.below(2) == 0 ? other : text, random)));
      return;
    }
    case 3:
    case 4:
      return mutate_number(text, random);
    case 5:
    case 6:
      return mutate_opcode_part(text, random.below(2) == 0 ? other : std::string(text), random);
    case 7: {
      const Slice line = random_line(text, random);
      text.erase(line.begin, line.size);
      return;
    }
    case 8: {
      const Slice line = random_line(text, random), to = random_line(text, random);
      text.insert(to.begin, std::string(text, line.begin, line.size));
      return;
    }
    case 9: {
      const Slice line = random_line(other, random), to = random_line(text, random);
      text.replace(to.begin, random.below(2) * to.size, std::string(other.substr(line.begin, line.size)));
      return;
    }
    case 10:
      if (random.below(4) == 0) text.resize(random.below(text.size()));
      text[random.below(std::max<std::size_t>(text.size(), 1))] =
          "{}[]();,@!%.0 -+<>=|:\"/*\0\xff"[random.below(26)];
      return;
    default: {
      const Slice first = random_word(text, random), second = random_word(text, random);
      const std::string word(text, second.begin, second.size);
      text.replace(first.begin, first.size, word);
    }
  }
}

}  // namespace

std::string mutate_ptx(std::string text, std::string_view other, MutationRandom& random, std::size_t limit) {
  for (std::size_t count = 1 + random.below(4); count > 0 && !text.empty(); --count)
    mutate_once(text, other, random);
  if (text.size() > limit) text.resize(limit);
  return text;
}

std::vector<std::string> split_ptx(std::string_view text) {
  std::string shared;
  std::vector<std::string_view> functions;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    end = end == std::string_view::npos ? text.size() : end + 1;
    const std::string_view line = text.substr(at, end - at);
    const bool is_function = line.starts_with(".visible") || line.starts_with(".func") ||
                             line.starts_with(".entry") || line.starts_with(".weak .func");
    if (is_function && line.find(".global") == std::string_view::npos) {
      const std::size_t close = text.find("\n}", at);
      end = close == std::string_view::npos ? text.size() : std::min(text.size(), close + 3);
      functions.push_back(text.substr(at, end - at));
    } else {
      shared += line;
    }
    at = end;
  }
  std::vector<std::string> parts;
  for (const std::string_view function : functions) parts.push_back(shared + std::string(function));
  return parts;
}

bool run_mutant(std::string_view text, std::uint64_t seed) {
  MutationRandom random{seed};
  try {
    const auto program = parse(text);
    std::size_t kernels = 0;
    for (const std::string& kernel : kernel_names(*program)) {
      if (++kernels > 4) break;
      const auto info = kernel_info(*program, kernel);
      if (info->parameter_bytes > 4096) continue;
      std::vector<float> input(256, 1.5f), output(256);
      std::vector<u32> words(256, 0);
      Memory memory;
      const u64 addresses[] = {memory.add(input.data(), input.size() * 4, "a", {.writable = false}),
                               memory.add(output.data(), output.size() * 4, "o", {.track_initialised = true}),
                               memory.add(words.data(), words.size() * 4, "w")};
      Launch launch{.kernel = kernel,
                    .grid = {1 + static_cast<u32>(random.below(3)), 1, 1},
                    .block = {random.below(4) == 0 ? 40u : 64u, 1, 1},
                    .cluster = {},
                    .dynamic_shared_bytes = static_cast<u32>(random.below(2)) * 512,
                    .parameters = {},
                    .cooperative = random.below(4) == 0};
      if (random.below(2) == 0) launch.cluster = launch.grid;
      launch.parameters.resize(info->parameter_bytes);
      std::size_t pointers = 0;
      for (const Parameter& parameter : info->parameters) {
        if (u64{parameter.offset} + parameter.bytes > info->parameter_bytes) continue;
        const u64 value = parameter.bytes == 8 ? addresses[pointers++ % 3] : 256;
        std::memcpy(launch.parameters.data() + parameter.offset, &value,
                    std::min<std::size_t>(8, parameter.bytes));
      }
      run(*program, memory, launch,
          {.threads = 1 + static_cast<unsigned>(random.below(8) == 0),
           .instruction_budget = 20'000,
           .schedule_seed = random.below(2) * random(),
           .checks = {},
           .collect_counts = random.below(2) == 0,
           .sample = {}});
    }
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace kernelites::worker::vgpu
