// SPDX-License-Identifier: Apache-2.0
// Decodes the stream of `kernelites_plans`.
#include "evaluators/worker/contract/plan_reader.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "evaluators/worker/contract/plan_batch.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {
namespace {

/// "KLPLAN01", the first word (headers/plan.cuh).
constexpr std::uint64_t k_magic = 0x31304e414c504c4b;
constexpr std::int64_t k_stream_bytes_max = std::int64_t{64} << 20;
constexpr std::int64_t k_text_bytes_max = 159;

/// What is wrong with a stream; becomes a verdict.
struct ReadFailure {
  std::string code, words;
};

/// Names of `detail::PlanError` (headers/plan.cuh), in its order.
ReadFailure plan_error(std::int64_t code, std::int64_t index) {
  switch (code) {
    case 1:
      return {"plan_too_many_launches", fmt::format("the plan has more than {} launches", k_launches_max)};
    case 2:
      return {"plan_too_many_arguments",
              fmt::format("launch {} has more than {} arguments", index, k_arguments_max)};
    case 3:
      return {
          "plan_kernel_name_too_long",
          fmt::format("the kernel name of launch {} is longer than {} characters", index, k_text_bytes_max)};
    case 4:
      return {"plan_too_many_workspaces",
              fmt::format("the plan has more than {} workspaces", k_workspaces_max)};
    case 5:
      return {"plan_too_many_tensor_maps",
              fmt::format("the plan has more than {} tensor maps", k_tensor_maps_max)};
    case 6:
      return {"plan_bad_axes",
              fmt::format("tensor map {} names an axis that its tensor does not have", index)};
    default:
      return {"plan_unreadable", "the plan records an unknown error"};
  }
}

/// Bounds-checked view of the words.
class WordReader {
 public:
  explicit WordReader(std::vector<std::uint64_t> words) : words_(std::move(words)) {}

