// SPDX-License-Identifier: Apache-2.0
// Reading jobs, and drawing the contents of their buffers.
#include "evaluators/worker/kernel_run/kernel_job.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

constexpr double k_exact_integer = 0x1p53;
constexpr std::size_t k_buffers_max = 64, k_launches_in_job_max = 256;

Contents parse_contents(const Json& json, const std::string& where, const std::string& path) {
  Contents contents;
  if (json == "unwritten") return contents;
  ObjectReader reader(json, where, path);
  const auto range = [&](const char* key, Contents::Kind kind) {
    const auto ends = reader.required<std::vector<double>>(key);
    if (ends.size() != 2) reader.fail(key, "expected two numbers");
    contents.kind = kind;
    contents.low = ends[0];
    contents.high = ends[1];
  };
  if (reader.has("constant")) {
    contents.kind = Contents::Kind::constant;
    contents.low = reader.required<double>("constant");
  } else if (reader.has("uniform")) {
    range("uniform", Contents::Kind::uniform);
  } else if (reader.has("integers")) {
    range("integers", Contents::Kind::integers);
    if (!(contents.high >= contents.low)) reader.fail("integers", "expected the smaller number first");
    if (contents.low < -k_exact_integer || contents.high > k_exact_integer)
      reader.fail("integers", "expected integers that a double holds, -2^53 to 2^53");
  } else if (reader.has("sequence")) {
    range("sequence", Contents::Kind::sequence);
    contents.modulus = reader.optional<double>("modulus", 0);
  } else if (reader.has("values")) {
    contents.kind = Contents::Kind::values;
    contents.values = reader.required<std::vector<double>>("values");
    if (contents.values.empty()) reader.fail("values", "expected at least one number");
  } else {
    reader.fail("", "expected \"unwritten\" or one of constant, uniform, integers, sequence, values");
  }
  reader.finish();
  return contents;
}

JobBuffer parse_buffer(const Json& json, const std::string& where, const std::string& path) {
  ObjectReader reader(json, where, path);
  JobBuffer buffer;
  buffer.name = reader.required<std::string>("name");
  const auto type = find_element_type(reader.required<std::string>("dtype"));
  if (!type) reader.fail("dtype", "expected one of " + element_type_names());
  buffer.type = *type;
  buffer.count = reader.required<std::int64_t>("count");
  if (buffer.count < 1 || buffer.count > k_job_buffer_bytes_max / buffer.type.bytes)
    reader.fail("count", "expected 1 element to 1 GiB");
  buffer.is_output = reader.optional<bool>("output", false);
  buffer.tolerance = reader.optional<double>("tolerance", buffer.type.tolerance);
  if (reader.has("contents"))
    buffer.contents = parse_contents(reader.member("contents"), where, reader.field("contents"));
  else if (!buffer.is_output)
    reader.fail("contents", "expected the contents of an input");
  reader.finish();
  return buffer;
}

