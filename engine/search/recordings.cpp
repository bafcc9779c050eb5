// SPDX-License-Identifier: Apache-2.0
// From rows of model_call to recorded calls.
#include "engine/search/recordings.h"

#include "engine/search/model_calls.h"

namespace kernelites {

std::vector<RecordedCall> recording_of(const Archive& archive, bool has_prompts) {
  std::vector<RecordedCall> calls;
  for (const ModelCallRecord& record : archive.ended_model_calls()) {
    if (record.prompt.empty()) continue;  // pruned: "" would be replayed as the answer
    const ModelRequest request = request_from(record);
    RecordedCall call = recorded_call(request, reply_from(record));
    call.digest = record.prompt_digest;  // as it was when it was sent
    if (!has_prompts) {
      call.messages.clear();
      call.extras = Json::object();
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

std::vector<std::string> seed_names(const Archive& archive) {
  std::vector<std::string> names;
  for (const CandidateRecord& seed : archive.seeds())
    if (const auto variation = archive.variation(seed.ordinal))
      names.push_back(variation->decision.value("seed", std::string()));
  return names;
}

}  // namespace kernelites
