// SPDX-License-Identifier: Apache-2.0
// Which shapes of its domain a library takes, as far as an export tried them: counts, and what the refused ones share.
//
// A domain spans what the task's workloads span; plans refuse some of it in words of their own. Every shape at which
// plans were evaluated is one that some arm takes, or one that none does. Relations are what all taken ones have in
// common and refused ones have not: bounds of a dim, of a quotient, of a product, multiples, a few extents. They are
// read off the shapes that were tried: between the last one taken and the first one refused nobody looked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/exporting/library_code.h"
#include "tools/exporting/library_domain.h"

namespace kernelites {

/// A shape that was tried, and whether any arm takes it.
struct TriedShape {
  Shape shape;
  bool is_taken = true;
  std::string words;  ///< of the refusal
};

struct DomainRelation {
  std::string words;           ///< "Hq / Hkv <= 8"
  std::int64_t refused = 0;    ///< shapes that it excludes
  std::int64_t first_refused;  ///< the value nearest to the bound that is refused; 0: it is no bound
};

struct DomainCoverage {
  std::int64_t shapes = 0, refused = 0,
               unexplained = 0;  ///< unexplained: refused ones that all relations allow
  std::vector<DomainRelation> relations;
  std::map<std::string, std::int64_t> reasons;             ///< the plans' words, with how many shapes
  std::vector<std::pair<std::string, std::int64_t>> arms;  ///< by label: shapes that the dispatch gives it
  std::vector<TriedShape> refused_shapes;  ///< some of each reason, of those tried as the task has it
};

/// Relations of what was tried; `dims`: names in the shapes' order.
DomainCoverage coverage_of(const std::vector<std::string>& dims, const std::vector<TriedShape>& tried);

/// The same of an export: `batches` or, where plans are tables, `tables` were tried.
DomainCoverage library_coverage(const Task& task, const Portfolio& portfolio, const LibraryCode& code,
                                const std::vector<ProofBatch>& batches, const std::vector<Shape>& tables);

/// Sentences for people: relations first, then counts and the plans' words. Empty if nothing is refused: one sentence.
std::vector<std::string> coverage_words(const DomainCoverage& coverage);

void to_json(Json& json, const DomainCoverage& coverage);

}  // namespace kernelites
