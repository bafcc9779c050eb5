// SPDX-License-Identifier: Apache-2.0
// JSON of counters.
#include "engine/core/counter_report.h"

#include <algorithm>

namespace kernelites {

const CounterReading* find_reading(const CounterReport& report, const std::string& name) {
  const auto found = std::find_if(report.readings.begin(), report.readings.end(),
                                  [&](const CounterReading& reading) { return reading.name == name; });
  return found == report.readings.end() ? nullptr : &*found;
}

void to_json(Json& json, const CounterReport& report) {
  json = Json{{"problem", report.problem}, {"readings", Json::array()}};
  for (const CounterReading& reading : report.readings)
    json["readings"].push_back({{"name", reading.name},
                                {"value", real_to_json(reading.value)},
                                {"unit", reading.unit},
                                {"words", reading.words}});
}

void from_json(const Json& json, CounterReport& report) {
  json.at("problem").get_to(report.problem);
  for (const Json& reading : json.at("readings"))
    report.readings.push_back({.name = reading.at("name").get<std::string>(),
                               .value = real_from_json(reading.at("value")),
                               .unit = reading.at("unit").get<std::string>(),
                               .words = reading.at("words").get<std::string>()});
}

}  // namespace kernelites
