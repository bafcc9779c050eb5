// SPDX-License-Identifier: Apache-2.0
// Drives NVRTC for one program, and turns inputs and outputs into messages.
#include "evaluators/worker/nvrtc/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// Owns an NVRTC program.
class ProgramHandle {
 public:
  explicit ProgramHandle(const NvrtcLibrary& nvrtc) : nvrtc_(nvrtc) {}
  ~ProgramHandle() {
    if (program_ != nullptr) nvrtc_.destroy_program(&program_);
  }
  ProgramHandle(const ProgramHandle&) = delete;
  ProgramHandle& operator=(const ProgramHandle&) = delete;
  NvrtcLibrary::Program* address() { return &program_; }
  NvrtcLibrary::Program get() const { return program_; }

 private:
  const NvrtcLibrary& nvrtc_;
  NvrtcLibrary::Program program_ = nullptr;
};

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> result;
  for (const std::string& text : texts) result.push_back(text.c_str());
  return result;
}

using SizeCall = int (*)(NvrtcLibrary::Program, std::size_t*);
using TextCall = int (*)(NvrtcLibrary::Program, char*);

/// A text result; false if it is larger than `bytes_max` or NVRTC refuses it. NVRTC counts the final zero.
bool take_text(NvrtcLibrary::Program program, SizeCall size_call, TextCall text_call, std::size_t bytes_max,
               std::string& text) {
  std::size_t size = 0;
  if (size_call(program, &size) != 0) return false;
  if (size > bytes_max) return false;
  text.resize(size);
  if (size == 0) return true;
  if (text_call(program, text.data()) != 0) return false;
  text.resize(std::min(text.find('\0'), text.size()));
  return true;
}

bool take_results(const NvrtcLibrary& nvrtc, NvrtcLibrary::Program program, const CompileInput& input,
                  CompileOutput& output) {
  if (!take_text(program, nvrtc.ptx_size, nvrtc.ptx, k_ptx_bytes_max, output.ptx)) return false;
  if (input.ptx_only) return true;
  std::size_t size = 0;
  if (nvrtc.cubin_size(program, &size) != 0 || size > k_ptx_bytes_max) return false;
  output.cubin.resize(size);
  return nvrtc.cubin(program, reinterpret_cast<char*>(output.cubin.data())) == 0;
}

void compile_program(const NvrtcLibrary& nvrtc, const CompileInput& input, CompileOutput& output) {
  std::vector<std::string> texts, names;
  for (const HeaderText& header : input.headers) {
    texts.push_back(header.text);
    names.push_back(header.name);
  }
  const std::vector<const char*> text_list = pointers(texts), name_list = pointers(names);
  const std::vector<const char*> options = pointers(input.options);
  ProgramHandle program(nvrtc);
  const auto failed = [&](int result, const char* what) {
    if (result == 0) return false;
    output.failure = "compiler_failed";
    output.log += fmt::format("{}: {}\n", what, nvrtc.error_string(result));
    return true;
  };
  if (failed(nvrtc.create_program(program.address(), input.source.c_str(), input.file_name.c_str(),
                                  static_cast<int>(names.size()), text_list.data(), name_list.data()),
             "the program could not be created")) {
    return;
  }
  for (const std::string& name : input.name_expressions) {
    if (failed(nvrtc.add_name_expression(program.get(), name.c_str()), "a kernel name was refused")) return;
  }
  const int result = nvrtc.compile_program(program.get(), static_cast<int>(options.size()), options.data());
  take_text(program.get(), nvrtc.log_size, nvrtc.log, std::size_t{64} << 20, output.log);
  // The front end tells of its own exhaustion as of an error of the source, after all warnings. A source that writes
  // these words into its own error exchanges one rejection for another.
  const bool is_exhausted = output.log.find("catastrophic error: out of memory") != std::string::npos;
  if (output.log.size() > k_log_bytes_max) output.log.resize(k_log_bytes_max);
  if (result != 0) {
    // NVRTC_ERROR_COMPILATION: the source is at fault.
    constexpr int k_out_of_memory = 1, k_compilation = 6;
    output.failure = is_exhausted || result == k_out_of_memory ? "compiler_out_of_memory"
                     : result == k_compilation                 ? "compile_error"
                                                               : "compiler_failed";
    if (result != k_compilation) output.log += fmt::format("\n{}\n", nvrtc.error_string(result));
    return;
  }
  for (const std::string& name : input.name_expressions) {
    const char* lowered = nullptr;
    if (failed(nvrtc.lowered_name(program.get(), name.c_str(), &lowered), "a kernel has no lowered name"))
      return;
    output.lowered_names[name] = lowered;
  }
  if (!take_results(nvrtc, program.get(), input, output)) {
    output.failure = "output_too_large";
    return;
  }
  output.ok = true;
}

