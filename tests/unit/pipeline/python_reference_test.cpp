// SPDX-License-Identifier: Apache-2.0
// A reference.py is asked through pipes: what it gives reaches the rows, and what is wrong with it is said in words.
#include "evaluators/worker/pipeline/python_reference.h"

#include <cstring>
#include <fstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// y[M, N*D] of the small task; `source` is its reference.
Task python_task(const std::string& source, const std::string& interpreter = KERNELITES_PYTHON) {
  Json document = small_task_document();
  document["python"] = interpreter;
  return parse_task(document, source, "task.json");
}

struct Asked {
  explicit Asked(const Task& the_task) : task(the_task), workload(task.check.front()) {
    std::vector<std::byte> x(2 * 3 * 8 * 2), len(2 * 4);
    for (std::size_t i = 0; i < 48; ++i) {  // bf16: 0, 1, 2, ...; one of nobody's is NaN
      const float value = static_cast<float>(i);
      std::memcpy(&x[2 * i], reinterpret_cast<const std::byte*>(&value) + 2, 2);
    }
    const std::uint16_t nan = 0x7fc0;
    std::memcpy(&x[2 * 47], &nan, 2);
    const std::int32_t lengths[] = {3, 1};
    std::memcpy(len.data(), lengths, sizeof lengths);
    tensors = {x, len, {}};
    const TensorSpec& y = task.tensor("y");
    outputs = {{.name = "y", .group = 0, .order = compare_order(task, y, task.precision.at("y"), workload)}};
  }
  std::vector<double> answer(PythonReference& reference, const std::vector<std::int64_t>& rows) {
    return reference.answer(task, workload, tensors, {rows}, outputs).at(0);
  }
  std::string refusal(PythonReference& reference) {
    try {
      answer(reference, {0});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "answered";
  }
  const Task& task;
  const Workload& workload;
  std::vector<std::vector<std::byte>> tensors;
  std::vector<PythonOutput> outputs;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Tests of answers need PyTorch, which is not the project's to install.
bool lacks_torch(const std::string& refusal) {
  if (!contains(refusal, "PyTorch cannot be imported")) return false;
  WARN("skipped, for want of PyTorch: " << refusal);
  CHECK(contains(refusal, "\"python\": \"/path/to/python3\" in task.json"));
  return true;
}

}  // namespace

TEST_CASE("a reference.py gives the rows that are asked for, or says what is wrong with it") {
  const Task task = python_task(R"(
import torch
print("what a reference prints is no answer")
calls = 0

def reference(p):
    global calls
    calls += 1
    assert p.x.dtype == torch.float64 and p.len.dtype == torch.int64 and (p.M, p.N, p.D) == (2, 3, 8)
    if calls == 2:
        return {"z": p.x}
    if calls == 3:
        return {"y": p.x}
    if calls == 4:
        raise ValueError("no such luck")
    return {"y": (p.factor * p.x).reshape(p.M, p.N * p.D)}
)");
  Asked asked(task);
  PythonReference reference(task);
  std::vector<double> rows;
  try {
    rows = asked.answer(reference, {1});
  } catch (const ConfigError& error) {
    if (lacks_torch(error.what())) return;
    throw;
  }
  const double factor = static_cast<double>(0.37f);
  REQUIRE(rows.size() == 24);
  CHECK(rows[0] == 24 * factor);
  CHECK(rows[22] == 46 * factor);
  CHECK(rows[23] == 0);  // NaN is what belongs to nobody
  CHECK(contains(asked.refusal(reference), "'y' is missing"));
  CHECK(contains(asked.refusal(reference), "'y' has shape [2, 3, 8], expected [2, 24]"));
  const std::string refusal = asked.refusal(reference);
  CHECK(contains(refusal, "scaled_rows/reference.py"));
  CHECK(contains(refusal, "line 15: ValueError: no such luck"));
  CHECK(asked.answer(reference, {0, 1}).size() == 48);  // it lives on
}

TEST_CASE("reference_rows gives the listed rows alone, and a jail keeps the network and all files away") {
  const Task task = python_task(R"(
import os, socket, torch

def refused(action):
    try:
        action()
    except OSError:
        return 1.0
    return 0.0

def reference(p):
    raise RuntimeError("not asked")

def reference_rows(p):
    facts = [refused(lambda: socket.socket()), refused(lambda: open("/etc/shadow")),
             refused(lambda: open("/usr/kernelites", "w")), float(len(os.environ) < 9)]
    return {"y": torch.tensor(facts, dtype=torch.float64).repeat(p.R, 6) * (1 + p.rows[:, None])}
)");
  Asked asked(task);
  PythonReference reference(task);
  try {
    const std::vector<double> rows = asked.answer(reference, {1, 0});
    REQUIRE(rows.size() == 48);
    for (std::size_t i = 0; i < 48; ++i) CHECK(rows[i] == (i < 24 ? 2 : 1));
  } catch (const ConfigError& error) {
    if (!lacks_torch(error.what())) throw;
  }
}

TEST_CASE("an interpreter that is none, and a reference that does not parse, are named") {
  const Task none = python_task("def reference(p): pass", "/nowhere/python3");
  PythonReference absent(none);
  CHECK(contains(Asked(none).refusal(absent), "'/nowhere/python3' cannot run it"));
  const Task broken = python_task("x = 1\ndef reference(p:\n");
  PythonReference wrong(broken);
  const std::string refusal = Asked(broken).refusal(wrong);
  if (!lacks_torch(refusal)) CHECK(contains(refusal, "line 2: "));
}
