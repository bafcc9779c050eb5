// SPDX-License-Identifier: Apache-2.0
// The table of fuzzed parsers.
#include "tests/fuzz/fuzzed_parser.h"

#include <algorithm>

namespace kernelites::fuzz {
namespace {

constexpr FuzzedParser k_parsers[] = {
    {"agent", fuzz_agent, 16 << 10},
    {"channel", fuzz_channel, 64 << 10},
    {"config", fuzz_config, 16 << 10},
    {"cubin", fuzz_cubin, 64 << 10},
    {"env", fuzz_env, 8 << 10},
    {"flashinfer", fuzz_flashinfer, 16 << 10},
    {"nsight", fuzz_nsight, 32 << 10},
    {"object", fuzz_object, 32 << 10},
    {"protocol", fuzz_protocol, 32 << 10},
    {"ptx", fuzz_ptx, 64 << 10},
    {"reply", fuzz_reply, 32 << 10},
    {"run_db", fuzz_run_db, 4 << 10, 20},
    {"source", fuzz_source, 32 << 10},
    {"spool", fuzz_spool, 16 << 10},
    {"stream", fuzz_stream, 32 << 10},
    {"task", fuzz_task, 32 << 10},
    {"trace", fuzz_trace, 32 << 10},
    {"vgpu", fuzz_vgpu, 64 << 10},
};

}  // namespace

std::span<const FuzzedParser> fuzzed_parsers() { return k_parsers; }

const FuzzedParser* find_fuzzed_parser(std::string_view name) {
  const auto found = std::find_if(std::begin(k_parsers), std::end(k_parsers),
                                  [&](const FuzzedParser& parser) { return parser.name == name; });
  return found == std::end(k_parsers) ? nullptr : found;
}

}  // namespace kernelites::fuzz