/// {"buffer": "q", "offset": 16}, {"i32": 5}, or {"hex": "00ff"}.
JobArgument parse_argument(const Json& json, const KernelJob& job, const std::string& where,
                           const std::string& path) {
  ObjectReader reader(json, where, path);
  JobArgument argument;
  if (reader.has("buffer")) {
    const auto name = reader.required<std::string>("buffer");
    for (std::size_t i = 0; i < job.buffers.size(); ++i)
      if (job.buffers[i].name == name) argument.buffer = static_cast<int>(i);
    if (argument.buffer < 0) reader.fail("buffer", "names no buffer of this job");
    argument.offset = reader.optional<std::int64_t>("offset", 0);
    reader.finish();
    return argument;
  }
  if (json.size() != 1) reader.fail("", "expected a buffer or one scalar");
  const std::string key = json.begin().key();
  if (key == "hex") {
    const auto digits = reader.required<std::string>("hex");
    const auto is_hex = [](char c) {
      return std::string_view("0123456789abcdef").find(c) != std::string_view::npos;
    };
    for (std::size_t i = 0; i < digits.size(); i += 2) {
      if (i + 1 >= digits.size() || !is_hex(digits[i]) || !is_hex(digits[i + 1]))
        reader.fail("hex", "expected pairs of the digits 0-9 and a-f");
      argument.bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    return argument;
  }
  const auto type = find_element_type(key);
  if (!type) reader.fail(key, "expected buffer, hex or one of " + element_type_names());
  const std::uint64_t bits = type->kind == ElementType::Kind::real
                                 ? encode_element(*type, reader.required<double>(key.c_str()))
                                 : static_cast<std::uint64_t>(reader.required<std::int64_t>(key.c_str()));
  argument.bytes.resize(static_cast<std::size_t>(type->bytes));
  std::memcpy(argument.bytes.data(), &bits, argument.bytes.size());
  return argument;
}

std::array<std::uint32_t, 3> parse_extent(ObjectReader& reader, const char* key) {
  std::array<std::uint32_t, 3> extent{1, 1, 1};
  const auto values = reader.optional<std::vector<std::uint32_t>>(key, {1});
  if (values.empty() || values.size() > 3) reader.fail(key, "expected one to three numbers");
  std::copy(values.begin(), values.end(), extent.begin());
  for (const std::uint32_t value : extent)
    if (value == 0) reader.fail(key, "expected numbers above 0");
  return extent;
}

JobLaunch parse_launch(const Json& json, const KernelJob& job, const std::string& where,
                       const std::string& path) {
  ObjectReader reader(json, where, path);
  JobLaunch launch;
  launch.kernel = reader.required<std::string>("kernel");
  launch.grid = parse_extent(reader, "grid");
  launch.block = parse_extent(reader, "block");
  launch.cluster = parse_extent(reader, "cluster");
  launch.shared_bytes = reader.optional<std::uint32_t>("shared_bytes", 0);
  launch.is_cooperative = reader.optional<bool>("cooperative", false);
  const Json& arguments = reader.member("arguments");
  if (!arguments.is_array()) reader.fail("arguments", "expected a list");
  for (std::size_t i = 0; i < arguments.size(); ++i)
    launch.arguments.push_back(
        parse_argument(arguments[i], job, where, fmt::format("{}[{}]", reader.field("arguments"), i)));
  reader.finish();
  return launch;
}

double drawn(const Contents& contents, std::int64_t index, Rng& rng) {
  switch (contents.kind) {
    case Contents::Kind::unwritten:
      return 0;
    case Contents::Kind::constant:
      return contents.low;
    case Contents::Kind::uniform:
      return contents.low + (contents.high - contents.low) * rng.uniform();
    case Contents::Kind::integers:
      return contents.low +
             static_cast<double>(rng.below(static_cast<std::uint64_t>(contents.high - contents.low) + 1));
    case Contents::Kind::sequence: {
      const double value = contents.low + contents.high * static_cast<double>(index);
      return contents.modulus > 0 ? std::fmod(value, contents.modulus) : value;
    }
    case Contents::Kind::values:
      return contents.values[static_cast<std::size_t>(index) % contents.values.size()];
  }
  return 0;
}

}  // namespace

KernelJob parse_kernel_job(const Json& json, const std::filesystem::path& file) {
  const std::string where = file.string();
  ObjectReader reader(json, where);
  KernelJob job;
  job.name = file.stem().string();
  job.source = file.parent_path() / reader.required<std::string>("source");
  if (job.source.extension() != ".cu" && job.source.extension() != ".ptx")
    reader.fail("source", "expected a .cu or a .ptx file");
  job.options = reader.optional<std::vector<std::string>>("options", {});
  job.seed = reader.optional<std::uint64_t>("seed", 1);
  const auto list = [&](const char* key, std::size_t most) -> const Json& {
    const Json& values = reader.member(key);
    if (!values.is_array() || values.empty() || values.size() > most)
      reader.fail(key, fmt::format("expected a list of 1 to {}", most));
    return values;
  };
  const Json& buffers = list("buffers", k_buffers_max);
  for (std::size_t i = 0; i < buffers.size(); ++i)
    job.buffers.push_back(parse_buffer(buffers[i], where, fmt::format("buffers[{}]", i)));
  const Json& launches = list("launches", k_launches_in_job_max);
  for (std::size_t i = 0; i < launches.size(); ++i)
    job.launches.push_back(parse_launch(launches[i], job, where, fmt::format("launches[{}]", i)));
  reader.finish();
  return job;
}

KernelJob read_kernel_job(const std::filesystem::path& file) {
  return parse_kernel_job(read_json(file), file);
}

std::vector<std::byte> initial_bytes(const KernelJob& job, const JobBuffer& buffer) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(buffer.bytes()), std::byte{0xff});
  if (buffer.contents.kind == Contents::Kind::unwritten) return bytes;
  Rng rng = Rng::keyed(job.seed, 0, buffer.name);
  const auto size = static_cast<std::size_t>(buffer.type.bytes);
  for (std::int64_t i = 0; i < buffer.count; ++i) {
    const std::uint64_t bits = encode_element(buffer.type, drawn(buffer.contents, i, rng));
    std::memcpy(bytes.data() + static_cast<std::size_t>(i) * size, &bits, size);
  }
  return bytes;
}

}  // namespace kernelites::worker
