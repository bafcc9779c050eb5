// SPDX-License-Identifier: Apache-2.0
// The SQL that copies rows of one run into another, numbered anew. Internal to run_merge.cpp.
//
// The source is attached as `source`. Its ordinals grow by the highest that is known already; its request ids begin
// with "r2-", "r3-", ...; those of the first run stay. A candidate whose id is known already stays as it is, and what
// belongs to the source's is hung onto it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kernelites {

inline constexpr const char* k_last_ordinal =
    "SELECT max((SELECT coalesce(max(ordinal), 0) FROM main.variation), "
    "(SELECT coalesce(max(ordinal), 0) FROM main.candidate))";

/// Everything but elites, their history and champions. `told`: how many are told already.
std::string rows_script(std::size_t source, std::int64_t last_ordinal, std::int64_t told);

/// History, elites and champions of the cells and workloads in temp.held_cell and temp.held_workload, which it drops.
std::string places_script(std::size_t source);

/// Told candidates from 1 on without gaps, in their order.
inline constexpr const char* k_renumber_told =
    "CREATE TEMP TABLE retold AS SELECT ordinal, row_number() OVER (ORDER BY told) AS told FROM candidate "
    "WHERE told IS NOT NULL;"
    "UPDATE candidate SET told = -(SELECT r.told FROM temp.retold r WHERE r.ordinal = candidate.ordinal) "
    "WHERE told IS NOT NULL;"
    "UPDATE candidate SET told = -told WHERE told IS NOT NULL;"
    "DROP TABLE temp.retold";

}  // namespace kernelites
