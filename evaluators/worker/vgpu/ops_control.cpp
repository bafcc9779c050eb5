// SPDX-License-Identifier: Apache-2.0
// Control: branches, calls, returns, barriers, traps, and what has no effect on the result.
//
// The run loop (warp.cpp) does the work of these; the handlers here do what remains.
#include <algorithm>

#include "evaluators/worker/vgpu/calls.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/memory.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

void nothing(Warp&, const Instruction&, Mask) {}

bool decode_nothing(Decoder&, const Statement&, Instruction& i) {
  i.handler = nothing;
  i.op_class = OpClass::control;
  return true;
}

bool decode_bra(Decoder& d, const Statement& s, Instruction& i) {
  if (s.targets.size() != 1) return false;
  i.flow = Flow::branch;
  i.op_class = OpClass::control;
  i.target = d.code_index(s.targets[0]);
  return true;
}

bool decode_brx(Decoder& d, const Statement& s, Instruction& i) {
  if (s.targets.empty() || s.operands.empty() || s.targets.size() > 65535) return false;
  i.flow = Flow::indexed_branch;
  i.op_class = OpClass::control;
  i.a = d.source(s.operands[0], 4);
  std::vector<u32> targets;
  for (u32 target : s.targets) targets.push_back(d.code_index(target));
  i.extra = static_cast<u16>(targets.size());
  i.list = d.add_list(targets);
  return true;
}

bool decode_ret(Decoder&, const Statement&, Instruction& i) {
  i.flow = Flow::ret;
  i.op_class = OpClass::control;
  return true;
}

bool decode_exit(Decoder&, const Statement&, Instruction& i) {
  i.flow = Flow::exit;
  i.op_class = OpClass::control;
  return true;
}

void trap(Warp&, const Instruction&, Mask mask) {
  raise(FaultKind::trap, lowest_lane(mask), "the kernel executes trap");
}

bool decode_trap(Decoder&, const Statement&, Instruction& i) {
  i.handler = trap;
  i.op_class = OpClass::control;
  return true;
}

void fence_block(Warp& warp, const Instruction&, Mask) { warp.block->order.fence(warp.index, true); }
void fence_grid(Warp& warp, const Instruction&, Mask) { warp.block->order.fence(warp.index, false); }

/// fence.proxy.async: what happened so far is visible to TMA and wgmma.
void fence_proxy(Warp& warp, const Instruction&, Mask) { warp.block->order.fence_proxy(warp.index); }

/// fence.mbarrier_init: what was initialised is visible to the cluster, also behind relaxed arrivals at its barrier.
void fence_init(Warp& warp, const Instruction&, Mask mask) { fence_initialised(warp, mask); }

bool decode_fence(Decoder&, const Statement& s, Instruction& i) {
  const bool is_async = (s.has("async") && !s.has("global")) || s.has("async::generic");  // for shared memory
  i.handler = s.has("mbarrier_init")       ? fence_init
              : s.has("proxy") && is_async ? fence_proxy
              : s.has("proxy")             ? nothing
              : s.has("cta")               ? fence_block
                                           : fence_grid;
  i.op_class = OpClass::control;
  return true;
}

bool decode_barrier(Decoder& d, const Statement& s, Instruction& i) {
  i.op_class = OpClass::barrier;
  const bool is_cluster = s.has("cluster");
  if (!is_cluster && (s.has("wait") || s.has("release") || s.has("relaxed") || s.has("acquire")))
    return false;
  if (s.has("warp")) {
    if (s.operands.size() != 1) return false;
    i.handler = nothing;
    d.wait_for_members(s.operands[0], i);
    return true;
  }
  if (is_cluster) return decode_cluster_barrier(s, i);
  const bool is_reduction = s.has("red");
  const std::size_t first = is_reduction ? 1 : 0, last = s.operands.size() - (is_reduction ? 1 : 0);
  if (s.operands.size() < first + 1 + (is_reduction ? 1 : 0)) return false;
  if (s.has("arrive") && last < first + 2) return false;  // nobody would know when all are there
  i.flow = Flow::barrier;
  i.mode = static_cast<u8>(is_reduction      ? s.has("popc")  ? BarrierMode::count
                                               : s.has("and") ? BarrierMode::all
                                                              : BarrierMode::any
                           : s.has("arrive") ? BarrierMode::arrive
                                             : BarrierMode::wait);
  i.flags = s.is("bar") || s.has("aligned") ? k_aligned_barrier : 0;
  i.a = d.source(s.operands[first], 4);
  i.b = first + 1 < last ? d.source(s.operands[first + 1], 4) : d.constant(0, 4);
  if (is_reduction) {
    i.d = s.has("popc") ? d.destination(s.operands[0], 4) : d.predicate_destination(s.operands[0]);
    i.c = d.negatable_predicate(s.operands.back());
    i.extra = s.operands.back().is_negated;
  }
  return true;
}

