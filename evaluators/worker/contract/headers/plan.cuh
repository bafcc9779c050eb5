// SPDX-License-Identifier: Apache-2.0
// The launch plan that a candidate fills in: how its kernels are launched for one problem shape.
//
//   constexpr void plan(const Problem& p, kl::Plan& plan) {
//     if (!plan.require(p.D == 128, "D must be 128")) return;
//     auto part = plan.workspace(kl::f32, (long long)p.B * splits(p) * p.D);
//     plan.launch("split_kv<128, 4>").grid(splits(p), p.B).block(128).shared(sizeof(Smem))
//         .arg(p.q).arg(p.k).arg(part).arg(p.Sk).arg(p.scale);
//     plan.launch("combine<128>").grid(p.B).block(p.D).programmatic().arg(part).arg(p.o).arg(splits(p));
//   }
//
// NVRTC's constant evaluator runs `plan` for every shape and the harness reads the result as data; nothing of it runs
// on the host or the device. It is ordinary constexpr C++: loops, conditionals, the kernel's own constants, sizeof.
// CUDA's min, max and ceil are not constexpr: use kl::min, kl::max, kl::cdiv. A wrong plan becomes an error with a
// name, never undefined behaviour: the arrays here have room for one entry more than is allowed.
#pragma once

#include <kernelites/std.cuh>

/// A TMA tensor map as the kernel sees it: take it as `const __grid_constant__ CUtensorMap`.
typedef struct alignas(64) CUtensorMap_st {
  unsigned long long opaque[16];
} CUtensorMap;

namespace kernelites {

/// Element types, in the order of the harness's own table.
enum Dtype : int { f16, bf16, f32, f64, e4m3, e5m2, i8, u8, i32, i64 };

/// How a workspace looks before a run of the plan.
/// - poisoned: random bytes, fresh before every run (the default: initialise what you read);
/// - zeroed: cleared inside the timed region, before the first launch;
/// - self_clearing: zero before the first run ever; every run must leave it all zero (at most 64 KiB);
/// - prepared: written by `prepare()` launches, read-only for the others. Not supported yet: such plans are refused.
enum WorkspaceKind : int { poisoned, zeroed, self_clearing, prepared };

/// Shared-memory swizzle of a tensor map, in bytes.
enum Swizzle : int { swizzle_none = 0, swizzle_32 = 32, swizzle_64 = 64, swizzle_128 = 128 };

/// The most a plan can hold. Enumerators, because NVRTC would write constants into the module.
enum : int {
  k_launches_max = 16,
  k_arguments_max = 40,
  k_workspaces_max = 8,
  k_tensor_maps_max = 8,
  k_name_bytes_max = 159,
  k_rank_max = 8,
  k_map_rank_max = 5,
  k_plan_words_max = 2816,  // of one encoded plan
};

template <typename A, typename B>
constexpr auto cdiv(A a, B b) -> decltype(a + b) {
  return (a + b - 1) / b;
}
/// The least multiple of `b` that is not below `a`.
template <typename A, typename B>
constexpr auto round_up(A a, B b) -> decltype(a + b) {
  return cdiv(a, b) * b;
}
template <typename A, typename B>
constexpr auto min(A a, B b) -> decltype(a + b) {
  return b < a ? b : a;
}
template <typename A, typename B>
constexpr auto max(A a, B b) -> decltype(a + b) {
  return a < b ? b : a;
}
template <typename A>
constexpr A clamp(A value, A low, A high) {
  return value < low ? low : high < value ? high : value;
}
constexpr bool is_pow2(long long x) { return x > 0 && (x & (x - 1)) == 0; }
/// Floor of the base-2 logarithm; 0 for x < 1.
constexpr int log2(long long x) {
  int n = 0;
  for (; x > 1; x >>= 1) ++n;
  return n;
}
/// 2^n.
constexpr long long pow2(int n) { return 1LL << n; }
/// The least power of two that is not below x.
constexpr long long next_pow2(long long x) {
  long long n = 1;
  while (n < x) n *= 2;
  return n;
}
/// Square root by Newton's iteration, for scales such as 1 / sqrt(D).
constexpr double sqrt(double x) {
  if (!(x > 0)) return 0;
  double root = x > 1 ? x : 1;
  for (int i = 0; i < 1100; ++i) {
    const double next = 0.5 * (root + x / root);
    if (next >= root) break;
    root = next;
  }
  return root;
}

/// Facts of the device that the plan may use.
struct Device {
  int sms;
  int shared_bytes_max;      ///< per block, opt-in
  int registers_per_sm;
  long long l2_bytes;
  int compute_capability;    ///< 90
};

/// A tensor or workspace as the plan sees it: a handle with a shape. The contents are not visible here.
struct Tensor {
  int id;                    ///< >= 0: a tensor of the task; < 0: a workspace
  Dtype dtype;
  int rank;
  long long shape[k_rank_max];
  long long stride[k_rank_max];  ///< in elements

