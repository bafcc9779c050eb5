// SPDX-License-Identifier: Apache-2.0
// Which format a trace has.
#include "tools/rank/kernel_trace.h"

#include <array>
#include <fstream>
#include <string_view>

#include "engine/core/error.h"
#include "tools/rank/chrome_trace.h"
#include "tools/rank/nsight_trace.h"

namespace kernelites {

KernelTrace read_trace(const std::filesystem::path& file) {
  using namespace std::string_view_literals;
  if (std::filesystem::is_directory(file))
    throw ConfigError(file.string(), "", "is a folder; expected a trace file in it");
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw ConfigError(file.string(), "",
                      std::filesystem::exists(file) ? "this trace cannot be read" : "there is no such file");
  std::array<char, 16> head{};
  in.read(head.data(), head.size());
  const std::string_view begin(head.data(), static_cast<std::size_t>(in.gcount()));
  if (begin.empty()) throw ConfigError(file.string(), "", "this trace is empty");
  in.close();
  if (begin.starts_with("NSYS-") || begin.starts_with("QDSTRM") || file.extension() == ".nsys-rep")
    throw ConfigError(file.string(), "",
                      "is a report of Nsight Systems: export it first, `nsys export --type sqlite FILE`");
  KernelTrace trace = begin == "SQLite format 3\0"sv ? read_nsight_trace(file) : read_chrome_trace(file);
  if (trace.launches == 0)
    throw ConfigError(file.string(), "",
                      trace.format +
                          " without a GPU kernel: record with ProfilerActivity.CUDA (torch.profiler) or "
                          "`nsys profile -t cuda`, while the model runs on the GPU");
  return trace;
}

}  // namespace kernelites
