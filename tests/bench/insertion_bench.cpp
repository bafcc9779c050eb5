// SPDX-License-Identifier: Apache-2.0
// Insertions into a grid in memory and into a database, and choices from them.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "archive/archive.h"
#include "archive/elite_rule.h"
#include "archive/qd_metrics.h"
#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "engine/core/statistics.h"
#include "engine/search/selection.h"
#include "tests/bench/archive_measures.h"

namespace kernelites {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr double k_sync_step_s = 0.25;  // as the loop does

double now_s() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// One candidate of a fixed stream: the number of its cell, and its speed-up.
struct Drawn {
  std::size_t cell;
  double objective;
};

std::vector<Drawn> drawn_stream(std::size_t cells, int count) {
  Rng rng(20);
  std::vector<Drawn> stream;
  for (int i = 0; i < count; ++i) {
    const double spread = rng.uniform() + rng.uniform() + rng.uniform() - 1.5;
    stream.push_back({std::min(rng.below(cells), rng.below(cells)), std::exp(spread)});
  }
  return stream;
}

Descriptors descriptors_of(const std::string& cell, std::span<const Axis> axes) {
  Descriptors descriptors;
  std::size_t at = 0;
  for (const Axis& axis : axes) {
    const std::size_t end = std::min(cell.find('/', at), cell.size());
    descriptors[std::string(axis.name)] = cell.substr(at, end - at);
    at = end + 1;
  }
  return descriptors;
}

/// The evidence that placement would hand to the rule: timed against whoever holds the cell.
Evidence evidence_of(const Grid& grid, const std::string& cell, const Descriptors& descriptors,
                     std::uint64_t ordinal, double objective) {
  Evidence evidence{.ordinal = ordinal,
                    .candidate_id = fmt::format("{:064x}", ordinal),
                    .is_passed = true,
                    .descriptors = descriptors};
  DuelEvidence duel{.duel_id = fmt::format("{}-duel-0", ordinal), .is_passed = true, .speedup = objective};
  if (const Elite* elite = grid.find(cell)) {
    const double ratio = std::log(elite->fitness / objective);
    duel.incumbent_id = elite->candidate_id;
    duel.ratio =
        PairedRatio{.log_ratio_median = ratio, .log_ratio_low = ratio, .log_ratio_high = ratio, .rounds = 30};
    duel.ratio->confidence = 1;
  }
  evidence.duel = std::move(duel);
  return evidence;
}

void write_stream(const std::string& file, const Grid& grid, const std::vector<Drawn>& stream) {
  std::ofstream out(file);
  out << grid.cell_count() << " " << stream.size() << "\n";
  for (const Drawn& drawn : stream) out << fmt::format("{} {:.17g}\n", drawn.cell, drawn.objective);
  if (!out.flush()) throw Error(file + ": cannot be written");
}

}  // namespace

void print_measure(Json row) {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  row["load"] = load;
  std::printf("%s\n", row.dump().c_str());
  std::fflush(stdout);
}

void measure_insertions(const InsertionOptions& options) {
  Grid grid(axes_of_family("decode"));
  const std::vector<Drawn> stream = drawn_stream(grid.cell_count(), options.count);
  std::vector<Descriptors> descriptors;
  for (const std::string& cell : grid.cells()) descriptors.push_back(descriptors_of(cell, grid.axes()));
  const EliteRule rule{.effect_min = 0, .needs_confirmation = false};
  std::int64_t placed = 0;
  const double begin = now_s();
  for (std::size_t i = 0; i < stream.size(); ++i) {
    const Drawn& drawn = stream[i];
    Decision decision = decide_insert(
        grid, evidence_of(grid, grid.cells()[drawn.cell], descriptors[drawn.cell], i + 1, drawn.objective),
        rule);
    if (!decision.elite) continue;
    grid.put(std::move(*decision.elite));
    ++placed;
  }
  const double spent = now_s() - begin;
  if (!options.stream.empty()) write_stream(options.stream, grid, stream);
  Json row{{"measure", "insertions"}, {"n", options.count}, {"cells", grid.cell_count()},
           {"placed", placed},        {"seconds", spent},   {"per_second", options.count / spent}};
  row.update(Json(qd_metrics(grid)));
  print_measure(std::move(row));
}

