// SPDX-License-Identifier: Apache-2.0
// The table of counters against CUPTI's own scheduler, which needs no GPU.
#include "evaluators/worker/counters/counter_table.h"

#include <optional>
#include <set>

#include "engine/core/error.h"
#include "evaluators/worker/counters/counter_host.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// CUPTI, or nothing on a machine without a toolkit.
std::optional<CuptiLibrary> cupti_here() {
  try {
    return open_cupti({"/usr/local/cuda"});
  } catch (const Error& error) {
    WARN(error.what());
    return std::nullopt;
  }
}

std::vector<const char*> metrics_of(CounterGroup group) {
  std::vector<const char*> metrics;
  for (const CounterRow& row : counters_of(group)) metrics.push_back(row.metric.data());
  return metrics;
}

constexpr int k_groups = static_cast<int>(CounterGroup::count_);

}  // namespace

TEST_CASE("each counter belongs to one group, the groups make up the table, and names are unique") {
  std::size_t rows = 0;
  std::set<std::string_view> names;
  for (int group = 0; group < k_groups; ++group) {
    CHECK_FALSE(counters_of(static_cast<CounterGroup>(group)).empty());
    CHECK_FALSE(to_string(static_cast<CounterGroup>(group)).empty());
    rows += counters_of(static_cast<CounterGroup>(group)).size();
  }
  for (const CounterRow& row : counter_table()) names.insert(row.name);
  CHECK(rows == counter_table().size());
  CHECK(names.size() == counter_table().size());
}

TEST_CASE("on GH100 every group exists and takes one replay") {
  const auto cupti = cupti_here();
  if (!cupti) return;
  for (int group = 0; group < k_groups; ++group) {
    INFO(to_string(static_cast<CounterGroup>(group)));
    CounterHost host(*cupti, "GH100");
    CHECK(host.configure(metrics_of(static_cast<CounterGroup>(group))).passes == 1);
  }
}

TEST_CASE("a metric that the chip lacks is an error that says so") {
  const auto cupti = cupti_here();
  if (!cupti) return;
  CounterHost host(*cupti, "GH100");
  CHECK_THROWS_WITH(host.configure({"sm__no_such_metric.sum"}), Catch::Contains("config_add_metrics"));
  CHECK_THROWS_WITH(CounterHost(*cupti, "GX999"), Catch::Contains("host_initialize"));
}
