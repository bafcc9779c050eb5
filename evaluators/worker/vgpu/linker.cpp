// SPDX-License-Identifier: Apache-2.0
// Links a kernel with the functions it calls into one image.
//
// Callees come before their callers, so that with the lowest pc first the lanes inside a call run before those that
// skipped it, and meet again behind it. Every function has one static frame in local memory and its own registers;
// what recursion needs beyond that is in calls.cpp.
#include <algorithm>
#include <numeric>
#include <set>

#include "evaluators/worker/vgpu/calls.h"
#include "evaluators/worker/vgpu/critical_path.h"
#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/memory_order.h"
#include "evaluators/worker/vgpu/program.h"
#include "evaluators/worker/vgpu/register_budget.h"
#include "evaluators/worker/vgpu/special.h"

namespace kernelites::worker::vgpu {
namespace {

u32 align_up(u32 value, u32 to) { return (value + to - 1) / to * to; }

template <class Visit>
void visit_symbols(const Function& function, Visit visit) {
  for (const Statement& statement : function.statements) {
    for (const Operand& operand : statement.operands) {
      if (operand.local < 0 && !operand.name.empty()) visit(operand.name);
      for (const Operand& element : operand.elements) {
        if (element.local < 0 && !element.name.empty()) visit(element.name);
      }
    }
  }
}

/// Bytes that one lane accesses at once; 0 if the statement accesses neither shared nor global memory.
u32 access_bytes(const Statement& statement) {
  if (statement.is("ldmatrix") || statement.is("stmatrix")) return 16;
  if (statement.is("wmma")) return std::max(1u, type_bytes(statement.parts.back()));
  if (statement.is("cp") && statement.has("bulk")) return statement.has("tensor") ? 2 : 16;
  if (statement.is("mbarrier")) return 8;
  if (statement.is("wgmma")) return 16;
  if (statement.is("cp") && statement.operands.size() > 2)
    return static_cast<u32>(statement.operands[2].immediate);
  const bool is_load = statement.is("ld") || statement.is("ldu"), is_atomic = statement.is("atom");
  if (!is_load && !is_atomic && !statement.is("st") && !statement.is("red")) return 0;
  if (statement.has("local") || statement.has("param") || statement.has("const")) return 0;
  const std::size_t value = is_load || is_atomic ? 0 : 1;
  const u32 count = statement.operands.size() > value && !statement.operands[value].elements.empty()
                        ? static_cast<u32>(statement.operands[value].elements.size())
                        : 1;
  return std::max(1u, type_bytes(statement.parts.back())) * count;
}

/// Lowers the granules of a kernel to what a statement needs.
void lower_granules(const Statement& statement, KernelImage& image) {
  const u32 bytes = access_bytes(statement);
  if (bytes == 0) return;
  const bool is_copy = statement.is("cp");
  const bool is_shared = statement.has("shared") || statement.has("shared::cta") ||
                         statement.is("mbarrier") || statement.is("wgmma");
  const bool is_global = statement.has("global");
  // Tensor copies move chunks of 16 bytes in shared memory, elements in device memory.
  if (is_copy && statement.has("bulk")) {
    image.global_granule = static_cast<u8>(std::min<u32>(image.global_granule, bytes));
    return;
  }
  // A copy with a source size may read less than it writes.
  const u32 global_bytes = is_copy && statement.operands.size() > 3 ? 1 : bytes;
  if (is_copy || !is_global)
    image.shared_granule = static_cast<u8>(std::min<u32>(image.shared_granule, bytes));
  if (is_copy || !is_shared) {
    image.global_granule = static_cast<u8>(std::min<u32>(image.global_granule, global_bytes));
  }
}

bool is_strong_load(const Statement& statement) {
  return statement.is("ld") && (memory_order(statement) & k_strong_access) != 0;
}

/// Do the blocks of this kernel communicate through global memory?
bool communicates(const Statement& statement) {
  if (statement.is("cp") && statement.has("reduce")) return true;
  if (statement.has("shared") || statement.has("shared::cta") || statement.has("local")) return false;
  return statement.is("atom") || statement.is("red") || is_strong_load(statement);
}

/// Can it order accesses of some warps but not of all in the block?
bool orders_some(const Statement& statement) {
  if (statement.is("atom") || statement.is("red") || statement.is("mbarrier")) return true;
  if (is_strong_load(statement) || statement.is("wgmma") || statement.has("bulk")) return true;
  if (statement.is("cp") && statement.has("mbarrier")) return true;
  if (!statement.is("bar") && !statement.is("barrier")) return false;
  if (statement.has("warp")) return false;
  if (statement.has("arrive") || statement.has("cluster")) return true;
  return statement.operands.size() > (statement.has("red") ? 3u : 1u);
}

/// Does it need to know the other blocks of the cluster?
bool is_of_cluster(const Statement& statement) {
  if (statement.is("mapa") || statement.is("getctarank")) return true;
  if (statement.is("barrier")) return statement.has("cluster");
  if (statement.has("multicast::cluster")) return true;
  const bool is_load = statement.is("cp") && statement.has("global");  // into the own block's memory
  return statement.has("shared::cluster") && !statement.is("fence") && !is_load;
}

/// Appends the registers of a statement, in the order of its operands; of a wgmma those that are in flight.
void append_registers(const Statement& statement, u32 first, std::vector<u32>& registers) {
  auto add = [&](int reg) {
    if (reg >= 0) registers.push_back(first + static_cast<u32>(reg));
  };
  const bool is_product = statement.is("wgmma");
  for (const Operand& operand : statement.operands) {
    if (!is_product) add(operand.reg), add(operand.second);
    if (is_product && operand.kind != Operand::Kind::vector) continue;
    for (const Operand& element : operand.elements) {
      add(element.reg);
      for (const Operand& coordinate : element.elements) add(coordinate.reg);
    }
  }
  for (const Operand& argument : statement.arguments) add(argument.reg);
  for (const Operand& outcome : statement.results) add(outcome.reg);
}

/// By register: the address from which a cvta made it, before it was turned into one of a state space; else itself.
std::vector<int> generic_addresses(const Function& function) {
  std::vector<int> origin(function.registers.size());
  std::iota(origin.begin(), origin.end(), 0);
  for (const Statement& statement : function.statements) {
    if (!statement.is("cvta") || statement.operands.size() != 2) continue;
    const int to = statement.operands[0].reg, from = statement.operands[1].reg;
    if (to >= 0 && from >= 0) origin[static_cast<u32>(to)] = origin[static_cast<u32>(from)];
  }
  return origin;
}

/// Statements that load plainly what an atom.cas of the same address then confirms: atomics made of compare-and-swap
/// begin with such a load, and what it reads may be stale.
std::vector<std::size_t> optimistic_loads(const Function& function) {
  const std::vector<int> origin = generic_addresses(function);
  std::set<int> swapped;
  for (const Statement& statement : function.statements) {
    const bool is_swap = statement.is("atom") && statement.has("cas") && statement.operands.size() > 1;
    if (is_swap && statement.operands[1].reg >= 0)
      swapped.insert(origin[static_cast<u32>(statement.operands[1].reg)]);
  }
  std::vector<std::size_t> loads;
  for (std::size_t k = 0; k < function.statements.size() && !swapped.empty(); ++k) {
    const Statement& statement = function.statements[k];
    if (!statement.is("ld") || statement.operands.size() < 2 || statement.operands[1].reg < 0) continue;
    if (swapped.contains(origin[static_cast<u32>(statement.operands[1].reg)])) loads.push_back(k);
  }
  return loads;
}

}  // namespace

Decoder::Decoder(const Module& module, const Function& kernel, const Program& program, KernelImage& image)
    : module_(module),
      kernel_(kernel),
      calls_(module, program.variables, kernel),
      program_(program),
      image_(image) {}

const Decoder::LinkedFunction* Decoder::find_function(std::string_view name) const {
  const auto found = linked_.find(name);
  return found == linked_.end() ? nullptr : &found->second;
}

void Decoder::place_shared() {
  u32& end = image_.static_shared_bytes;
  for (const Function* function : calls_.order()) {
    function_shared_[function] = align_up(end, 128);
    if (function->shared_bytes > 0) end = align_up(end, 128) + function->shared_bytes;
    visit_symbols(*function, [&](std::string_view name) {
      const auto found = module_.shared.find(name);
      if (found == module_.shared.end() || found->second.bytes == 0 || shared_offsets_.contains(name)) return;
      end = align_up(end, found->second.align);
      shared_offsets_[found->first] = end;
      end += found->second.bytes;
    });
  }
  for (const auto& [name, variable] : module_.shared) {
    if (variable.bytes == 0) shared_offsets_[name] = align_up(end, 16);
  }
}

void Decoder::place_frame(const Function& function) {
  LinkedFunction& linked = linked_[function.name];
  linked.function = &function;
  // A frame above the limit is never launched (k_max_local_bytes); it only must not wrap around here.
  auto claim = [&](u32 bytes, u32 align) {
    const u32 begin = align_up(image_.local_bytes, std::clamp<u32>(align, 4, 1024));
    image_.local_bytes = static_cast<u32>(std::min<u64>(u64{begin} + bytes, 2 * k_max_local_bytes));
    return begin;
  };
  linked.frame = claim(function.local_bytes, 16);
  linked.end = image_.local_bytes;
  linked.is_recursive = calls_.is_recursive(function);
  if (linked.is_recursive)
    image_.largest_frame_bytes = std::max(image_.largest_frame_bytes, align_up(function.local_bytes, 16));
  if (function.is_kernel) return;
  auto place = [&](const std::vector<FormalParameter>& formals, std::vector<u32>& offsets) {
    for (const FormalParameter& formal : formals) offsets.push_back(claim(formal.bytes, formal.align));
  };
  place(function.parameters, linked.parameter_offsets);
  place(function.results, linked.result_offsets);
  linked.end = image_.local_bytes;
}

void Decoder::place_registers() {
  image_.predicate_offset = predicates_ = static_cast<u32>(Special::count_) * k_special_stride;
  u32 predicate_end = predicates_ + k_fixed_predicates_bytes;
  for (const Function* function : calls_.order()) predicate_end += 4 * predicate_count(*function);
  u32 end = scratch_ = align_up(predicate_end, 128);
  end += 16 * k_lanes;
  u32 predicate_begin = predicates_ + k_fixed_predicates_bytes;
  for (const Function* function : calls_.order()) {
    RegisterSlots slots = allocate_registers(*function, predicate_begin, end);
    predicate_begin += 4 * predicate_count(*function);
    end = align_up(slots.end, 128);
    slots_.emplace(function, std::move(slots));
  }
  image_.constant_offset = end;
}

void Decoder::link() {
  image_.parameter_bytes = kernel_.parameter_bytes;
  image_.max_threads = kernel_.max_threads;
  place_shared();
  place_registers();
  u32 entry = 0, least_increase = ~0u;
  bool has_wgmma = false;
  for (const Function* function : calls_.order()) {
    for (const Statement& statement : function->statements) {
      has_wgmma |= statement.is("wgmma");
      if (statement.is("setmaxnreg") && statement.has("inc") && !statement.operands.empty())
        least_increase = std::min(least_increase, static_cast<u32>(statement.operands[0].immediate));
      image_.needs_order |= communicates(statement);
      image_.uses_cluster |= is_of_cluster(statement);
      image_.tracks_order |= orders_some(statement) || is_of_cluster(statement);
      lower_granules(statement, image_);
    }
    place_frame(*function);
    linked_[function->name].entry = entry;
    entry += static_cast<u32>(function->statements.size()) + 1;
  }
  image_.entry_registers = entry_registers(kernel_, least_increase);
  image_.stack_offset = image_.local_bytes = align_up(image_.local_bytes, 16);
  if (image_.largest_frame_bytes > 0) image_.local_bytes += k_stack_bytes;
  for (const Function* function : calls_.order()) decode_function(*function);
  if (has_wgmma) note_registers();
  image_.arena_bytes = align_up(image_.constant_offset + static_cast<u32>(image_.constants.size()), 128);
}

bool Decoder::is_on_stack(const Operand& symbol) const {
  return symbol.local >= 0 && function_->locals[static_cast<u32>(symbol.local)].space == Space::local &&
         linked_.at(function_->name).is_recursive;
}

/// The layout is visit_saved's (calls.cpp).
u32 Decoder::add_saved_list(LinkedFunction& linked) {
  if (linked.saved_list != 0) return linked.saved_list;
  const RegisterSlots& slots = slots_.at(linked.function);
  std::map<u32, u32> registers;  // several virtual registers share a slot
  std::vector<u32> predicates;
  for (std::size_t reg = 0; reg < linked.function->registers.size(); ++reg) {
    const VirtualRegister& kind = linked.function->registers[reg];
    if (kind.is_predicate)
      predicates.push_back(slots.offsets[reg]);
    else if (slots.offsets[reg] < slots.end)
      registers.emplace(slots.offsets[reg], kind.width);
  }
  std::vector<u32> list = {static_cast<u32>(registers.size())};
  for (const auto& [offset, width] : registers) list.insert(list.end(), {offset, width});
  list.push_back(static_cast<u32>(predicates.size()));
  list.insert(list.end(), predicates.begin(), predicates.end());
  list.insert(list.end(), {linked.frame, linked.end});
  return linked.saved_list = add_list(list) + 1;
}

void Decoder::place_caller(const Function& callee, Instruction& i) {
  LinkedFunction& caller = linked_.at(function_->name);
  if (!caller.is_recursive) return;
  i.b = align_up(function_->local_bytes, 16);
  if (&callee == function_ || calls_.can_reach(callee, *function_)) i.c = add_saved_list(caller);
}

void Decoder::decode_function(const Function& function) {
  function_ = &function;
  LinkedFunction& linked = linked_[function.name];
  frame_ = linked.frame;
  function_begin_ = linked.entry;
  if (function.is_kernel) image_.entry = function_begin_;
  for (const Statement& statement : function.statements) decode_statement(statement);
  const std::vector<ChainCycles> chains =
      critical_paths(function, std::span(image_.code).subspan(function_begin_));
  image_.chains.insert(image_.chains.end(), chains.begin(), chains.end());
  image_.chains.emplace_back();
  for (const std::size_t load : optimistic_loads(function)) {
    image_.code[function_begin_ + load].flags |= k_strong_access;
  }
  Instruction end;
  end.flow = function.is_kernel ? Flow::exit : Flow::ret;
  end.op_class = OpClass::control;
  end.guard = predicates_;
  image_.code.push_back(end);
  image_.texts.push_back("ret");
}

void Decoder::note_registers() {
  u32 first = 0;
  for (const Function* function : calls_.order()) {
    for (const Statement& statement : function->statements) {
      image_.first_used.push_back(static_cast<u32>(image_.used_registers.size()));
      append_registers(statement, first, image_.used_registers);
    }
    image_.first_used.push_back(static_cast<u32>(image_.used_registers.size()));  // of the end
    first += static_cast<u32>(function->registers.size());
  }
  image_.first_used.push_back(static_cast<u32>(image_.used_registers.size()));
  image_.register_count = first;
}

bool Decoder::find_parameter(const Operand& memory, ParameterPlace& place) const {
  auto search = [&](const std::vector<FormalParameter>& formals, const std::vector<u32>* offsets) {
    for (std::size_t k = 0; k < formals.size(); ++k) {
      if (formals[k].name != memory.name) continue;
      place.is_local = offsets != nullptr;
      place.offset = offsets != nullptr ? (*offsets)[k] : formals[k].offset;
      return true;
    }
    return false;
  };
  const LinkedFunction& linked = linked_.at(function_->name);
  if (function_->is_kernel) return search(function_->parameters, nullptr);
  return search(function_->parameters, &linked.parameter_offsets) ||
         search(function_->results, &linked.result_offsets);
}

u32 Decoder::local_offset(int local) const {
  return frame_ + function_->locals[static_cast<u32>(local)].offset;
}

}  // namespace kernelites::worker::vgpu