void measure_durable(const DurableOptions& options) {
  const std::filesystem::path folder = std::filesystem::path(options.folder) / "archive_bench_durable";
  std::filesystem::remove_all(folder);
  RunRecord run;
  run.task = "bench";
  run.configuration = {{"axes", axis_names_of_family("decode")}};
  {
    Archive archive = Archive::create(folder, run);
    Grid grid = archive.grid();
    const std::vector<Drawn> stream = drawn_stream(grid.cell_count(), options.count);
    const EliteRule rule{.effect_min = 0, .needs_confirmation = false};
    double tell_s = 0;
    std::int64_t placed = 0, syncs = 0;
    const double begin = now_s();
    double synced = begin;
    for (std::size_t i = 0; i < stream.size(); ++i) {
      const std::uint64_t ordinal = i + 1;
      const std::string& cell = grid.cells()[stream[i].cell];
      const Evidence evidence =
          evidence_of(grid, cell, descriptors_of(cell, grid.axes()), ordinal, stream[i].objective);
      archive.record_variation({.ordinal = ordinal, .operator_name = "refine"});
      CandidateRecord record{.ordinal = ordinal, .id = evidence.candidate_id, .variation = ordinal};
      record.candidate.source = std::string(4096, '/');
      archive.record_candidate(record);
      archive.record_request_sent({.request_id = evidence.duel->duel_id, .ordinal = ordinal, .verb = "duel"});
      archive.record_duel(evidence.duel->duel_id, Duel{.verdict = Verdict::passed()}, {}, 1, 1);
      const Decision decision = decide_insert(grid, evidence, rule);
      Outcome outcome{
          .ordinal = ordinal, .status = insert_status_name(decision.status), .elite = decision.elite};
      const double before = now_s();
      archive.tell(outcome);
      if (now_s() - synced >= k_sync_step_s) {
        archive.sync();
        synced = now_s();
        ++syncs;
      }
      tell_s += now_s() - before;
      if (decision.elite) grid.put(*decision.elite);
      placed += decision.elite ? 1 : 0;
    }
    const double spent = now_s() - begin;
    print_measure({{"measure", "durable"},
                   {"n", options.count},
                   {"placed", placed},
                   {"syncs", syncs},
                   {"tellings_per_second", options.count / tell_s},
                   {"candidates_per_second", options.count / spent},
                   {"transactions_per_candidate", 5}});
  }
  std::filesystem::remove_all(folder);
}

void measure_selection(int count) {
  constexpr int k_candidates = 100'000;
  Grid grid(axes_of_family("decode"));
  Choices choices{.has_model = true};
  std::uint64_t ordinal = 0;
  for (const std::string& cell : grid.cells()) {
    Elite elite{.cell = cell, .ordinal = ++ordinal, .candidate_id = fmt::format("{:064x}", ordinal)};
    elite.fitness = elite.speedup = 1 + 0.001 * static_cast<double>(ordinal);
    choices.tunable_elites.push_back(elite.candidate_id);
    grid.put(std::move(elite));
  }
  // As a run knows its past: most candidates are slower than their cell's elite, some are ties with it.
  ParentPool pool;
  Rng rng(21);
  const std::vector<Elite> elites = grid.elites();
  for (int i = 0; i < k_candidates; ++i) {
    const Elite& elite = elites[rng.below(elites.size())];
    Contender contender{fmt::format("{:064x}", ++ordinal), ordinal, elite.cell};
    contender.speedup = elite.speedup * (1 - 0.5 * rng.uniform() * rng.uniform());
    pool.admit(contender);
    pool.count_children(rng.below(2) == 0 ? elite.candidate_id : contender.candidate_id, rng.below(2) == 0);
  }
  choices.pool = &pool;
  for (int i = 0; i < 16; ++i) choices.failed.push_back(fmt::format("{:064x}", 1000 + i));
  const RunConfig config;
  std::vector<double> us;
  std::int64_t chosen = 0;
  for (int i = 0; i < count; ++i) {
    const double begin = now_s();
    chosen += select(grid, choices, config, Rng::keyed(1, 100'000 + static_cast<std::uint64_t>(i), "select"))
                  ? 1
                  : 0;
    us.push_back(1e6 * (now_s() - begin));
  }
  print_measure({{"measure", "selection"},
                 {"n", count},
                 {"elites", grid.elite_count()},
                 {"candidates", k_candidates},
                 {"chosen", chosen},
                 {"us_median", median(us)},
                 {"us_p99", quantile(us, 0.99)}});
}

}  // namespace kernelites
