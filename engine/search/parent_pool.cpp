// SPDX-License-Identifier: Apache-2.0
// The fastest of a set are the same in whatever order they come: nothing else is thrown away.
#include "engine/search/parent_pool.h"

#include <algorithm>

#include "engine/search/placement.h"
#include "engine/variation/operator_table.h"

namespace kernelites {
namespace {

bool is_faster(const Contender& a, const Contender& b) {
  return a.speedup != b.speedup ? a.speedup > b.speedup : a.ordinal < b.ordinal;
}

}  // namespace

void ParentPool::admit(const Contender& contender) {
  if (contender.cell.empty() || !(contender.speedup > 0)) return;
  timed_.push_back(contender.candidate_id);
  std::vector<Contender>& of_cell = contenders_[contender.cell];
  of_cell.insert(std::upper_bound(of_cell.begin(), of_cell.end(), contender, is_faster), contender);
  if (of_cell.size() > k_contenders_max) of_cell.pop_back();
}

void ParentPool::count_children(const std::string& parent_id, bool is_by_model, int count) {
  Children& children = children_[parent_id];
  (is_by_model ? children.by_model : children.by_program) += count;
}

int ParentPool::children(const std::string& parent_id, bool is_by_model) const {
  const auto found = children_.find(parent_id);
  if (found == children_.end()) return 0;
  return is_by_model ? found->second.by_model : found->second.by_program;
}

const std::vector<Contender>& ParentPool::contenders(const std::string& cell) const {
  static const std::vector<Contender> k_none;
  const auto found = contenders_.find(cell);
  return found == contenders_.end() ? k_none : found->second;
}

std::int64_t admit_told(ParentPool& pool, const Archive& archive, std::int64_t after,
                        const PoolContext& context) {
  for (const CandidateRecord& record : archive.told_candidates(after)) {
    after = record.told;
    if (record.outcome == insert_status_name(InsertStatus::failed)) continue;
    const auto evaluated = archive.evaluated(record.ordinal);
    if (!evaluated || !evaluated->examination || !evaluated->duel) continue;
    const Duel& duel = *evaluated->duel->duel;
    if (!duel.verdict.is_passed) continue;
    const std::string cell =
        cell_name(evaluated->examination->examination->descriptors, context.grid.axes()).value_or("");
    const double speedup =
        record.id == context.baseline_id ? 1 : speedup_over(duel, context.baseline_id, context.weights);
    pool.admit({record.id, record.ordinal, cell, speedup});
  }
  return after;
}

void count_all_children(ParentPool& pool, const Archive& archive) {
  for (const ChildCount& children : archive.child_counts())
    if (const OperatorRow* row = find_operator(children.operator_name))
      pool.count_children(children.parent_id, row->needs_model, children.count);
}

}  // namespace kernelites
