// SPDX-License-Identifier: Apache-2.0
// kernelites new-task: a folder with a commented task that passes as it is, to be changed into one's own.
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <regex>

#include "engine/core/error.h"
#include "engine/core/identifier.h"
#include "engine/core/task.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/flashinfer_import.h"
#include "tools/readable_json.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_task =
    R"text(// @NAME@: change it into your operator from top to bottom. docs/tasks.md explains every key; an unknown key, or a
// name that is not declared, is an error that says where.
{
  "name": "@NAME@",  // the same as the folder
  "title": "Soft cap of rows",
  // What a reader and a model are told. Say what an empty or padded case gives, if there is one.
  "formula": "y[m, n] = cap * tanh(x[m, n] / cap)",
  "source": "where the operator comes from: a paper, a model, your code",
  "family": "elementwise",

  // What the host knows when it launches. Add "constant": 128 for a compile-time constant; the others get a value in
  // every workload below.
  "dims": {
    "M": {"meaning": "rows"},
    "N": {"meaning": "columns; any value"}
  },
  // Numbers of a call. Choose an odd value: a kernel that builds the usual one in then fails.
  "scalars": {
    "cap": {"dtype": "f32", "value": 3.7, "meaning": "bound of the result"}
  },
  // In the order in which a kernel gets them. Roles: input, metadata (i32 on the device: lengths, page tables), output.
  "tensors": {
    "x": {"dtype": "bf16", "shape": ["M", "N"], "role": "input", "fill": {"kind": "normal"}, "meaning": "what is capped"},
    "y": {"dtype": "bf16", "shape": ["M", "N"], "role": "output", "meaning": "the result"}
  },
  // The dims that index one row of the answer: reference.cu computes some rows, all at small shapes.
  "rows": ["M"],

  // How far an output may be off, row by row and element by element (table of classes in docs/tasks.md).
  "precision": {
    "y": {"name": "bf16_once", "row": 4e-3, "element_ulp": 0.00390625, "element_rms": 1e-3}
  },

  // Ways to fill the inputs, each with the mistake that it makes visible. The first is the plain one.
  "families": {
    "normal": {"fill": {}, "catches": "wrong indices, a forgotten cap"},
    "large": {"fill": {"x": {"kind": "normal", "std": 30}}, "catches": "a polynomial instead of the hyperbolic tangent"},
    "small": {"fill": {"x": {"kind": "normal", "std": 0.01}}, "catches": "cancellation: cap - cap / (1 + ...)"},
    "rising": {"fill": {"x": {"kind": "rising", "slope": 8}}, "catches": "a dropped tail of the rows"}
  },

  // Relations between outputs of the kernel itself; leave out what does not hold for your operator.
  "properties": {
    "repeatable": {"kind": "repeat", "outputs": {"y": 1}},
    "odd": {"kind": "scale", "tensors": ["x"], "factor": -1, "outputs": {"y": -1}},
    "own_row": {"kind": "isolate", "dims": ["M"], "outputs": {"y": 1}},
    "order_of_rows": {"kind": "permute", "dims": ["M"], "outputs": {"y": 1}}
  },

  // Small, awkward shapes: 1, odd, just below and above your tiles. All rows are compared.
  "check": [
    {"name": "one_element", "dims": {"M": 1, "N": 1}},
    {"name": "short_odd", "dims": {"M": 5, "N": 7}},
    {"name": "above_block", "dims": {"M": 9, "N": 257}},
    {"name": "many_rows", "dims": {"M": 130, "N": 24}}
  ],
  // The shapes you care about. They are timed; their weights count in the score.
  "bench": [
    {"name": "large", "dims": {"M": 8192, "N": 4096}, "weight": 1, "source": "the model and batch it comes from"}
  ],
  // Ranges from which shapes are drawn that no model ever sees.
  "hold_out": [
    {"dims": {"M": [1, 64], "N": [1, 600]}}
  ],

  // Operations, bytes of device memory that must move, special functions of one call: what the rates are told against.
  "roofline": {"flops": "3*M*N", "bytes": "2*2*M*N", "exponentials": "2*M*N"},

  // What others have, so that a speed-up means something.
  "baselines": [
    {"name": "torch", "library": "PyTorch", "call": "cap * torch.tanh(x / cap)"}
  ]
}
)text";

constexpr const char* k_reference = R"text(// SPDX-License-Identifier: Apache-2.0
// The trusted answer of @NAME@ in float64, for the rows listed: y[m, n] = cap tanh(x[m, n] / cap).
//
// Keep it plain: nobody has to find it fast, everybody has to believe it. Outputs are double here and hold the listed rows
// only, in the order of `rows`; p.R is their number. <kernelites/reference.cuh> reads bf16 and holds attention of a row.

