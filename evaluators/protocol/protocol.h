// SPDX-License-Identifier: Apache-2.0
// The one boundary between controller and worker: JSON lines, one request, one reply, matched by id.
//
// The worker greets first: {"kernelites_worker": 1, "provenance": {...}}. Then each line on its stdin is a
// request and each line on its stdout a reply; replies may come in another order than requests. A batch file
// (`--batch IN OUT`) holds the same lines; a torn last line is ignored on both sides.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/calibration.h"
#include "engine/core/candidate.h"
#include "engine/core/digest.h"
#include "engine/core/evaluation.h"
#include "engine/core/task.h"

namespace kernelites {

/// Version of requests, replies and greeting; both sides refuse another.
inline constexpr int k_protocol_version = 1;
/// A longer line is refused: it would be a fault of the other side.
inline constexpr std::size_t k_line_bytes_max = std::size_t{32} << 20;

/// Objects and arrays nest at most this deep in a line.
inline constexpr std::size_t k_depth_max = 64;

/// Bounds on numbers in requests; others are refused.
inline constexpr int k_rounds_max = 1000;
inline constexpr double k_confidence_min = 0.5, k_confidence_max = 0.999999;
inline constexpr int k_draws_max = 100000;
inline constexpr std::size_t k_arms_max = 16;
inline constexpr double k_deadline_s_max = 24 * 3600;

/// Proves a candidate. Self-contained: task and reference travel with it.
struct ExamineRequest {
  Candidate candidate;
  Key key;                        ///< secrets of this evaluation derive from it
  bool is_reexamination = false;  ///< an elite proven by an older harness
  bool is_thorough = false;       ///< a would-be elite: the costly stages too (docs/harness.md)
  /// Ends after this stage: one that passes it gets the verdict "stopped_as_asked", which is no pass. Empty: all.
  std::string last_stage = {};
  bool wants_modelled = false;  ///< of one that passes: the time model's times too, beside the device
  Key model_key = {};           ///< as of a duel
};

/// One contestant of a duel. Every arm has been proven by an earlier `examine`.
struct DuelArm {
  std::string label;  ///< "candidate", "incumbent", "baseline", ...
  Candidate candidate;
};

/// Times arms against each other, interleaved, arm 0 being the candidate.
struct DuelRequest {
  std::vector<DuelArm> arms;
  std::vector<std::string> workloads;  ///< names of bench workloads
  int rounds = 30;                     ///< at most
  double confidence = 0.999;           ///< of the intervals, two-sided
  bool may_stop_early =
      true;  ///< looks at the intervals on the way and stops when they decide; a confirmation does not
  Key key;
  /// Where times are modelled, inputs and blocks derive from it: under one such key a time comes out the same. Of a
  /// run, or of whoever compares times, and as secret as `key`, which stands for it where there is none (all zeros).
  Key model_key = {};
};

/// Measures an honest kernel's errors against the task's gates: `draws` keys per input family, over the check shapes.
/// A wrong kernel (a negative control) is measured alike.
struct CalibrateRequest {
  Candidate candidate;
  int draws = 20;
  Key key;
};

/// Reads hardware counters of a proven candidate, in a process that times nothing.
struct ProfileRequest {
  Candidate candidate;
  std::vector<std::string> workloads;  ///< names of bench workloads
  bool wants_stalls = true;            ///< besides the physics counters: pipes, caches, and why warps waited
  Key key;
};

/// The reply to `profile`. `reports`: by workload; counters that cannot be read are reports with a problem.
struct Profile {
  Verdict verdict;
  std::map<std::string, CounterReport> reports;
};

/// A request line. Exactly one of `examine`, `duel`, `calibrate` and `profile` is set.
struct Request {
  std::string id;                ///< unique within a run; echoed by the reply
  std::string device;            ///< "gpu" or "vgpu"
  Json task_document;            ///< task.json
  std::string reference_source;  ///< reference.cu
  double deadline_s = 120;       ///< the whole evaluation; then the verdict is "deadline"
  std::optional<ExamineRequest> examine;
  std::optional<DuelRequest> duel;
  std::optional<CalibrateRequest> calibrate;
  std::optional<ProfileRequest> profile = {};
};

/// A reply line. `error` is set instead of a result when the request itself could not be used (bad task, no
/// device).
struct Reply {
  std::string id;
  std::string error;
  Provenance provenance;
  double worker_s = 0;  ///< wall seconds the worker spent
  double device_s = 0;  ///< seconds the device was held: what a GPU budget counts
  std::optional<Examination> examination;
  std::optional<Duel> duel;
  std::optional<Calibration> calibration;
  std::optional<Profile> profile = {};
};

/// The worker's first line.
struct Greeting {
  int version = k_protocol_version;
  Provenance provenance;
  std::string problem;  ///< why it cannot work ("no CUDA driver"); empty: ready
};

/// One line without its newline. Text that is not UTF-8 is repaired with U+FFFD. Throw Error beyond
/// k_line_bytes_max.
std::string encode(const Request& request);
std::string encode(const Reply& reply);
std::string encode(const Greeting& greeting);
/// Throw Error with what is wrong and the first bytes of the line. A greeting of another version has only its
/// version.
Request decode_request(std::string_view line);
/// The id of a request that may be otherwise unusable; empty if there is none or the line is beyond the limits: an
/// error reply needs an address.
std::string request_id_of(std::string_view line);
Reply decode_reply(std::string_view line);
Greeting decode_greeting(std::string_view line);

}  // namespace kernelites
