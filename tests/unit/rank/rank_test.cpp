// SPDX-License-Identifier: Apache-2.0
// Traces of both formats, made here by hand; what is ranked, and what is refused by name.
#include <cmath>
#include <set>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/rank/rank_traces.h"
#include "tools/rank/kernel_name.h"
#include "tools/rank/launch_table.h"
#include "tools/rank/operation_work.h"
#include "tools/rank/rank_text.h"

using namespace kernelites;
namespace fs = std::filesystem;

TEST_CASE("a Chrome trace gives launches, device, operations and shapes of its kernels alone") {
  const TemporaryFolder folder;
  const KernelTrace trace = read_trace(
      write(folder, "t.json",
            chrome_trace(
                {operation_event("aten::mm", 5, "[[64, 32], [32, 16]]"), kernel_event("gemm", 10, 4, 5),
                 kernel_event("gemm", 20, 6, 5), kernel_event("gemm", 30, 5),
                 R"({"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy DtoH", "ts": 40, "dur": 3, "args": {}})",
                 R"({"ph": "i", "cat": "kernel", "name": "gemm", "ts": 50, "dur": 99})",
                 R"({"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 60, "dur": 99})"})));
  CHECK(trace.format == "Chrome trace");
  CHECK(trace.device == "NVIDIA H100 80GB HBM3");
  CHECK(trace.launches == 3);
  CHECK(trace.kernel_us == Approx(15));
  CHECK(trace.copy_us == Approx(3));
  CHECK(trace.span_us == Approx(25));
  REQUIRE(trace.kernels.size() == 2);
  CHECK(trace.kernels[0].operation == "aten::mm");
  CHECK(trace.kernels[0].shapes == "[[64,32],[32,16]]");
  CHECK(trace.kernels[0].launches == 2);
  CHECK(trace.kernels[0].most_us == Approx(6));
  CHECK(trace.kernels[1].operation.empty());
}

TEST_CASE("a gzipped trace and a bare list of events read alike") {
  const TemporaryFolder folder;
  const std::string event = kernel_event("gemm", 10, 4);
  CHECK(read_trace(write_gzip(folder, chrome_trace({event}))).kernel_us == Approx(4));
  CHECK(read_trace(write(folder, "list.json", "[" + event + "]")).kernel_us == Approx(4));
}

TEST_CASE("an export of Nsight Systems gives the same as a Chrome trace of the same kernels") {
  const TemporaryFolder folder;
  const KernelTrace trace = read_trace(write_nsight(
      folder,
      "INSERT INTO StringIds VALUES (1, 'void flash_fwd_kernel<T>(P)'), (2, 'flash_fwd_kernel');"
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 5000, 0, 7, 1, 2), (9000, 11000, 0, 7, 1, 2);"
      "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (0, 500);"));
  CHECK(trace.format == "Nsight Systems");
  CHECK(trace.launches == 2);
  CHECK(trace.kernel_us == Approx(6));
  CHECK(trace.span_us == Approx(10));
  CHECK(trace.copy_us == Approx(0.5));
  CHECK(trace.kernels[0].name == "void flash_fwd_kernel<T>(P)");
}

TEST_CASE("two GPUs at once are busy each, and the text says that they are two") {
  const TemporaryFolder folder;
  const KernelTrace trace = read_trace(write_nsight(
      folder,
      "INSERT INTO StringIds VALUES (1, 'flash_fwd_kernel'), (2, 'flash_fwd_kernel');"
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10000, 0, 7, 1, 2), (0, 5000, 1, 7, 1, 2);"));
  CHECK(trace.gpus == 2);
  CHECK(trace.busy_us == Approx(15));
  CHECK(trace.span_us == Approx(10));
  const KernelRanking ranking = rank_kernels(trace, known_kernel_kinds(), 2);
  CHECK(rank_text(trace, ranking, 5).find("the 2 GPUs run kernels 75.0 % of 0.010 ms") != std::string::npos);
}

TEST_CASE("kernels of two streams at once are busy time once") {
  const TemporaryFolder folder;
  const KernelTrace trace =
      read_trace(write(folder, "t.json", chrome_trace({kernel_event("a", 0, 10), kernel_event("b", 5, 10)})));
  CHECK(trace.kernel_us == Approx(20));
  CHECK(trace.busy_us == Approx(15));
}

TEST_CASE("what is no trace is refused with what it is") {
  const TemporaryFolder folder;
  const std::string good = chrome_trace({kernel_event("gemm", 10, 4)});
  CHECK(refusal_of(folder.path() / "nowhere.json").find("no such file") != std::string::npos);
  CHECK(refusal_of(folder.path()).find("is a folder") != std::string::npos);
  CHECK(refusal_of(write(folder, "empty", "")).find("is empty") != std::string::npos);
  CHECK(refusal_of(write(folder, "text", "hello, world")).find("neither JSON nor") != std::string::npos);
  CHECK(refusal_of(write(folder, "cut", good.substr(0, good.size() / 2))).find("ends in the middle") !=
        std::string::npos);
  CHECK(refusal_of(write(folder, "object", R"({"a": 1})")).find("traceEvents") != std::string::npos);
  CHECK(refusal_of(write(folder, "cpu.json", chrome_trace({operation_event("aten::mm", 1, "[]")})))
            .find("without a GPU kernel") != std::string::npos);
  CHECK(refusal_of(write_gzip(folder, good, 12)).find("unpacked") != std::string::npos);
  CHECK(refusal_of(write(folder, "r.nsys-rep", "NSYS-REPORT")).find("nsys export") != std::string::npos);
  const fs::path foreign = folder.path() / "foreign.db";
  Database(foreign, Database::Mode::create).execute("CREATE TABLE t (x)");
  CHECK(refusal_of(foreign).find("CUPTI_ACTIVITY_KIND_KERNEL") != std::string::npos);
}

TEST_CASE("names are shortened to what people call a kernel") {
  CHECK(short_kernel_name("void flash::flash_fwd_kernel<Traits<128, 64>, true>(Flash_fwd_params)") ==
        "flash_fwd_kernel");
  CHECK(short_kernel_name("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm>(P)") ==
        "cutlass_80_wmma_tensorop_bf16_s161616gemm");
  CHECK(short_kernel_name("_ZN2ns6kernelIiEEvPT_") == "kernel");
  CHECK(short_kernel_name("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT") ==
        "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT");
  CHECK(short_kernel_name("void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float>(float*)") ==
        "cunn_SoftMaxForward");
  CHECK(short_kernel_name(
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>, "
            "std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add<c10::BFloat16>)") ==
        "vectorized_elementwise_kernel:CUDAFunctor_add");
}

TEST_CASE("an attention of one query a sequence is a decode step, whatever its kernel is called") {
  const std::vector<KernelKind> kinds = known_kernel_kinds();
  KernelTrace trace;
  const char* const operation = "aten::_scaled_dot_product_cudnn_attention";
  trace.kernels = {{.name = "cudnn_sdpa_flash_fprop",
                    .operation = operation,
                    .shapes = "[[4,16,1,128],[4,16,2048,128],[4,16,2048,128]]",
                    .launches = 1,
                    .total_us = 30},
                   {.name = "cudnn_sdpa_flash_fprop",
                    .operation = operation,
                    .shapes = "[[4,16,2048,128],[4,16,2048,128],[4,16,2048,128]]",
                    .launches = 1,
                    .total_us = 70}};
  const KernelRanking ranking = rank_kernels(one_after_the_other(trace), kinds, 2);
  REQUIRE(ranking.kernels.size() == 2);
  CHECK(ranking.kernels[0].task == "gqa_prefill_causal");
  CHECK(ranking.kernels[1].task == "gqa_decode_splitkv");
}

TEST_CASE("kernels rank by their share, and those of one task count together") {
  const std::vector<KernelKind> kinds = known_kernel_kinds();
  KernelTrace trace{.device = "NVIDIA H100 80GB HBM3"};
  const auto add = [&](const char* name, double us, const char* operation = "") {
    trace.kernels.push_back({.name = name, .operation = operation, .launches = 1, .total_us = us});
  };
  add("void flash::flash_fwd_kernel<T>(P)", 300);
  add("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", 100);
  add("nvjet_tst_128x256", 400);
  add("void at::native::vectorized_elementwise_kernel<4, F>(F)", 200, "aten::_fused_rms_norm");
  trace = one_after_the_other(trace);
  const KernelRanking ranking = rank_kernels(trace, kinds, 2);
  CHECK(ranking.kernels[0].name == "nvjet_tst_128x256");
  CHECK(ranking.kernels[0].kind->task.empty());
  REQUIRE(ranking.tasks.size() == 2);
  CHECK(ranking.tasks[0].task == "gqa_prefill_causal");
  CHECK(ranking.tasks[0].share == Approx(0.4));
  CHECK(ranking.tasks[0].speedup_if_faster == Approx(1 / 0.8));
  CHECK(ranking.tasks[0].speedup_limit == Approx(1 / 0.6));
  CHECK(ranking.tasks[1].task == "rmsnorm");
  CHECK(ranking.covered_share == Approx(0.6));
  const std::string text = rank_text(trace, ranking, 3);
  CHECK(text.find("kernelites run --task gqa_prefill_causal --out runs/gqa_prefill_causal") !=
        std::string::npos);
  CHECK(text.find("and 1 more kernels, 10.0 %") != std::string::npos);
}

TEST_CASE("the kinds of well-known kernels lead to the task that covers them") {
  const std::vector<KernelKind> kinds = known_kernel_kinds();
  struct Row {
    const char *kernel, *operation, *task;
  };
  const Row rows[] = {
      {"void flash_fwd_splitkv_kernel<T>(P)", "", "gqa_decode_splitkv"},
      {"void flash_fwd_splitkv_combine_kernel<T>(P)", "", "attention_state_merge"},
      {"void flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<T>(P)", "", "gqa_bwd_causal"},
      {"cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7", "", "gqa_prefill_causal"},
      {"cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16", "", "gqa_bwd_causal"},
      {"void vllm::paged_attention_v2_kernel<T>()", "", "gqa_decode_paged"},
      {"void flashinfer::BatchDecodeWithPagedKVCacheKernel<T>()", "", "gqa_decode_paged"},
      {"void flashinfer::PersistentVariableLengthMergeStatesKernel<T>()", "", "attention_state_merge"},
      {"void at::native::vectorized_layer_norm_kernel<T>()", "aten::_fused_rms_norm", "rmsnorm"},
      {"void cunn_SoftMaxForward<8>()", "aten::_softmax", "softmax_row"},
      {"nvjet_tst_128x256_64x4", "aten::mm", ""},
      {"ncclDevKernel_AllReduce_Sum_bf16", "", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.kernel);
    const KernelKind* const kind = kind_of(kinds, row.kernel, row.operation);
    REQUIRE(kind != nullptr);
    CHECK(kind->task == row.task);
  }
  CHECK(kind_of(kinds, "my_own_thing", "") == nullptr);
}

TEST_CASE("every task that the table names exists") {
  std::set<std::string> tasks;
  for (const KernelKind& kind : known_kernel_kinds())
    if (!kind.task.empty()) tasks.insert(kind.task);
  CHECK(tasks.size() > 10);
  for (const std::string& task : tasks) {
    CAPTURE(task);
    CHECK(fs::exists(fs::path(KERNELITES_SOURCE_DIR) / "tasks" / task / "task.json"));
  }
}

TEST_CASE("a table of kinds with a mistake is refused with its row") {
  const auto refusal = [](const char* text) -> std::string {
    try {
      parse_kernel_kinds(parse_json(text, "mine.json"), "mine.json");
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal(R"({"rows": [{"kind": "k", "bound": "luck", "kernel": ["x"]}]})").find("rows[0]") !=
        std::string::npos);
  CHECK(refusal(R"({"rows": [{"kind": "k", "bound": "memory"}]})").find("needs a word") != std::string::npos);
  CHECK(refusal(R"({"rows": [{"kind": "k", "bound": "memory", "kernels": ["x"]}]})").find("kernels") !=
        std::string::npos);
}

TEST_CASE("the work of an operation follows from its shapes") {
  const char* const types = "c10::BFloat16,c10::BFloat16,c10::BFloat16";
  const auto product = work_of("aten::mm", "[[64,32],[32,16]]", types);
  REQUIRE(product);
  CHECK(product->flops == Approx(2 * 64 * 32 * 16));
  CHECK(product->bytes == Approx(2 * (64 * 32 + 32 * 16 + 64 * 16)));
  const auto attention =
      work_of("aten::_scaled_dot_product_flash_attention", "[[1,8,128,64],[1,8,256,64],[1,8,256,64]]", types);
  REQUIRE(attention);
  CHECK(attention->flops == Approx(4.0 * 8 * 128 * 256 * 64));
  CHECK(work_of("aten::mul", "[[10],[]]", types)->bytes == Approx(40));
  CHECK_FALSE(work_of("aten::mul", "", types));
  CHECK_FALSE(work_of("aten::mm", "[[64,32],[31,16]]", types));
}

TEST_CASE("shapes say whether a product is bound by memory or by arithmetic") {
  const std::vector<KernelKind> kinds = known_kernel_kinds();
  KernelTrace trace{.device = "NVIDIA H100 80GB HBM3"};
  const char* const types = "c10::BFloat16,c10::BFloat16";
  trace.kernels = {{.name = "gemm_large",
                    .operation = "aten::mm",
                    .shapes = "[[8192,8192],[8192,8192]]",
                    .types = types,
                    .launches = 1,
                    .total_us = 1600},
                   {.name = "gemm_flat",
                    .operation = "aten::mm",
                    .shapes = "[[1,8192],[8192,8192]]",
                    .types = types,
                    .launches = 1,
                    .total_us = 60},
                   {.name = "gemm_tiny",
                    .operation = "aten::mm",
                    .shapes = "[[8,8],[8,8]]",
                    .types = types,
                    .launches = 10,
                    .total_us = 20},
                   {.name = "gemm_unshaped", .launches = 1, .total_us = 100}};
  const KernelRanking ranking = rank_kernels(one_after_the_other(trace), kinds, 2);
  CHECK(kernel_named(ranking, "gemm_large").bound.resource == "compute");
  CHECK(kernel_named(ranking, "gemm_large").bound.is_by_shape);
  CHECK(kernel_named(ranking, "gemm_flat").bound.resource == "memory");
  CHECK(kernel_named(ranking, "gemm_flat").bound.of_peak == Approx(134.2e6 / 3352e3 / 60).epsilon(0.01));
  CHECK(kernel_named(ranking, "gemm_tiny").bound.resource == "latency");
  CHECK(kernel_named(ranking, "gemm_unshaped").bound.resource == "compute");
  CHECK_FALSE(kernel_named(ranking, "gemm_unshaped").bound.is_by_shape);
}

TEST_CASE("launches and operations beyond the limit are refused") {
  LaunchTable table("trace.json", 2);
  for (const std::uint64_t id : {1, 2}) {
    table.add_launch("kernel", id, static_cast<double>(id), 1);
    table.add_operation(id, {.name = "aten::mm", .shapes = {}, .types = {}});
  }
  CHECK_THROWS_AS(table.add_launch("kernel", 3, 3, 1), ConfigError);
  CHECK_THROWS_AS(table.add_operation(3, {.name = "aten::mm", .shapes = {}, .types = {}}), ConfigError);
  CHECK(table.summed().launches == 2);
}