  constexpr long long elements() const {
    long long n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  /// The same memory under another shape, row-major: for tensor maps over folded or split axes.
  template <typename... Extents>
  constexpr Tensor view(Extents... extents) const {
    static_assert(sizeof...(extents) >= 1 && sizeof...(extents) <= k_rank_max, "a view has 1 to 8 axes");
    Tensor t{id, dtype, int(sizeof...(extents)), {static_cast<long long>(extents)...}, {}};
    long long step = 1;
    for (int i = t.rank - 1; i >= 0; --i) {
      t.stride[i] = step;
      step *= t.shape[i];
    }
    return t;
  }
  /// The same memory with another stride (in elements) of one axis.
  constexpr Tensor with_stride(int axis, long long elements) const {
    Tensor t = *this;
    t.stride[axis] = elements;
    return t;
  }
  /// The same memory read as another element type of the same size.
  constexpr Tensor as(Dtype other) const {
    Tensor t = *this;
    t.dtype = other;
    return t;
  }
};

constexpr int dtype_bytes(Dtype dtype) {
  const int bytes[] = {2, 2, 4, 8, 1, 1, 1, 1, 4, 8};
  return bytes[dtype];
}

namespace detail {

/// Errors a plan records; the reader gives them their names (plan_reader.cpp). Append only.
enum PlanError : int {
  no_error,
  too_many_launches,
  too_many_arguments,
  name_too_long,
  too_many_workspaces,
  too_many_tensor_maps,
  bad_axes,
};

constexpr int copy_text(const char* from, char* to, int bytes_max) {
  int n = 0;
  for (; from[n] != 0 && n < bytes_max; ++n) to[n] = from[n];
  to[n] = 0;
  return from[n] == 0 ? n : -1;
}

struct Argument {
  int kind;  // 0 tensor, 1 workspace, 2 tensor map, 3 i32, 4 i64, 5 f32, 6 f64
  int index;
  long long integer;
  double real;
};

}  // namespace detail

/// A TMA tensor map; innermost axis first, as the hardware counts. Pass it to `arg`.
struct TensorMap {
  int index_, is_workspace_, tensor_, dtype_, rank_;
  long long extent_[k_map_rank_max], stride_bytes_[k_map_rank_max], offset_bytes_;
  int box_[k_map_rank_max], step_[k_map_rank_max];
  int swizzle_, l2_promotion_;

  /// L2 promotion in bytes: 0, 64, 128 or 256 (the default).
  constexpr TensorMap& l2_promotion(int bytes) {
    l2_promotion_ = bytes;
    return *this;
  }
  /// Where the map begins, in elements from the tensor's start.
  constexpr TensorMap& offset(long long elements) {
    offset_bytes_ = elements * dtype_bytes(Dtype(dtype_));
    return *this;
  }
  /// Takes every n-th element of an axis (0: the innermost).
  constexpr TensorMap& step(int axis, int n) {
    if (axis >= 0 && axis < k_map_rank_max) step_[axis] = n;
    return *this;
  }
};

/// One kernel launch. Launches run one after the other unless `after` says otherwise.
struct Launch {
  char name_[k_name_bytes_max + 1];
  int name_bytes_, flags_, carveout_, priority_, after_, argument_count_, error_;
  long long grid_[3], block_[3], cluster_[3], shared_;
  detail::Argument arguments_[k_arguments_max];

