// SPDX-License-Identifier: Apache-2.0
// What a run is put together from, and the announcing of its events.
#include "engine/search/run_parts.h"

namespace kernelites {

void Announcer::announce(Json event) {
  event["time_s"] = elapsed_s();
  parts_.archive.append_event(event);
  for (EventSink* sink : parts_.sinks) sink->on_event(event);
}

double Announcer::elapsed_s() const {
  return std::chrono::duration<double>(parts_.clock.steady() - start_).count();
}

double Announcer::now_unix_s() const {
  return std::chrono::duration<double>(parts_.clock.system().time_since_epoch()).count();
}

}  // namespace kernelites
