// SPDX-License-Identifier: Apache-2.0
// What `status` says of who proposes and of what comes out: arms with the bandit's view, the ladder, steering.
#pragma once

#include <string>

#include "engine/search/run_config.h"
#include "engine/search/stagnation.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {

/// A ledger's arm as the bandit sees it.
struct ArmRow {
  ArmLedger ledger;
  double gain_ubits = 0;   ///< of all its elites, millionths of a bit
  double recent_gain = 0;  ///< bits per dollar, recent results counting most
  double share = 0;        ///< of the next variations; 0 if it is not asked any more
};

/// Computed anew from the archive and steer.json, as the run itself does it.
struct ArmTable {
  std::vector<ArmRow> rows;
  Stagnation stagnation;
  Json steering = Json::object();  ///< in force, if the file can be read
  std::string steering_problem;    ///< why it cannot
  std::string steering_revision;
};
ArmTable arm_table(const RunReader& run, const RunConfig& config, const std::string& folder);
/// The same, with `database` as a second connection to the run's file.
ArmTable arm_table(const RunReader& run, const RunConfig& config, const std::string& folder,
                   Database& database);

/// The member "arms" of `status --json`: the ledger's members and three more.
Json arms_json(const ArmTable& table);
/// A short text that changes with the run's steer.json.
std::string steering_revision(const std::string& folder);
/// The members "stagnation", "steering" and "steering_revision".
Json stagnation_json(const ArmTable& table);
/// Two lines: how long nothing came, with the forecast, and what steers the run if anything does.
std::string stagnation_text(const ArmTable& table);
std::string arms_text(const ArmTable& table);

}  // namespace kernelites