  constexpr Launch& grid(long long x, long long y = 1, long long z = 1) { return set(grid_, x, y, z); }
  constexpr Launch& block(long long x, long long y = 1, long long z = 1) { return set(block_, x, y, z); }
  /// Thread-block cluster; the grid must be a multiple of it.
  constexpr Launch& cluster(long long x, long long y = 1, long long z = 1) { return set(cluster_, x, y, z); }
  /// Dynamic shared memory in bytes, up to Device::shared_bytes_max less the static.
  constexpr Launch& shared(long long bytes) {
    shared_ = bytes;
    return *this;
  }
  /// All blocks are resident at once: grid-wide barriers are allowed.
  constexpr Launch& cooperative() { return flag(1); }
  /// Programmatic dependent launch: starts while the previous launch drains; wait with griddepcontrol.wait.
  constexpr Launch& programmatic() { return flag(2); }
  /// Runs only when metadata changed; may take metadata tensors, workspaces and numbers. Its time is amortised.
  constexpr Launch& prepare() { return flag(4); }
  /// Preferred shared-memory carve-out in percent.
  constexpr Launch& carveout(int percent) {
    carveout_ = percent;
    return *this;
  }
  /// Stream priority: lower is more urgent.
  constexpr Launch& priority(int n) {
    priority_ = n;
    return *this;
  }
  /// Waits for launch number `i` of the plan (0: the first) instead of the previous one.
  constexpr Launch& after(int i) {
    after_ = i;
    return *this;
  }
  constexpr Launch& arg(const Tensor& t) {
    return add(t.id >= 0 ? detail::Argument{0, t.id, 0, 0} : detail::Argument{1, -1 - t.id, 0, 0});
  }
  constexpr Launch& arg(const TensorMap& map) { return add({2, map.index_, 0, 0}); }
  constexpr Launch& arg(float value) { return add({5, 0, 0, value}); }
  constexpr Launch& arg(double value) { return add({6, 0, 0, value}); }
  constexpr Launch& arg(decltype(nullptr)) { return add({4, 0, 0, 0}); }
  /// int, unsigned, bool and enumerations are 4 bytes; long, long long and size_t are 8.
  template <typename T>
  constexpr Launch& arg(T value) {
    static_assert(std::detail::Whole<T>::value || __is_enum(T),
                  "arg takes tensors, workspaces, tensor maps and numbers; pass the members of a struct one by one");
    if constexpr (sizeof(T) <= 4) {
      return add({3, 0, static_cast<int>(value), 0});
    } else {
      return add({4, 0, static_cast<long long>(value), 0});
    }
  }

 private:
  constexpr Launch& set(long long (&to)[3], long long x, long long y, long long z) {
    to[0] = x;
    to[1] = y;
    to[2] = z;
    return *this;
  }
  constexpr Launch& flag(int bit) {
    flags_ |= bit;
    return *this;
  }
  constexpr Launch& add(detail::Argument argument) {
    if (argument_count_ < k_arguments_max) {
      arguments_[argument_count_++] = argument;
    } else if (error_ == 0) {
      error_ = detail::too_many_arguments;
    }
    return *this;
  }
};

/// Everything that a candidate asks for, for one shape.
struct Plan {
  int launch_count_ = 0, workspace_count_ = 0, map_count_ = 0, error_ = 0, error_index_ = 0, unsupported_bytes_ = 0;
  char unsupported_[k_name_bytes_max + 1] = {};
  struct Workspace {
    long long bytes;
    int alignment, kind;
  };
  Launch launches_[k_launches_max + 1] = {};
  Workspace workspaces_[k_workspaces_max + 1] = {};
  TensorMap maps_[k_tensor_maps_max + 1] = {};

  /// Appends a launch. `name` is the kernel as C++ writes it: "rmsnorm", "split_kv<128, 4>".
  constexpr Launch& launch(const char* name) {
    if (launch_count_ == k_launches_max) {
      fail(detail::too_many_launches, launch_count_);
      return launches_[k_launches_max];
    }
    Launch& launch = launches_[launch_count_];
    launch.name_bytes_ = detail::copy_text(name, launch.name_, k_name_bytes_max);
    if (launch.name_bytes_ < 0) {
      launch.name_bytes_ = k_name_bytes_max;
      launch.error_ = detail::name_too_long;
    }
    launch.carveout_ = -1;
    launch.after_ = launch_count_ - 1;
    ++launch_count_;
    return launch.grid(1).block(1).cluster(1);
  }
  /// Device memory for this plan's own use, 256-byte aligned; see WorkspaceKind for its contents.
  constexpr Tensor workspace(Dtype dtype, long long elements, WorkspaceKind kind = poisoned) {
    if (workspace_count_ == k_workspaces_max) fail(detail::too_many_workspaces, workspace_count_);
    workspaces_[workspace_count_] = {elements * dtype_bytes(dtype), 256, kind};
    const Tensor tensor{-1 - workspace_count_, dtype, 1, {elements}, {1}};
    if (workspace_count_ < k_workspaces_max) ++workspace_count_;
    return tensor;
  }
  /// A TMA map over `tensor`. `axes` picks the tensor's axes, innermost first; `box` is what one copy moves.
  template <int N, int M>
  constexpr TensorMap& tensor_map(const Tensor& tensor, const int (&axes)[N], const int (&box)[M],
                                  Swizzle swizzle = swizzle_none) {
    static_assert(N == M, "a tensor map has one box extent per axis");
    static_assert(N >= 1 && N <= k_map_rank_max, "a tensor map has 1 to 5 axes");
    if (map_count_ == k_tensor_maps_max) fail(detail::too_many_tensor_maps, map_count_);
    TensorMap& map = maps_[map_count_];
    map = TensorMap{};
    map.index_ = map_count_;
    map.is_workspace_ = tensor.id < 0;
    map.tensor_ = tensor.id < 0 ? -1 - tensor.id : tensor.id;
    map.dtype_ = tensor.dtype;
    map.rank_ = N;
    map.swizzle_ = swizzle;
    map.l2_promotion_ = 256;
    for (int i = 0; i < N; ++i) {
      if (axes[i] < 0 || axes[i] >= tensor.rank) {
        fail(detail::bad_axes, map_count_);
        break;
      }
      map.extent_[i] = tensor.shape[axes[i]];
      map.stride_bytes_[i] = tensor.stride[axes[i]] * dtype_bytes(tensor.dtype);
      map.box_[i] = box[i];
      map.step_[i] = 1;
    }
    if (map_count_ < k_tensor_maps_max) ++map_count_;
    return map;
  }
  /// Says that this shape is not supported unless `condition`; `why` is told to whoever asks. Returns `condition`.
  constexpr bool require(bool condition, const char* why) {
    if (!condition && unsupported_bytes_ == 0) {
      unsupported_bytes_ = detail::copy_text(why, unsupported_, k_name_bytes_max);
      if (unsupported_bytes_ < 0) unsupported_bytes_ = k_name_bytes_max;
      if (unsupported_bytes_ == 0) unsupported_bytes_ = detail::copy_text("not supported", unsupported_, 16);
    }
    return condition;
  }