#include <kernelites/reference.cuh>

extern "C" __global__ void __launch_bounds__(256)
reference(const unsigned short* __restrict__ x, double* __restrict__ y, const long long* __restrict__ rows, int N, float cap) {
  const long long from = rows[blockIdx.x] * N, to = (long long)blockIdx.x * N;
  for (int n = threadIdx.x; n < N; n += 256) {
    y[to + n] = cap * tanh(kernelites::reference::from_bf16(x[from + n]) / cap);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("reference").grid(p.R).block(256).arg(p.x).arg(p.y).arg(p.rows).arg(p.N).arg(p.cap);
}
)text";

constexpr const char* k_python_reference = R"text(# SPDX-License-Identifier: Apache-2.0
# The trusted answer of @NAME@ in float64: y[m, n] = cap tanh(x[m, n] / cap).
#
# The members of p are the dims (int), scalars (float) and tensors of task.json: float64, or int64 where their type is
# whole. Returned is output -> tensor of the output's shape. A second function `reference_rows(p)` may give the rows
# p.rows alone, [p.R, columns]: large shapes are compared on a few rows only.
import torch


def reference(p):
    return {"y": p.cap * torch.tanh(p.x / p.cap)}
)text";

constexpr const char* k_seed = R"text(// SPDX-License-Identifier: Apache-2.0
// Soft cap, a thread per element: y = cap tanh(x / cap), bf16 [M, N].
//
// Technique: none. The first kernel of the search: it has to be right, not fast. Say here what later versions gained.

// tune: THREADS = 256 | 128 | 512

#include <cuda_bf16.h>

extern "C" __global__ void __launch_bounds__(THREADS)
softcap(const __nv_bfloat16* __restrict__ x, __nv_bfloat16* __restrict__ y, int N, float cap) {
  const long long row = (long long)blockIdx.x * N;
  for (int n = threadIdx.x; n < N; n += THREADS) y[row + n] = __float2bfloat16(cap * tanhf(__bfloat162float(x[row + n]) / cap));
}

// Evaluated by the compiler for every shape, never run: how the kernels are launched. The members of p are the dims,
// scalars and tensors of task.json.
constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("softcap").grid(p.M).block(THREADS).arg(p.x).arg(p.y).arg(p.N).arg(p.cap);
}
)text";

constexpr const char* k_controls =
    R"text(// Wrong kernels that the gates must reject: the seed with one mistake each (kernelites tasks FOLDER --controls).
{
  "zeros": {"mistake": "writes zeros", "seed": "naive.cu", "edits": [["cap * tanhf(__bfloat162float(x[row + n]) / cap)", "0.0f"]]},
  "no_cap": {"mistake": "copies the input", "seed": "naive.cu", "edits": [["cap * tanhf(__bfloat162float(x[row + n]) / cap)", "__bfloat162float(x[row + n])"]]},
  "clamp": {"mistake": "clamps instead", "seed": "naive.cu", "edits": [["cap * tanhf(__bfloat162float(x[row + n]) / cap)", "fminf(fmaxf(__bfloat162float(x[row + n]), -cap), cap)"]]}
}
)text";

void write_file(const fs::path& file, const char* text, const std::string& name) {
  std::string filled = text;
  const std::string mark = "@NAME@";
  for (std::size_t at = filled.find(mark); at != std::string::npos; at = filled.find(mark, at + name.size()))
    filled.replace(at, mark.size(), name);
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << filled;
  out.close();
  if (!out) throw Error(fmt::format("cannot write {}", file.string()));
}

struct NewTaskOptions {
  std::string folder;
  std::string data;
  std::string like;
  bool is_python = false;
  std::vector<std::string> flashinfer;
};

/// The new folder; its name is `name`. Throws ConfigError if it cannot be one.
fs::path new_folder(const NewTaskOptions& options, std::string& name) {
  const fs::path folder = fs::path(options.folder).lexically_normal();
  name = folder.has_filename() ? folder.filename().string() : folder.parent_path().filename().string();
  if (!is_identifier(name))
    throw ConfigError("new-task", name,
                      "expected letters, digits and underscores, not beginning with a digit");
  if (fs::exists(folder)) throw ConfigError("new-task", options.folder, "exists already");
  return folder;
}

std::string next_steps(const fs::path& folder, const std::string& seed) {
  return fmt::format(
      "  kernelites evaluate {0}/seeds/{1} --task {0} --device vgpu --explain\n"
      "  kernelites tasks {0} --controls --device vgpu\n"
      "and then, on the device you care about: kernelites run --task {0} ...\n",
      folder.string(), seed);
}

