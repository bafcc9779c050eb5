// SPDX-License-Identifier: Apache-2.0
// Links a kernel with the functions it calls into one image.
//
// Callees come before their callers, so that with the lowest pc first the lanes inside a call run before those that
// skipped it, and meet again behind it. Every function has one static frame in local memory and its own registers;
// recursion would need more and is therefore unsupported.
#include <algorithm>

#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/program.h"
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

/// The least width of an access to shared memory, or to memory that may be shared.
u8 shared_granule(const Function& function) {
  u32 least = 4;
  for (const Statement& statement : function.statements) {
    const bool is_access =
        statement.is("ld") || statement.is("st") || statement.is("atom") || statement.is("red");
    if (!is_access || statement.has("global") || statement.has("local") || statement.has("param")) continue;
    least = std::min(least, type_bytes(statement.parts.back()));
  }
  return static_cast<u8>(least);
}

/// Do the blocks of this kernel communicate through global memory?
bool communicates(const Statement& statement) {
  if (statement.has("shared") || statement.has("shared::cta") || statement.has("local")) return false;
  if (statement.is("atom") || statement.is("red")) return true;
  return statement.is("ld") &&
         (statement.has("volatile") || statement.has("acquire") || statement.has("relaxed"));
}

bool is_partial_barrier(const Statement& statement) {
  if (statement.is("mbarrier")) return true;
  if (!statement.is("bar") && !statement.is("barrier")) return false;
  if (statement.has("warp") || statement.has("cluster")) return false;
  if (statement.has("arrive")) return true;
  return statement.operands.size() > (statement.has("red") ? 3u : 1u);
}

}  // namespace

Decoder::Decoder(const Module& module, const Program& program, KernelImage& image)
    : module_(module), program_(program), image_(image) {}

const Function* Decoder::find_declared(std::string_view name) const {
  const Function* declared = nullptr;
  for (const Function& function : module_.functions) {
    if (function.name != name) continue;
    if (function.has_body) return &function;
    declared = &function;
  }
  return declared;
}

const Decoder::LinkedFunction* Decoder::find_function(std::string_view name) const {
  const auto found = linked_.find(name);
  return found == linked_.end() ? nullptr : &found->second;
}

void Decoder::collect(const Function& function, std::vector<const Function*>& order,
                      std::vector<std::string_view>& path) {
  if (std::find(order.begin(), order.end(), &function) != order.end()) return;
  if (std::find(path.begin(), path.end(), function.name) != path.end())
    return;  // recursion: the call is unsupported
  path.push_back(function.name);
  for (std::string_view callee : function.callees) {
    const Function* declared = find_declared(callee);
    if (declared != nullptr && declared->has_body && path.size() < 256) collect(*declared, order, path);
  }
  path.pop_back();
  order.push_back(&function);
}

void Decoder::place_shared(const std::vector<const Function*>& order) {
  u32& end = image_.static_shared_bytes;
  for (const Function* function : order) {
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
  if (function.is_kernel) return;
  auto place = [&](const std::vector<FormalParameter>& formals, std::vector<u32>& offsets) {
    for (const FormalParameter& formal : formals) offsets.push_back(claim(formal.bytes, formal.align));
  };
  place(function.parameters, linked.parameter_offsets);
  place(function.results, linked.result_offsets);
}

void Decoder::link(const Function& kernel) {
  image_.parameter_bytes = kernel.parameter_bytes;
  image_.max_threads = kernel.max_threads;
  std::vector<const Function*> order;
  std::vector<std::string_view> path;
  collect(kernel, order, path);
  place_shared(order);
  image_.predicate_offset = predicates_ = static_cast<u32>(Special::count_) * k_special_stride;
  u32 predicate_end = predicates_ + 16;
  for (const Function* function : order) predicate_end += 4 * predicate_count(*function);
  u32 end = scratch_ = align_up(predicate_end, 128);
  end += 16 * k_lanes;
  u32 predicate_begin = predicates_ + 16;
  for (const Function* function : order) {
    RegisterSlots slots = allocate_registers(*function, predicate_begin, end);
    predicate_begin += 4 * predicate_count(*function);
    end = align_up(slots.end, 128);
    slots_.emplace(function, std::move(slots));
    image_.shared_granule = std::min(image_.shared_granule, shared_granule(*function));
    for (const Statement& statement : function->statements) {
      image_.needs_order |= communicates(statement);
      image_.has_partial_barriers |= is_partial_barrier(statement);
    }
  }
  image_.constant_offset = end;
  for (const Function* function : order) {
    place_frame(*function);
    decode_function(*function);
  }
  image_.local_bytes = align_up(image_.local_bytes, 16);
  image_.arena_bytes = align_up(image_.constant_offset + static_cast<u32>(image_.constants.size()), 128);
}

void Decoder::decode_function(const Function& function) {
  function_ = &function;
  LinkedFunction& linked = linked_[function.name];
  frame_ = linked.frame;
  function_begin_ = static_cast<u32>(image_.code.size());
  linked.entry = function_begin_;
  if (function.is_kernel) image_.entry = function_begin_;
  for (const Statement& statement : function.statements) decode_statement(statement);
  Instruction end;
  end.flow = function.is_kernel ? Flow::exit : Flow::ret;
  end.op_class = OpClass::control;
  end.guard = predicates_;
  image_.code.push_back(end);
  image_.texts.push_back("ret");
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
