// SPDX-License-Identifier: Apache-2.0
// One function per group of metadata kinds: lengths, offsets, what follows from lengths, plain numbers.
#include "evaluators/worker/pipeline/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "engine/core/rng.h"
#include "evaluators/worker/pipeline/fill.h"

namespace kernelites::worker {
namespace {

using Values = std::vector<std::int32_t>;

/// What drawing one tensor needs.
struct MetadataDraw {
  const Task& task;
  const TensorSpec& tensor;
  const Fill& fill;
  const Workload& workload;
  const MetadataContents& drawn;
  Rng rng;

  std::int64_t count() const { return element_count(tensor, workload); }
  std::int64_t bound() const { return workload.dims.at(fill.of); }
  double number(const char* name) const { return fill_number(fill, name, formula_names(task, workload)); }
  std::int64_t whole(const char* name) const { return std::llround(number(name)); }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    if (high <= low) return low;
    return low + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
  }
};

std::int64_t drawn_length(MetadataDraw& draw, std::int64_t entry, std::int64_t special) {
  const std::string& kind = draw.fill.kind;
  const std::int64_t longest = draw.bound();
  if (kind == "lengths_full") return longest;
  if (kind == "lengths_one") return 1;
  if (kind == "lengths_with_empty") return entry == special ? 0 : draw.between(1, longest);
  if (kind == "lengths_short") return draw.between(0, std::min(draw.whole("largest"), longest));
  if (kind == "lengths_geometric")
    return std::max<std::int64_t>(1, longest >> std::min<std::int64_t>(entry, 62));
  if (kind == "lengths_skewed") {
    const double fraction = draw.number("fraction") * static_cast<double>(longest);
    return entry == special ? longest : std::clamp<std::int64_t>(std::llround(fraction), 1, longest);
  }
  if (kind == "lengths_near") {
    const std::int64_t tile = std::max<std::int64_t>(draw.whole("tile"), 1);
    return std::clamp<std::int64_t>(tile * draw.between(0, longest / tile) + draw.between(-1, 1), 1, longest);
  }
  const double least = draw.number("min_fraction") * static_cast<double>(longest);
  return draw.between(std::max<std::int64_t>(1, std::llround(least)), longest);
}

Values lengths(MetadataDraw& draw) {
  // Which entry is the special one is drawn, so that no fixed index can be special-cased.
  const std::int64_t special = draw.between(0, draw.count() - 1);
  Values values;
  for (std::int64_t i = 0; i < draw.count(); ++i)
    values.push_back(static_cast<std::int32_t>(drawn_length(draw, i, special)));
  if (draw.fill.kind == "lengths_geometric") draw.rng.shuffle(values);
  return values;
}

/// Borders of a partition of the bound's extent into count - 1 sequences.
Values offsets(MetadataDraw& draw) {
  const std::int64_t sequences = draw.count() - 1, total = draw.bound();
  if (sequences < 1) throw Error(fmt::format("{}: offsets need at least two entries", draw.tensor.name));
  std::vector<std::int64_t> borders{0};
  const std::int64_t special = draw.between(0, sequences - 1);
  const auto large = static_cast<std::int64_t>(draw.number("fraction") * static_cast<double>(total));
  for (std::int64_t i = 1; i < sequences; ++i) {
    if (draw.fill.kind == "offsets_even") {
      borders.push_back(total * i / sequences);
    } else if (draw.fill.kind == "offsets_skewed") {
      const std::int64_t small = (total - large) / std::max<std::int64_t>(sequences - 1, 1);
      borders.push_back(borders.back() + (i - 1 == special ? large : small));
    } else {
      borders.push_back(draw.between(0, total));
    }
  }
  std::sort(borders.begin(), borders.end());
  borders.push_back(total);
  if (draw.fill.kind == "offsets_with_empty" && sequences > 1) {
    const auto at = static_cast<std::size_t>(special);
    if (special + 1 < sequences) {
      borders[at + 1] = borders[at];
    } else {
      borders[at] = borders[at + 1];
    }
  }
  return {borders.begin(), borders.end()};
}

std::int32_t pages_of(std::int32_t length, std::int64_t page) {
  return static_cast<std::int32_t>((length + page - 1) / page);
}

Values offsets_of(const MetadataDraw& draw, const Values& sequence_lengths) {
  Values values{0};
  for (const std::int32_t length : sequence_lengths)
    values.push_back(values.back() + pages_of(length, std::max<std::int64_t>(draw.whole("unit"), 1)));
  return values;
}

/// Pages of each sequence, drawn from a shuffled pool; some shared with an earlier sequence or used twice in one.
std::vector<Values> drawn_pages(MetadataDraw& draw, const Values& sequence_lengths, Values& unused) {
  unused.resize(static_cast<std::size_t>(std::max<std::int64_t>(draw.whole("pages"), 1)));
  std::iota(unused.begin(), unused.end(), 0);
  draw.rng.shuffle(unused);
  const double shared = draw.number("shared"), repeated = draw.number("repeated");
  std::vector<Values> sequences;
  Values used;
  for (const std::int32_t length : sequence_lengths) {
    Values pages;
    for (std::int32_t j = 0; j < pages_of(length, draw.whole("page")); ++j) {
      const double coin = draw.rng.uniform();
      if (unused.size() == 1 || (coin < shared && !used.empty())) {
        // NOTE: one page is never used, so that there is one to which table entries beyond the length can point.
        if (used.empty()) used.push_back(unused.front());
        pages.push_back(used[draw.rng.below(used.size())]);
      } else if (coin < shared + repeated && !pages.empty()) {
        pages.push_back(pages[draw.rng.below(pages.size())]);
      } else {
        pages.push_back(unused.back());
        used.push_back(unused.back());
        unused.pop_back();
      }
    }
    sequences.push_back(std::move(pages));
  }
  return sequences;
}

Values page_table(MetadataDraw& draw, const Values& sequence_lengths) {
  Values unused;
  const auto sequences = drawn_pages(draw, sequence_lengths, unused);
  const auto width = static_cast<std::size_t>(tensor_shape(draw.tensor, draw.workload).back());
  Values values;
  for (const Values& pages : sequences) {
    if (pages.size() > width)
      throw Error(
          fmt::format("{}: {} pages do not fit into a row of {}", draw.tensor.name, pages.size(), width));
    values.insert(values.end(), pages.begin(), pages.end());
    for (std::size_t j = pages.size(); j < width; ++j)
      values.push_back(unused[draw.rng.below(unused.size())]);
  }
  return values;
}

Values page_list(MetadataDraw& draw, const Values& sequence_lengths) {
  Values values, unused;
  for (const Values& pages : drawn_pages(draw, sequence_lengths, unused))
    values.insert(values.end(), pages.begin(), pages.end());
  const auto capacity = static_cast<std::size_t>(draw.count());
  if (values.size() > capacity)
    throw Error(fmt::format("{}: {} pages do not fit into {}", draw.tensor.name, values.size(), capacity));
  while (values.size() < capacity) values.push_back(unused[draw.rng.below(unused.size())]);
  return values;
}

Values last_pages(const MetadataDraw& draw, const Values& sequence_lengths) {
  Values values;
  for (const std::int32_t length : sequence_lengths) {
    const auto page = static_cast<std::int32_t>(std::max<std::int64_t>(draw.whole("page"), 1));
    values.push_back(length == 0 ? 0 : length - page * (pages_of(length, page) - 1));
  }
  return values;
}

Values permutations(MetadataDraw& draw) {
  Values order(static_cast<std::size_t>(draw.bound())), values;
  std::iota(order.begin(), order.end(), 0);
  while (static_cast<std::int64_t>(values.size()) < draw.count()) {
    draw.rng.shuffle(order);
    values.insert(values.end(), order.begin(), order.end());
  }
  return values;
}

Values numbers(MetadataDraw& draw) {
  Values values;
  for (std::int64_t i = 0; i < draw.count(); ++i)
    values.push_back(static_cast<std::int32_t>(draw.between(draw.whole("low"), draw.whole("high"))));
  return values;
}

Values contents(MetadataDraw draw) {
  const std::string& kind = draw.fill.kind;
  if (kind.starts_with("lengths_")) return lengths(draw);
  if (kind == "permutation") return permutations(draw);
  if (kind == "numbers") return numbers(draw);
  if (draw.fill.lengths.empty()) return offsets(draw);
  const Values& of = draw.drawn.at(draw.fill.lengths);
  if (kind == "offsets_of") return offsets_of(draw, of);
  if (kind == "page_table") return page_table(draw, of);
  if (kind == "page_list") return page_list(draw, of);
  KERNELITES_ASSERT(kind == "last_page");
  return last_pages(draw, of);
}

std::vector<LeadingEntry> paged_map(const TensorSpec& tensor, const std::vector<std::int64_t>& shape,
                                    const MetadataContents& metadata, std::size_t table_width) {
  const Values& lengths_drawn = metadata.at(tensor.valid->lengths);
  const Values& table = metadata.at(tensor.valid->table);
  const auto slots = static_cast<std::int32_t>(shape[1]);
  std::vector<LeadingEntry> map(static_cast<std::size_t>(shape[0]));
  for (std::size_t page = 0; page < map.size(); ++page)
    map[page] = {.owner = -1 - static_cast<std::int32_t>(page), .start = 0, .count = slots, .valid = 0};
  for (std::size_t b = 0; b < lengths_drawn.size(); ++b) {
    for (std::int32_t j = 0; j < pages_of(lengths_drawn[b], slots); ++j) {
      LeadingEntry& entry =
          map.at(static_cast<std::size_t>(table[b * table_width + static_cast<std::size_t>(j)]));
      // A shared page follows the trend of the sequence that had it first.
      if (entry.valid == 0)
        entry = {.owner = static_cast<std::int32_t>(b), .start = j * slots, .count = lengths_drawn[b]};
      entry.valid = std::max(entry.valid, std::min(slots, lengths_drawn[b] - j * slots));
    }
  }
  return map;
}

std::vector<LeadingEntry> packed_map(std::int64_t extent, const Values& borders) {
  std::vector<LeadingEntry> map(static_cast<std::size_t>(extent),
                                LeadingEntry{.owner = -1, .start = 0, .count = 1});
  for (std::size_t b = 0; b + 1 < borders.size(); ++b) {
    for (std::int32_t i = borders[b]; i < borders[b + 1]; ++i) {
      map.at(static_cast<std::size_t>(i)) = {.owner = static_cast<std::int32_t>(b),
                                             .start = i - borders[b],
                                             .count = borders[b + 1] - borders[b],
                                             .valid = 1};
    }
  }
  return map;
}

}  // namespace

