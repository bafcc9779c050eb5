// SPDX-License-Identifier: Apache-2.0
// Traces of both formats, written by hand.
#pragma once

#include <zlib.h>

#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "archive/database.h"
#include "engine/core/error.h"
#include "tests/support/temporary_folder.h"
#include "tools/rank/kernel_ranking.h"

namespace kernelites {

/// One kernel event of a Chrome trace, in microseconds; `operation` 0: of no operation.
inline std::string kernel_event(const std::string& name, double start, double duration, int operation = 0) {
  return R"({"ph": "X", "cat": "kernel", "name": ")" + name + R"(", "pid": 0, "tid": 7, "ts": )" +
         std::to_string(start) + R"(, "dur": )" + std::to_string(duration) + R"(, "args": {"External id": )" +
         std::to_string(operation) +
         R"(, "device": 0, "stream": 7, "grid": [8, 1, 1], "name": "not this one"}})";
}

inline std::string operation_event(const std::string& name, int id, const std::string& shapes) {
  return R"({"ph": "X", "cat": "cpu_op", "name": ")" + name +
         R"(", "ts": 1, "dur": 2, "args": {"External id": )" + std::to_string(id) + R"(, "Input Dims": )" +
         shapes + R"(, "Input type": ["c10::BFloat16", "c10::BFloat16"]}})";
}

inline std::string chrome_trace(const std::vector<std::string>& events) {
  std::string text = R"({"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}],
    "other": {"traceEvents": "not these"}, "traceEvents": [)";
  for (std::size_t i = 0; i < events.size(); ++i) text += (i > 0 ? ",\n" : "\n") + events[i];
  return text + R"(], "traceName": "t.json"})";
}

inline std::filesystem::path write(const TemporaryFolder& folder, const std::string& name,
                                   const std::string& text) {
  std::ofstream(folder.path() / name, std::ios::binary) << text;
  return folder.path() / name;
}

inline std::filesystem::path write_gzip(const TemporaryFolder& folder, const std::string& text,
                                        std::size_t cut = 0) {
  const std::filesystem::path file = folder.path() / "trace.json.gz";
  gzFile packed = gzopen(file.c_str(), "wb");
  gzwrite(packed, text.data(), static_cast<unsigned>(text.size()));
  gzclose(packed);
  if (cut > 0) std::filesystem::resize_file(file, std::filesystem::file_size(file) - cut);
  return file;
}

inline std::filesystem::path write_nsight(const TemporaryFolder& folder, const std::string& script) {
  const std::filesystem::path file = folder.path() / "trace.sqlite";
  Database database(file, Database::Mode::create);
  database.execute(
      "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);"
      "CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);"
      "INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H100 80GB HBM3');"
      "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, \"end\" INTEGER NOT NULL, "
      "deviceId INTEGER, streamId INTEGER, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL);"
      "CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER NOT NULL, \"end\" INTEGER NOT NULL);" +
      script);
  return file;
}

inline std::string refusal_of(const std::filesystem::path& file) {
  try {
    read_trace(file);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

/// One kernel after the other, without a gap.
inline KernelTrace one_after_the_other(KernelTrace trace) {
  trace.kernel_us = trace.span_us = 0;
  trace.spans.clear();
  for (std::uint32_t i = 0; i < trace.kernels.size(); ++i) {
    trace.spans.push_back({i, 0, trace.span_us, trace.span_us + trace.kernels[i].total_us});
    trace.span_us += trace.kernels[i].total_us;
  }
  trace.kernel_us = trace.busy_us = trace.span_us;
  return trace;
}

inline const RankedKernel& kernel_named(const KernelRanking& ranking, const std::string& name) {
  for (const RankedKernel& kernel : ranking.kernels)
    if (kernel.name == name) return kernel;
  throw std::runtime_error("no kernel " + name);
}

}  // namespace kernelites