 private:
  constexpr void fail(int error, int index) {
    if (error_ == 0) {
      error_ = error;
      error_index_ = index;
    }
  }
};

namespace detail {

/// Writes plans as a stream of 64-bit words: counts before lists, texts packed eight bytes a word.
struct Encoder {
  unsigned long long* out;
  int at;

  constexpr void word(long long value) {
    out[at++] = static_cast<unsigned long long>(value);
  }
  constexpr void text(const char* bytes, int count) {
    word(count);
    for (int i = 0; i < count; i += 8) {
      unsigned long long packed = 0;
      for (int k = 0; k < 8 && i + k < count; ++k) {
        packed |= static_cast<unsigned long long>(static_cast<unsigned char>(bytes[i + k])) << (8 * k);
      }
      word(static_cast<long long>(packed));
    }
  }
  constexpr void triple(const long long (&values)[3]) {
    for (long long value : values) word(value);
  }
  constexpr void launch(const Launch& launch) {
    text(launch.name_, launch.name_bytes_);
    triple(launch.grid_);
    triple(launch.block_);
    triple(launch.cluster_);
    word(launch.shared_);
    word(launch.flags_);
    word(launch.carveout_);
    word(launch.priority_);
    word(launch.after_);
    word(launch.argument_count_);
    for (int i = 0; i < launch.argument_count_; ++i) {
      const Argument& a = launch.arguments_[i];
      word(a.kind);
      word(a.kind <= 2 ? a.index : a.kind <= 4 ? a.integer : __builtin_bit_cast(long long, a.real));
    }
  }
  constexpr void map(const TensorMap& map) {
    word(map.is_workspace_);
    word(map.tensor_);
    word(map.dtype_);
    word(map.rank_);
    for (int i = 0; i < map.rank_; ++i) {
      word(map.extent_[i]);
      word(map.stride_bytes_[i]);
      word(map.box_[i]);
      word(map.step_[i]);
    }
    word(map.swizzle_);
    word(map.l2_promotion_);
    word(map.offset_bytes_);
  }
  constexpr void plan(const Plan& plan) {
    int error = plan.error_, index = plan.error_index_;
    for (int i = 0; i < plan.launch_count_ && error == 0; ++i) {
      error = plan.launches_[i].error_;
      index = i;
    }
    word(error);
    word(index);
    text(plan.unsupported_, plan.unsupported_bytes_);
    word(plan.launch_count_);
    for (int i = 0; i < plan.launch_count_; ++i) launch(plan.launches_[i]);
    word(plan.workspace_count_);
    for (int i = 0; i < plan.workspace_count_; ++i) {
      word(plan.workspaces_[i].bytes);
      word(plan.workspaces_[i].alignment);
      word(plan.workspaces_[i].kind);
    }
    word(plan.map_count_);
    for (int i = 0; i < plan.map_count_; ++i) map(plan.maps_[i]);
  }
  constexpr void begin(int plans) {
    word(0x31304e414c504c4b);  // "KLPLAN01": a reader takes no other layout
    word(plans);
  }
};

}  // namespace detail
}  // namespace kernelites

namespace kl = kernelites;