/// The text of `document`: that of `file` with its comments where these differ in the name alone.
std::string commented_text(const fs::path& file, const Json& document) {
  const std::string text = read_text(file);
  const std::regex member(R"re(("name"\s*:\s*)"[^"]*")re");
  const std::string renamed = std::regex_replace(text, member, "$1" + document.at("name").dump(),
                                                 std::regex_constants::format_first_only);
  return parse_json(renamed, file.string()) == document ? renamed : readable_json(document);
}

/// Writes `document` and copies all else that belongs to `origin`, a task of ours.
void copy_task(const fs::path& folder, const std::string& name, const std::string& origin,
               const Json& document, const DataRoot& data) {
  const Task task = find_task(origin, data);
  parse_task(document, task.reference_source, name + "/task.json");  // before anything is written
  write_file(folder / "task.json", commented_text(task.folder / "task.json", document).c_str(), name);
  for (const char* part : {"reference.cu", "reference.py", "negative"}) {
    if (fs::exists(task.folder / part))
      fs::copy(task.folder / part, folder / part, fs::copy_options::recursive);
  }
  fs::copy(seed_folder(task, data), folder / "seeds", fs::copy_options::recursive);
}

/// The task of the same operator with a definition's shapes.
void import_task(const NewTaskOptions& options, Program& program) {
  std::string name;
  const fs::path folder = new_folder(options, name);
  const DataRoot data = find_data_root(options.data, program.executable);
  const FlashinferTask task =
      import_flashinfer({options.flashinfer.begin(), options.flashinfer.end()}, name, data);
  copy_task(folder, name, task.operation, task.document, data);
  program.out << fmt::format("{} is {} with {} bench shapes.\n", folder.string(), task.operation,
                             task.document.at("bench").size());
  for (const std::string& remark : task.remarks) program.out << "- " << remark << "\n";
  program.out << "Next:\n" << next_steps(folder, "naive.cu");
}

/// Another task under a new name, to be changed.
void imitate_task(const NewTaskOptions& options, Program& program) {
  std::string name;
  const fs::path folder = new_folder(options, name);
  const DataRoot data = find_data_root(options.data, program.executable);
  Json document = find_task(options.like, data, "--like").document;
  document["name"] = name;
  copy_task(folder, name, options.like, document, data);
  program.out << fmt::format(
      "{} is a copy of {}, seeds and wrong kernels included: delete those that you do not change. After "
      "every "
      "change:\n{}",
      folder.string(), options.like, next_steps(folder, "naive.cu"));
}

void write_task(const NewTaskOptions& options, Program& program) {
  if (!options.flashinfer.empty()) {
    import_task(options, program);
    return;
  }
  if (!options.like.empty()) {
    imitate_task(options, program);
    return;
  }
  std::string name;
  const fs::path folder = new_folder(options, name);
  const char* reference = options.is_python ? "reference.py" : "reference.cu";
  write_file(folder / "task.json", k_task, name);
  write_file(folder / reference, options.is_python ? k_python_reference : k_reference, name);
  write_file(folder / "seeds" / "naive.cu", k_seed, name);
  write_file(folder / "negative" / "controls.json", k_controls, name);
  program.out << fmt::format(
      "{0}/task.json           what the operator is, which shapes count, what is right: begin here\n"
      "{0}/{1}        the trusted answer in float64\n"
      "{0}/seeds/naive.cu      the kernel that the search starts from; put better ones beside it\n"
      "{0}/negative/           wrong kernels that must be rejected\n"
      "It passes as it is{2}. After every change:\n{3}",
      folder.string(), reference,
      options.is_python
          ? ", where python3 has PyTorch (else add \"python\": \"/path/to/python3\" to task.json)"
          : "",
      next_steps(folder, "naive.cu"));
}

}  // namespace

void add_new_task_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<NewTaskOptions>();
  command.add_option("folder", options->folder, "The new folder; its name becomes the task's")->required();
  CLI::Option* python = command.add_flag("--python", options->is_python,
                                         "With a reference.py (PyTorch) instead of a reference.cu");
  CLI::Option* like =
      command
          .add_option("--like", options->like, "A copy of this task with its seeds instead of the skeleton")
          ->excludes(python);
  command
      .add_option("--from-flashinfer", options->flashinfer,
                  "A definition of FlashInfer-Bench (JSON) and its workloads (JSON Lines)")
      ->excludes(python)
      ->excludes(like);
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.footer(
      "Example: kernelites new-task my_softcap\n"
      "         kernelites new-task my_attention --like gqa_prefill_causal\n"
      "         kernelites new-task my_decode --from-flashinfer definition.json workloads.jsonl");
  command.callback([options, &program] { write_task(*options, program); });
}

}  // namespace kernelites