MetadataContents draw_metadata(const Task& task, const Workload& workload, std::size_t rotation,
                               const Key& key) {
  MetadataContents drawn;
  // What follows from lengths comes after them.
  for (const bool follows : {false, true}) {
    for (std::size_t i = 0; i < task.tensors.size(); ++i) {
      const TensorSpec& tensor = task.tensors[i];
      if (tensor.role != Role::metadata) continue;
      const Fill& fill = tensor.fill.at(rotation % tensor.fill.size());
      if (find_fill_kind(fill.kind)->place != FillPlace::host || fill.lengths.empty() == follows) continue;
      Values values = contents({.task = task,
                                .tensor = tensor,
                                .fill = fill,
                                .workload = workload,
                                .drawn = drawn,
                                .rng = Rng(key.derive("tensor", i).seed())});
      const auto count = static_cast<std::size_t>(element_count(tensor, workload));
      if (values.size() != count)
        throw Error(fmt::format("metadata '{}': {} draws {} entries, its shape has {}", tensor.name,
                                fill.kind, values.size(), count));
      drawn[tensor.name] = std::move(values);
    }
  }
  return drawn;
}

std::map<std::string, double> metadata_sums(const MetadataContents& metadata) {
  std::map<std::string, double> sums;
  for (const auto& [name, values] : metadata) sums[name] = std::accumulate(values.begin(), values.end(), 0.0);
  return sums;
}

std::vector<LeadingEntry> leading_map(const Task& task, const TensorSpec& tensor, const Workload& workload,
                                      const MetadataContents& metadata) {
  const std::vector<std::int64_t> shape = tensor_shape(tensor, workload);
  const ValidPart& part = *tensor.valid;
  if (!part.offsets.empty()) return packed_map(shape[0], metadata.at(part.offsets));
  if (!part.table.empty()) {
    const auto width = tensor_shape(task.tensor(part.table), workload).back();
    return paged_map(tensor, shape, metadata, static_cast<std::size_t>(width));
  }
  std::vector<LeadingEntry> map;
  for (const std::int32_t length : metadata.at(part.lengths)) {
    map.push_back(
        {.owner = static_cast<std::int32_t>(map.size()), .start = 0, .count = length, .valid = length});
  }
  return map;
}

}  // namespace kernelites::worker