  std::int64_t word() {
    if (at_ >= words_.size()) throw ReadFailure{"plan_unreadable", "the plan data ends early"};
    return static_cast<std::int64_t>(words_[at_++]);
  }
  std::int64_t within(std::int64_t low, std::int64_t high, const char* what) {
    const std::int64_t value = word();
    if (value < low || value > high) {
      throw ReadFailure{"plan_out_of_range",
                        fmt::format("{} is {}; allowed are {} to {}", what, value, low, high)};
    }
    return value;
  }
  std::string text() {
    const std::int64_t bytes = within(0, k_text_bytes_max, "a text length");
    std::string text;
    for (std::int64_t i = 0; i < bytes; i += 8) {
      const std::uint64_t packed = static_cast<std::uint64_t>(word());
      for (int k = 0; k < 8 && i + k < bytes; ++k) text.push_back(static_cast<char>(packed >> (8 * k)));
    }
    return text;
  }
  std::size_t at() const { return at_; }
  PlanWords since(std::size_t begin) const {
    return {words_.begin() + static_cast<std::ptrdiff_t>(begin),
            words_.begin() + static_cast<std::ptrdiff_t>(at_)};
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t at_ = 0;
};

std::array<std::uint32_t, 3> read_extents(WordReader& reader, const char* what) {
  std::array<std::uint32_t, 3> extents{};
  for (std::uint32_t& extent : extents) {
    extent = static_cast<std::uint32_t>(reader.within(0, std::numeric_limits<std::uint32_t>::max(), what));
  }
  return extents;
}

int read_int(WordReader& reader, const char* what) {
  return static_cast<int>(
      reader.within(std::numeric_limits<int>::min(), std::numeric_limits<int>::max(), what));
}

Argument read_argument(WordReader& reader) {
  Argument argument;
  argument.kind = static_cast<ArgumentKind>(reader.within(0, 6, "an argument kind"));
  const std::int64_t value = reader.word();
  switch (argument.kind) {
    case ArgumentKind::i32:
    case ArgumentKind::i64:
      argument.integer = value;
      break;
    case ArgumentKind::f32:
    case ArgumentKind::f64:
      std::memcpy(&argument.real, &value, sizeof value);
      break;
    default:
      if (value < 0 || value > 1024)
        throw ReadFailure{"plan_unreadable", "an argument names nothing that exists"};
      argument.index = static_cast<int>(value);
  }
  return argument;
}

PlannedLaunch read_launch(WordReader& reader) {
  PlannedLaunch launch;
  launch.kernel = reader.text();
  launch.grid = read_extents(reader, "a grid extent");
  launch.block = read_extents(reader, "a block extent");
  launch.cluster = read_extents(reader, "a cluster extent");
  launch.shared_bytes = static_cast<std::uint32_t>(
      reader.within(0, std::numeric_limits<std::int32_t>::max(), "dynamic shared memory in bytes"));
  const std::int64_t flags = reader.within(0, 7, "the launch flags");
  launch.is_cooperative = (flags & 1) != 0;
  launch.is_programmatic = (flags & 2) != 0;
  launch.is_prepare = (flags & 4) != 0;
  launch.carveout_percent = read_int(reader, "the carve-out");
  launch.priority = read_int(reader, "the priority");
  launch.after = read_int(reader, "the launch number of after()");
  const std::int64_t count = reader.within(0, k_arguments_max, "the number of arguments");
  for (std::int64_t i = 0; i < count; ++i) launch.arguments.push_back(read_argument(reader));
  return launch;
}

TensorMap read_map(WordReader& reader) {
  TensorMap map;
  map.is_workspace = reader.within(0, 1, "a tensor map's memory") != 0;
  map.index = static_cast<int>(reader.within(0, 1024, "a tensor map's tensor"));
  map.dtype = static_cast<Dtype>(reader.within(0, static_cast<int>(Dtype::i64), "a tensor map's dtype"));
  map.rank = static_cast<int>(reader.within(1, 5, "a tensor map's rank"));
  for (int axis = 0; axis < map.rank; ++axis) {
    const auto i = static_cast<std::size_t>(axis);
    map.extent[i] = reader.word();
    map.stride_bytes[i] = reader.word();
    map.box[i] = static_cast<std::uint32_t>(
        reader.within(0, std::numeric_limits<std::uint32_t>::max(), "a box extent"));
    map.element_stride[i] = static_cast<std::uint32_t>(reader.within(0, 1 << 20, "a tensor map's step"));
  }
  map.swizzle_bytes = static_cast<int>(reader.within(0, 1024, "a swizzle"));
  map.l2_promotion_bytes = static_cast<int>(reader.within(0, 1024, "an L2 promotion"));
  map.offset_bytes = reader.word();
  return map;
}

/// Throws for an error that the plan recorded, unless `keeps_errors`.
LaunchPlan read_plan(WordReader& reader, bool keeps_errors = false) {
  LaunchPlan plan;
  const std::int64_t error = reader.word();
  const std::int64_t index = reader.word();
  if (error != 0 && !keeps_errors) throw plan_error(error, index);
  plan.unsupported = reader.text();
  const std::int64_t launches = reader.within(0, k_launches_max, "the number of launches");
  for (std::int64_t i = 0; i < launches; ++i) plan.launches.push_back(read_launch(reader));
  const std::int64_t workspaces = reader.within(0, k_workspaces_max, "the number of workspaces");
  for (std::int64_t i = 0; i < workspaces; ++i) {
    Workspace workspace;
    workspace.bytes = reader.word();
    workspace.alignment = reader.word();
    workspace.kind = static_cast<WorkspaceKind>(reader.within(0, 3, "a workspace's kind"));
    plan.workspaces.push_back(workspace);
  }
  const std::int64_t maps = reader.within(0, k_tensor_maps_max, "the number of tensor maps");
  for (std::int64_t i = 0; i < maps; ++i) plan.tensor_maps.push_back(read_map(reader));
  return plan;
}

/// Where the symbol's declaration stands; throws unless there is exactly one with an initialiser.
struct Initialiser {
  std::int64_t element_bytes = 0, elements = 0;
  std::size_t first = 0;  ///< token after "{"
};

Initialiser find_initialiser(const std::vector<PtxToken>& tokens) {
  std::optional<Initialiser> found;
  for (std::size_t i = 1; i + 6 < tokens.size(); ++i) {
    if (tokens[i].text != k_plans_symbol || tokens[i].is_string || tokens[i + 1].text != "[") continue;
    Initialiser here{.element_bytes =
                         ptx_type_bytes(tokens[i - 1].text.substr(tokens[i - 1].text.empty() ? 0 : 1))};
    const std::string_view size = tokens[i + 2].text;
    std::from_chars(size.data(), size.data() + size.size(), here.elements);
    if (here.element_bytes == 0 || tokens[i + 4].text != "=" || tokens[i + 5].text != "{") continue;
    here.first = i + 6;
    if (found) throw ReadFailure{"plan_unreadable", "the plan data is defined twice"};
    found = here;
  }
  if (!found) throw ReadFailure{"plan_missing", "the compiled plan holds no data"};
  if (found->elements <= 0 || found->elements > k_stream_bytes_max / found->element_bytes) {
    throw ReadFailure{"plan_unreadable", "the plan data has a wrong size"};
  }
  return *found;
}

std::vector<std::uint64_t> read_words(std::string_view ptx) {
  const std::vector<PtxToken> tokens = tokenize_ptx(ptx);
  const Initialiser initialiser = find_initialiser(tokens);
  std::vector<unsigned char> bytes(
      static_cast<std::size_t>(initialiser.elements * initialiser.element_bytes));
  std::size_t at = 0;
  bool is_negative = false;
  for (std::size_t i = initialiser.first; i < tokens.size() && tokens[i].text != "}"; ++i) {
    const std::string_view text = tokens[i].text;
    if (text == ",") continue;
    if (text == "-") {
      is_negative = true;
      continue;
    }
    std::uint64_t value = 0;
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = is_hex ? text.substr(2) : text;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
    const bool is_whole = error == std::errc() && (end == digits.data() + digits.size() || *end == 'U');
    const auto width = static_cast<std::size_t>(initialiser.element_bytes);
    if (!is_whole || at + width > bytes.size())
      throw ReadFailure{"plan_unreadable", "the plan data is no list of numbers"};
    if (is_negative) value = ~value + 1;
    is_negative = false;
    std::memcpy(bytes.data() + at, &value, width);
    at += width;
  }
  std::vector<std::uint64_t> words(bytes.size() / 8);
  if (!words.empty()) std::memcpy(words.data(), bytes.data(), words.size() * 8);
  return words;
}

}  // namespace

namespace {

/// Calls `read` for every plan of the stream. A failure is thrown only within this file, to leave the nested readers.
template <typename Result, typename Read>
std::variant<std::vector<Result>, Verdict> read_each(std::string_view ptx, std::size_t points, Read read) {
  try {
    WordReader reader(read_words(ptx));
    if (static_cast<std::uint64_t>(reader.word()) != k_magic ||
        static_cast<std::uint64_t>(reader.word()) != points) {
      throw ReadFailure{"plan_unreadable", "the plan data does not begin as it should"};
    }
    std::vector<Result> results;
    for (std::size_t i = 0; i < points; ++i) results.push_back(read(reader));
    return results;
  } catch (const ReadFailure& failure) {
    return Verdict::failed("plan", failure.code, failure.words);
  }
}

}  // namespace

std::variant<std::vector<LaunchPlan>, Verdict> read_plans(std::string_view ptx, std::size_t points) {
  return read_each<LaunchPlan>(ptx, points, [](WordReader& reader) { return read_plan(reader); });
}

std::variant<std::vector<PlanWords>, Verdict> read_plan_words(std::string_view ptx, std::size_t points) {
  return read_each<PlanWords>(ptx, points, [](WordReader& reader) {
    const std::size_t begin = reader.at();
    read_plan(reader, true);
    return reader.since(begin);
  });
}

std::variant<LaunchPlan, Verdict> decode_plan(const PlanWords& words) {
  try {
    WordReader reader(words);
    return read_plan(reader);
  } catch (const ReadFailure& failure) {
    return Verdict::failed("plan", failure.code, failure.words);
  }
}

}  // namespace kernelites::worker
