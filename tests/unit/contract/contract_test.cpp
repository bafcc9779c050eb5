// SPDX-License-Identifier: Apache-2.0
// Generated sources, text rules, cubin reader.
#include <cstring>

#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/contract/source_rules.h"
#include "tests/support/attention_task.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE(
    "constant dims are static members, variable dims and scalars are members, tensors follow in task order") {
  const Task task = attention_task();
  const PlanPoint point{.workload = task.find_workload("ragged")};
  const std::string text = code_unit(task, Form::candidate, std::span(&point, 1), "// mine\n");
  CHECK(text.find("static constexpr int D = 128;") != std::string::npos);
  CHECK(text.find("  int Sq;\n") != std::string::npos);
  CHECK(text.find("float scale;") != std::string::npos);
  CHECK(text.find("kl::Tensor q;") < text.find("kl::Tensor lse;"));
  CHECK(text.find("#line 1 \"candidate.cu\"\n// mine") != std::string::npos);
  CHECK(text.find(" R;") == std::string::npos);
}

TEST_CASE("a dim beyond 2^31 makes its member long long") {
  const Task task = attention_task();
  Workload large = *task.find_workload("ragged");
  large.dims["Sk"] = std::int64_t{1} << 33;
  const PlanPoint point{.workload = &large};
  CHECK(code_unit(task, Form::candidate, std::span(&point, 1), "").find("long long Sk;") !=
        std::string::npos);
}

TEST_CASE("in the reference form outputs are f64 over the listed rows, and rows is one more tensor") {
  const Task task = attention_task();
  const PlanPoint point{.workload = task.find_workload("ragged"), .reference_rows = 17};
  CHECK(tensor_count_in_form(task, Form::reference) == 7);
  const TensorSpec output = tensor_in_form(task, 4, Form::reference);
  CHECK(output.dtype == Dtype::f64);
  CHECK(tensor_shape_in_form(task, 4, Form::reference, point) == std::vector<std::int64_t>{17, 128});
  CHECK(tensor_shape_in_form(task, 5, Form::reference, point) == std::vector<std::int64_t>{17});
  CHECK(tensor_shape_in_form(task, 0, Form::reference, point) == std::vector<std::int64_t>{1, 300, 32, 128});
  CHECK(tensor_in_form(task, 6, Form::reference).name == "rows");
  CHECK(tensor_shape_in_form(task, 6, Form::reference, point) == std::vector<std::int64_t>{17});
  CHECK(code_unit(task, Form::reference, std::span(&point, 1), "").find("int R;") != std::string::npos);
}

TEST_CASE("comments and literals are blanked, lines stay where they are") {
  const std::string code =
      code_without_literals("a \"b // c\" /* d\n e */ f // g\\\n h\ni R\"x(j)x\" 1'000 'k'");
  CHECK(code.find('b') == std::string::npos);
  CHECK(code.find('d') == std::string::npos);
  CHECK(code.find('h') == std::string::npos);
  CHECK(code.find('j') == std::string::npos);
  CHECK(code.find('k') == std::string::npos);
  CHECK(code.find('f') != std::string::npos);
  CHECK(code.find("1'000") != std::string::npos);
  CHECK(std::count(code.begin(), code.end(), '\n') == 3);
}

TEST_CASE("text that is no UTF-8, or too long, is refused") {
  CHECK(check_source("caf\xe9")->reason == "source_not_text");
  CHECK(check_source(std::string("a\0b", 3))->reason == "source_not_text");
  CHECK(check_source(std::string(70000, 'x'))->reason == "source_too_long");
  CHECK_FALSE(check_source(
      "// caf\xc3\xa9\n#include <cuda_bf16.h>\n#include <kernelites/ptx.cuh>\n#include <cstdint>\n"));
}

TEST_CASE("options on the allow-list are taken in order, others are refused") {
  const auto options =
      candidate_options("// options: --use_fast_math --ptxas-options=--register-usage-level=10\n");
  CHECK(std::get<std::vector<std::string>>(options) ==
        std::vector<std::string>{"--use_fast_math", "--ptxas-options=--register-usage-level=10"});
  for (const char* option :
       {"-DX=1", "--maxrregcount=8", "--maxrregcount=64x", "-G", "--ptxas-options=-v", "-I/etc"}) {
    CHECK(std::holds_alternative<Verdict>(candidate_options(std::string("// options: ") + option)));
  }
}

TEST_CASE("what is no cubin is refused, whatever its header claims") {
  CHECK_FALSE(parse_cubin({}));
  std::vector<std::byte> bytes(4096, std::byte{0xff});
  std::memcpy(bytes.data(),
              "\x7f"
              "ELF\x02",
              5);
  for (std::size_t size : {16, 63, 64, 4096}) CHECK_FALSE(parse_cubin(std::span(bytes).first(size)));
}