bool is_failure(std::string_view code) {
  return code == "compile_error" ||
         std::any_of(std::begin(k_compile_failures), std::end(k_compile_failures),
                     [&](const CompileFailure& failure) { return failure.code == code; });
}

}  // namespace

std::string_view words_of_failure(std::string_view code) {
  for (const CompileFailure& failure : k_compile_failures) {
    if (failure.code == code) return failure.words;
  }
  return words_of_failure("bad_output");
}

CompileOutput compile_in_process(const NvrtcLibrary& nvrtc, const CompileInput& input) {
  const auto start = std::chrono::steady_clock::now();
  CompileOutput output;
  compile_program(nvrtc, input, output);
  output.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return output;
}

Json encode(const CompileInput& input) {
  Json headers = Json::array();
  for (const HeaderText& header : input.headers) headers.push_back({header.name, header.text});
  return {{"source", input.source},
          {"file_name", input.file_name},
          {"headers", headers},
          {"options", input.options},
          {"name_expressions", input.name_expressions},
          {"ptx_only", input.ptx_only}};
}

CompileInput decode_compile_input(const Json& json) {
  CompileInput input;
  input.source = json.at("source").get<std::string>();
  input.file_name = json.at("file_name").get<std::string>();
  for (const Json& header : json.at("headers")) {
    input.headers.push_back({header.at(0).get<std::string>(), header.at(1).get<std::string>()});
  }
  input.options = json.at("options").get<std::vector<std::string>>();
  input.name_expressions = json.at("name_expressions").get<std::vector<std::string>>();
  input.ptx_only = json.at("ptx_only").get<bool>();
  return input;
}

Json encode(const CompileOutput& output, std::vector<std::byte>& payload) {
  const auto append = [&](const auto& bytes) {
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    payload.insert(payload.end(), data, data + bytes.size());
  };
  append(output.log);
  append(output.ptx);
  append(output.cubin);
  return {{"ok", output.ok},
          {"failure", output.failure},
          {"log_bytes", output.log.size()},
          {"ptx_bytes", output.ptx.size()},
          {"cubin_bytes", output.cubin.size()},
          {"lowered_names", output.lowered_names},
          {"ms", output.ms}};
}

CompileOutput decode_compile_output(const Json& json, std::span<const std::byte> payload) {
  CompileOutput output;
  try {
    output.ok = json.at("ok").get<bool>();
    output.failure = json.at("failure").get<std::string>();
    output.lowered_names = json.at("lowered_names").get<std::map<std::string, std::string>>();
    output.ms = json.at("ms").get<double>();
    const auto take = [&](const char* size_name, std::size_t bytes_max) {
      const auto size = json.at(size_name).get<std::size_t>();
      if (size > payload.size() || size > bytes_max) throw Error("a part is missing or too large");
      const std::span<const std::byte> part = payload.first(size);
      payload = payload.subspan(size);
      return part;
    };
    const auto text = [](std::span<const std::byte> part) {
      return std::string(reinterpret_cast<const char*>(part.data()), part.size());
    };
    output.log = text(take("log_bytes", 2 * k_log_bytes_max));
    output.ptx = text(take("ptx_bytes", k_ptx_bytes_max));
    const std::span<const std::byte> cubin = take("cubin_bytes", k_ptx_bytes_max);
    output.cubin.assign(cubin.begin(), cubin.end());
    if (output.ok == output.failure.empty() && (output.ok || is_failure(output.failure))) return output;
  } catch (const Json::exception&) {
  } catch (const Error&) {
  }
  output = {};
  output.failure = "bad_output";
  return output;
}

}  // namespace kernelites::worker
