// SPDX-License-Identifier: Apache-2.0
// Longest chains of dependences in basic blocks.
#include "evaluators/worker/vgpu/critical_path.h"

#include <algorithm>

#include "evaluators/worker/vgpu/statement_registers.h"

namespace kernelites::worker::vgpu {
namespace {

/// Cycles from issue to result on Hopper: Luo et al. 2024, "Benchmarking and Dissecting the Nvidia Hopper GPU
/// Architecture" (memory, tensor cores); arithmetic as in Abdelkhalik et al. 2022 for Ampere.
constexpr float k_global_far = 479, k_global_near = 41, k_shared = 29, k_tensor = 33, k_special = 18,
                k_shuffle = 23, k_conversion = 8, k_double = 8, k_arithmetic = 4, k_barrier = 20,
                k_atomic = 300, k_branch = 8;

float result_latency(OpClass op_class, float global) {
  switch (op_class) {
    case OpClass::global_load:
      return global;
    case OpClass::local_load:
      return k_global_near;
    case OpClass::shared_load:
    case OpClass::parameter_load:
      return k_shared;
    case OpClass::atomic:
      return k_atomic;
    case OpClass::tensor:
      return k_tensor;
    case OpClass::special:
      return k_special;
    case OpClass::shuffle:
      return k_shuffle;
    case OpClass::conversion:
      return k_conversion;
    case OpClass::fp64:
      return k_double;
    default:
      return k_arithmetic;
  }
}

/// Machine instructions that ptxas makes of one PTX instruction, where they are many, and how long their chain is: read
/// off nvdisasm's listings for sm_90 (the usual path of division and roots, without its slow one).
struct Expansion {
  float instructions = 1, latency = 0;  ///< 0: as its class has it
};

Expansion expansion_of(const Statement& statement) {
  const bool is_rest = statement.is("rem");
  if (!statement.is("div") && !is_rest && !statement.is("sqrt") && !statement.is("rcp")) return {};
  const std::string_view type = statement.parts.back();
  if (type == "f32") {
    if (!statement.has("rn")) return {.instructions = statement.is("div") ? 3.0F : 1.0F, .latency = 26};
    return {.instructions = 9, .latency = 54};
  }
  if (type == "f64") return {.instructions = 14, .latency = 120};
  const bool is_wide = type == "u64" || type == "s64";
  return is_wide ? Expansion{.instructions = 80, .latency = 340}
                 : Expansion{.instructions = 20, .latency = 90};
}

bool is_memory(OpClass op_class) {
  return op_class == OpClass::global_load || op_class == OpClass::global_store ||
         op_class == OpClass::shared_load || op_class == OpClass::shared_store ||
         op_class == OpClass::atomic || op_class == OpClass::async_copy;
}

/// Follows one basic block. `ready` holds when each register's value is there.
class Chain {
 public:
  Chain(const Function& function, float global) : ready_(function.registers.size()), global_(global) {}

  void start() {
    std::fill(ready_.begin(), ready_.end(), 0.0F);
    fence_ = stored_ = copied_ = end_ = pipelined_ = 0;
  }

  void step(const Statement& statement, OpClass op_class) {
    float begin = is_memory(op_class) ? fence_ : 0;
    const auto use = [&](int reg) { begin = std::max(begin, ready_[static_cast<u32>(reg)]); };
    visit_registers(statement, use, [](int) {});
    if (op_class == OpClass::barrier) {
      fence_ = std::max({fence_, stored_, begin}) + k_barrier;
      end_ = std::max(end_, fence_);
      return;
    }
    if (op_class == OpClass::async_copy) return follow_copy(statement, begin);
    if (op_class == OpClass::shared_store || op_class == OpClass::global_store)
      stored_ = std::max(stored_, begin);
    // What a store may have written is read behind it.
    if (op_class == OpClass::global_load && !statement.has("nc")) begin = std::max(begin, stored_);
    if (op_class == OpClass::shared_load) begin = std::max(begin, stored_);
    const float expanded = expansion_of(statement).latency;
    const float finish = begin + (expanded > 0 ? expanded : result_latency(op_class, global_));
    end_ = std::max(end_, finish);
    visit_registers(
        statement, [](int) {}, [&](int reg) { ready_[static_cast<u32>(reg)] = finish; });
  }

  float cycles() const { return std::max(end_, pipelined_) + k_branch; }

 private:
  /// A wait for everything lasts until the copies of this block have come. One that lets n groups go on was issued for
  /// n + 1 turns of a loop ahead, so that a turn takes its share of the latency at least.
  void follow_copy(const Statement& statement, float begin) {
    const bool is_wait = statement.has("wait_group") || statement.has("wait_all");
    if (!is_wait) {
      if (!statement.has("commit_group")) copied_ = std::max(copied_, begin + global_);
      end_ = std::max(end_, begin);
      return;
    }
    const u64 groups =
        statement.has("wait_group") && !statement.operands.empty() ? statement.operands[0].immediate : 0;
    if (groups == 0)
      fence_ = std::max(fence_, copied_);
    else
      pipelined_ = std::max(pipelined_, global_ / static_cast<float>(groups + 1));
    end_ = std::max(end_, fence_);
  }

  std::vector<float> ready_;
  float global_;
  float fence_ = 0;      ///< memory instructions begin behind it
  float stored_ = 0;     ///< when the last store had its value
  float copied_ = 0;     ///< when the last copy has come
  float pipelined_ = 0;  ///< at least so long, by the waits for earlier turns
  float end_ = 0;
};

}  // namespace

std::vector<ChainCycles> critical_paths(const Function& function, std::span<const Instruction> code) {
  const std::vector<Statement>& statements = function.statements;
  std::vector<bool> leads(statements.size() + 1, false);
  for (std::size_t k = 0; k < statements.size(); ++k) {
    for (const u32 target : statements[k].targets)
      leads[std::min<std::size_t>(target, statements.size())] = true;
    if (ends_block(statements[k])) leads[k + 1] = true;
  }
  std::vector<ChainCycles> cycles(statements.size());
  Chain near(function, k_global_near), far(function, k_global_far);
  std::size_t first = 0;
  for (std::size_t k = 0; k < statements.size(); ++k) {
    if (leads[k] || k == 0) {
      first = k;
      near.start();
      far.start();
    }
    near.step(statements[k], code[k].op_class);
    far.step(statements[k], code[k].op_class);
    cycles[first].near = near.cycles();
    cycles[first].far = far.cycles();
    cycles[k].more = expansion_of(statements[k]).instructions - 1;
  }
  return cycles;
}

}  // namespace kernelites::worker::vgpu