/// vprintf prints nothing: candidates have no standard output.
void print_nothing(Warp& warp, const Instruction& i, Mask mask) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const std::size_t at = std::size_t{lowest_lane(rest)} * warp.context->image->local_bytes + i.a;
    std::memset(warp.local + at, 0, 4);
    std::memset(warp.local_state + at, 1, 4);
  }
}

/// The text that the module has at an address: its initial value, whatever the kernel has written there since, so that
/// a message cannot spell what a kernel has read.
std::string initial_text(const Program& program, u64 address) {
  std::string text;
  for (const ModuleVariable& variable : program.variables) {
    if (address < variable.address || address - variable.address >= variable.bytes.size()) continue;
    for (u64 at = address - variable.address; at < variable.bytes.size() && text.size() < 200; ++at) {
      const char c = static_cast<char>(variable.bytes[at]);
      if (c == 0) break;
      text += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return text;
}

/// __assertfail(message, file, line, function, size).
void assertion_failed_on_device(Warp& warp, const Instruction& i, Mask mask) {
  const u32 lane = lowest_lane(mask);
  u64 message = 0;
  std::memcpy(&message, warp.local + std::size_t{lane} * warp.context->image->local_bytes + i.a,
              sizeof message);
  raise(FaultKind::trap, lane, "assertion failed: " + initial_text(*warp.context->program, message));
}

bool decode_external_call(Decoder& d, const Statement& s, Instruction& i) {
  const std::string_view name = s.operands[0].name;
  i.op_class = OpClass::control;
  if (name == "vprintf" && s.results.size() == 1 && s.results[0].local >= 0) {
    i.handler = print_nothing;
    i.a = d.local_offset(s.results[0].local);
    return true;
  }
  if (name == "__assertfail" && !s.arguments.empty() && s.arguments[0].local >= 0) {
    i.handler = assertion_failed_on_device;
    i.a = d.local_offset(s.arguments[0].local);
    return true;
  }
  return false;
}

/// Copies of arguments and results: triples (from, to, bytes) in local memory. False if they do not fit the callee.
bool parameter_copies(Decoder& d, const Statement& s, const Decoder::LinkedFunction& callee,
                      std::vector<u32>& copies) {
  const Function& function = *callee.function;
  if (s.arguments.size() != function.parameters.size() || s.results.size() != function.results.size() ||
      s.arguments.size() > 255)
    return false;
  for (std::size_t k = 0; k < s.arguments.size(); ++k) {
    const u32 bytes = function.parameters[k].bytes;
    if (s.arguments[k].local < 0 || d.local_bytes(s.arguments[k].local) < bytes) return false;
    copies.insert(copies.end(), {d.local_offset(s.arguments[k].local), callee.parameter_offsets[k], bytes});
  }
  for (std::size_t k = 0; k < s.results.size(); ++k) {
    const u32 bytes = function.results[k].bytes;
    if (s.results[k].local < 0 || d.local_bytes(s.results[k].local) < bytes) return false;
    copies.insert(copies.end(), {callee.result_offsets[k], d.local_offset(s.results[k].local), bytes});
  }
  return true;
}

/// A call through a register may reach every function of this signature whose address is taken.
bool decode_indirect_call(Decoder& d, const Statement& s, Instruction& i) {
  if (d.calls().address_taken().size() > 65535) return false;
  i.a = d.source(s.operands[0], 8);
  std::vector<u32> records;
  for (const Function* function : d.calls().address_taken()) {
    const Decoder::LinkedFunction* callee = d.find_function(function->name);
    std::vector<u32> copies;
    if (callee == nullptr || !parameter_copies(d, s, *callee, copies)) continue;
    const u64 address = d.program().symbol_address(function->name);
    records.insert(records.end(), {static_cast<u32>(address), static_cast<u32>(address >> 32), callee->entry,
                                   d.add_list(copies), static_cast<u32>(s.arguments.size()),
                                   static_cast<u32>(s.results.size())});
    d.place_caller(*function, i);
  }
  if (records.empty()) return false;
  i.mode = k_indirect_call;
  i.extra = static_cast<u16>(records.size() / k_callee_words);
  i.list = d.add_list(records);
  i.flow = Flow::call;
  return true;
}

bool decode_call(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.empty()) return false;
  i.op_class = OpClass::control;
  if (is_indirect_call(s)) return decode_indirect_call(d, s, i);
  if (s.operands[0].kind != Operand::Kind::symbol) return false;
  const Decoder::LinkedFunction* callee = d.find_function(s.operands[0].name);
  if (callee == nullptr) return decode_external_call(d, s, i);
  std::vector<u32> copies;
  if (callee->function->is_kernel || !parameter_copies(d, s, *callee, copies)) return false;
  i.flow = Flow::call;
  i.target = callee->entry;
  i.count = static_cast<u8>(s.arguments.size());
  i.extra = static_cast<u16>(s.results.size());
  i.list = d.add_list(copies);
  d.place_caller(*callee->function, i);
  return true;
}

/// createpolicy: some 64-bit value; hints have no effect here.
void make_policy(Warp& warp, const Instruction& i, Mask mask) {
  u64* d = reinterpret_cast<u64*>(warp.registers + i.d);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) d[lowest_lane(rest)] = 0;
}

void wait_for_grid(Warp& warp, const Instruction&, Mask) { warp.steps->waits_for_grid = true; }
void let_next_begin(Warp& warp, const Instruction&, Mask) { warp.steps->lets_next_begin = true; }

/// Launches follow each other here; who runs them can ask whether they would have had to.
bool decode_griddepcontrol(Decoder&, const Statement& s, Instruction& i) {
  i.handler = s.has("wait") ? wait_for_grid : let_next_begin;
  i.op_class = OpClass::control;
  return s.has("wait") != s.has("launch_dependents");
}

void registers_are_control(Warp&, const Instruction&, Mask) {}  // Flow::register_count does it

bool decode_setmaxnreg(Decoder&, const Statement& s, Instruction& i) {
  if (s.has("inc") == s.has("dec") || s.operands.size() != 1) return false;
  const Operand& count = s.operands[0];
  const bool is_count = count.kind == Operand::Kind::immediate && count.immediate >= 24 &&
                        count.immediate <= 256 && count.immediate % 8 == 0;
  i.handler = registers_are_control;
  i.flow = Flow::register_count;
  i.op_class = OpClass::control;
  i.mode = s.has("inc") ? 1 : 0;
  i.extra = static_cast<u16>(count.immediate);
  return is_count;
}

bool decode_createpolicy(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.empty()) return false;
  i.handler = make_policy;
  i.op_class = OpClass::control;
  i.d = d.destination(s.operands[0], 8);
  return true;
}

constexpr std::string_view k_fence_modifiers =
    "sc acq_rel acquire release cta cluster gpu sys proxy alias async async::generic async.global global "
    "shared::cta shared::cluster mbarrier_init sync_restrict::shared::cta sync_restrict::shared::cluster";
constexpr std::string_view k_prefetch_modifiers =
    "global local const param tensormap L1 L2 L2::evict_last L2::evict_normal";
constexpr std::string_view k_policy_modifiers =
    "fractional range cvt global L2 L2::evict_last L2::evict_normal L2::evict_first L2::evict_unchanged";

// Not here: discard, which destroys what memory holds.
constexpr InstructionRow k_rows[] = {
    {"bra", "", "uni", decode_bra, ResultKind::none},
    {"brx", "", "idx uni", decode_brx, ResultKind::none},
    {"ret", "", "uni", decode_ret, ResultKind::none},
    {"exit", "", "", decode_exit, ResultKind::none},
    {"call", "", "uni", decode_call, ResultKind::none},
    {"trap", "", "", decode_trap, ResultKind::none},
    {"brkpt", "", "", decode_trap, ResultKind::none},
    {"bar", "u32 pred", "cta warp sync arrive red popc and or", decode_barrier, ResultKind::none},
    {"barrier", "u32 pred", "cta sync arrive red popc and or aligned cluster wait release relaxed acquire",
     decode_barrier, ResultKind::none},
    {"membar", "", "cta gl sys proxy alias", decode_fence, ResultKind::none},
    {"fence", "", k_fence_modifiers, decode_fence, ResultKind::none},
    {"nanosleep", "u32", "", decode_nothing, ResultKind::none},
    {"prefetch", "", k_prefetch_modifiers, decode_nothing, ResultKind::none},
    {"prefetchu", "", "L1", decode_nothing, ResultKind::none},
    {"applypriority", "", "global L2::evict_normal", decode_nothing, ResultKind::none},
    {"griddepcontrol", "", "launch_dependents wait", decode_griddepcontrol, ResultKind::none},
    {"setmaxnreg", "u32", "inc dec sync aligned", decode_setmaxnreg, ResultKind::none},
    {"pmevent", "", "mask", decode_nothing, ResultKind::none},
    {"createpolicy", "b64", k_policy_modifiers, decode_createpolicy},
};

}  // namespace

std::span<const InstructionRow> control_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
