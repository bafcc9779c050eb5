// SPDX-License-Identifier: Apache-2.0
// Opening, dispatch, the table of known shapes, and the checks around a launch.
#include "tools/exporting/runtime/library_core.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "tools/exporting/runtime/library_shape.h"
#include "tools/exporting/runtime/library_status.h"

namespace KERNELITES_LIBRARY {
namespace {

constexpr std::uintptr_t k_alignment = 256;
constexpr std::size_t k_buckets = 1024;
/// Shapes that are kept; what comes after is worked out at every call.
constexpr int k_shapes_max = 8192;

struct Arm {
  void* module = nullptr;
  std::vector<Kernel> kernels;
};

/// What is known of one shape. Immutable once it is in the table.
struct Known {
  Call call;
  std::uint64_t hash = 0;
  Status status = status_ok;
  std::string words;              // why not
  int arm = k_choice_none;        // that `shape` is of
  bool prefers_fallback = false;  // a rule says that the caller's function is faster
  ReadyShape shape;
  Known* next = nullptr;
};

}  // namespace

class Library {
 public:
  explicit Library(const LibraryDescription& description) : description_(description) {
    for (auto& bucket : buckets_) bucket.store(nullptr, std::memory_order_relaxed);
  }
  Library(const Library&) = delete;
  ~Library() {
    for (auto& bucket : buckets_)
      for (Known* known = bucket.load(); known != nullptr;) {
        Known* const next = known->next;
        delete known;
        known = next;
      }
    for (const Arm& arm : arms_)
      if (arm.module != nullptr) driver().module_unload(arm.module);
  }

  Status open() {
    const Driver& cuda = driver();
    if (cuda.problem != nullptr) return fail(status_no_driver, cuda.problem);
    int device = 0;
    if (cuda.context_get(&context_) != 0 || context_ == nullptr || cuda.context_device(&device) != 0)
      return fail(status_no_context,
                  "no CUDA context is current in this thread: call cudaFree(0) or cuCtxSetCurrent first");
    const auto ask = [&](int attribute) {
      int value = 0;
      cuda.device_attribute(&value, attribute, device);
      return value;
    };
    const int major = ask(k_capability_major), minor = ask(k_capability_minor);
    shared_bytes_max_ = ask(k_shared_bytes_optin);
    facts_[0] = ask(k_multiprocessors), facts_[1] = shared_bytes_max_,
    facts_[2] = ask(k_registers_per_multiprocessor);
    facts_[3] = ask(k_l2_bytes), facts_[4] = 10 * major + minor;
    if (description_.table_scalars != nullptr && facts_[0] < description_.table_multiprocessors)
      return fail(status_wrong_device,
                  "the plans of this library are for a device with more multiprocessors");
    for (int i = 0; i < description_.arm_count; ++i)
      if (const Status status = load(description_.arms[i], major, minor); status != status_ok) return status;
    return status_ok;
  }

  Status check(const Call& call) const {
    for (int i = 0; i < description_.dim_count; ++i) {
      const RangeDescription& range = description_.domain[i];
      if (call.dims[i] < range.low || call.dims[i] > range.high)
        return fail(call.dims[i] < 1 ? status_invalid_argument : status_outside_domain,
                    std::string(description_.dims[i]) + " = " + std::to_string(call.dims[i]) +
                        " is not within " + std::to_string(range.low) + " to " + std::to_string(range.high));
    }
    for (int i = 0; i < description_.multiple_count; ++i) {
      const MultipleDescription& multiple = description_.multiples[i];
      const long long of = multiple.of_dim >= 0 ? call.dims[multiple.of_dim] : multiple.number;
      if (call.dims[multiple.dim] % of != 0)
        return fail(status_outside_domain, std::string(description_.dims[multiple.dim]) + " = " +
                                               std::to_string(call.dims[multiple.dim]) +
                                               " is no multiple of " + std::to_string(of));
    }
    if (call.arm != k_any_arm && (call.arm < 0 || call.arm >= description_.arm_count))
      return fail(status_invalid_argument, "there is no such arm");
    return status_ok;
  }

  /// Calls `use` with what is known of the call's shape; works it out at the first time.
  template <typename Use>
  Status with_shape(const Call& call, Use use) {
    if (const Status status = check(call); status != status_ok) return status;
    const std::uint64_t hash = hash_of(call);
    std::atomic<Known*>& bucket = buckets_[hash % k_buckets];
    for (const Known* known = bucket.load(std::memory_order_acquire); known != nullptr; known = known->next)
      if (known->hash == hash && is_same(known->call, call)) return use(*known);
    std::unique_ptr<Known> fresh(new Known());
    fresh->call = call;
    fresh->hash = hash;
    // `use` calls the caller's fallback, which may call this library: never inside the lock.
    return use(*settled(bucket, fresh));
  }

  const LibraryDescription& description() const { return description_; }
  void* context() const { return context_; }

  std::atomic<Fallback> fallback{nullptr};
  std::atomic<void*> fallback_user{nullptr};

 private:
  /// The shape as the bucket has it, worked out and put there if it is new; `fresh` itself where there is no room.
  const Known* settled(std::atomic<Known*>& bucket, std::unique_ptr<Known>& fresh) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Known* known = bucket.load(std::memory_order_acquire); known != nullptr; known = known->next)
      if (known->hash == fresh->hash && is_same(known->call, fresh->call)) return known;
    work_out(*fresh);
    if (known_count_ >= k_shapes_max) return fresh.get();
    ++known_count_;
    fresh->next = bucket.load(std::memory_order_relaxed);
    bucket.store(fresh.get(), std::memory_order_release);
    return fresh.release();
  }

  Status load(const ArmDescription& arm, int major, int minor) {
    const Driver& cuda = driver();
    const ImageDescription* best = nullptr;
    int best_fitness = 0;
    for (int i = 0; i < arm.image_count; ++i)
      if (const int fit = fitness(arm.images[i].architecture, major, minor); fit > best_fitness)
        best = &arm.images[i], best_fitness = fit;
    if (best == nullptr)
      return fail(status_wrong_device, "there is no code for compute capability " + std::to_string(major) +
                                           "." + std::to_string(minor) + " in this library");
    arms_.emplace_back();
    Arm& loaded = arms_.back();
    Result result = cuda.module_load(&loaded.module, best->words);
    if (result != 0)
      return fail(status_driver_error, std::string("cuModuleLoadData: ") + result_words(result));
    for (int i = 0; i < arm.kernel_count; ++i) {
      Kernel kernel;
      kernel.planned = arm.kernels[i].planned;
      result = cuda.module_function(&kernel.function, loaded.module, arm.kernels[i].symbol);
      // Asking for attributes also loads the code, which would otherwise happen inside somebody's capture.
      if (result == 0) result = cuda.function_get(&kernel.threads_max, k_threads_max, kernel.function);
      if (result == 0)
        result = cuda.function_get(&kernel.static_shared_bytes, k_static_shared_bytes, kernel.function);
      // Once for all shapes: as much as the device has, so that no launch has to ask for more.
      if (result == 0)
        result = cuda.function_set(kernel.function, k_dynamic_shared_bytes_max,
                                   shared_bytes_max_ - kernel.static_shared_bytes);
      if (result != 0) return fail(status_driver_error, kernel.planned + ": " + result_words(result));
      if (major >= 9) cuda.function_set(kernel.function, k_allows_large_clusters, 1);
      loaded.kernels.push_back(kernel);
    }
    return status_ok;
  }

  std::uint64_t hash_of(const Call& call) const {
    std::uint64_t hash = static_cast<std::uint64_t>(call.arm) + 0x9e3779b97f4a7c15u;
    const auto add = [&](std::uint64_t value) {
      hash = (hash ^ value) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    };
    for (int i = 0; i < description_.dim_count; ++i) add(static_cast<std::uint64_t>(call.dims[i]));
    for (int i = 0; i < description_.scalar_count; ++i) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &call.scalars[i], sizeof bits);
      add(bits);
    }
    return hash;
  }

  bool is_same(const Call& a, const Call& b) const {
    return a.arm == b.arm &&
           std::memcmp(a.dims, b.dims,
                       sizeof(a.dims[0]) * static_cast<std::size_t>(description_.dim_count)) == 0 &&
           std::memcmp(a.scalars, b.scalars,
                       sizeof(a.scalars[0]) * static_cast<std::size_t>(description_.scalar_count)) == 0;
  }

  int ruled(const Call& call) const {
    for (int i = 0; i < description_.rule_count; ++i) {
      const RuleDescription& rule = description_.rules[i];
      bool holds = true;
      for (int k = 0; k < rule.range_count; ++k) {
        const RangeDescription& range = rule.ranges[k];
        holds = holds && call.dims[range.dim] >= range.low && call.dims[range.dim] <= range.high;
      }
      if (holds) return rule.arm;
    }
    return description_.default_arm;
  }

  /// The rule's arm, then the default, then whoever takes the shape.
  void work_out(Known& known) {
    int order[k_arms_max + 2], count = 0;
    if (known.call.arm != k_any_arm) {
      order[count++] = known.call.arm;
    } else {
      const int first = ruled(known.call);
      known.prefers_fallback = first == k_choice_fallback;
      if (first >= 0) order[count++] = first;
      order[count++] = description_.default_arm;
      for (int arm = 0; arm < description_.arm_count && arm < k_arms_max; ++arm) order[count++] = arm;
    }
    for (int i = 0; i < count; ++i) {
      std::string words;
      ReadyShape shape;
      if (make(order[i], known.call, shape, words)) {
        known.shape = std::move(shape);
        known.arm = order[i];
        known.status = status_ok;
        return;
      }
      if (known.words.empty()) known.words = words;
    }
    known.status = status_unsupported_shape;
  }

  bool make(int index, const Call& call, ReadyShape& shape, std::string& words) {
    const ArmDescription& arm = description_.arms[index];
    std::vector<std::uint64_t> buffer;
    const std::uint64_t* plan_words = nullptr;
    int count = 0;
    if (arm.plan != nullptr) {
      buffer.resize(k_plan_words_max);
      static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t), "words have 64 bits");
      count = arm.plan(call.dims, call.scalars, facts_, reinterpret_cast<unsigned long long*>(buffer.data()));
      plan_words = buffer.data();
    } else {
      for (int i = 0; i < description_.scalar_count; ++i)
        if (call.scalars[i] != description_.table_scalars[i]) {
          words = "plans of this library were made for other scalars";
          return false;
        }
      for (int i = 0; i < arm.table_count && plan_words == nullptr; ++i) {
        const TableDescription& entry = arm.table[i];
        if (std::memcmp(entry.dims, call.dims,
                        sizeof(call.dims[0]) * static_cast<std::size_t>(description_.dim_count)) == 0)
          plan_words = reinterpret_cast<const std::uint64_t*>(entry.words), count = entry.count;
      }
      if (plan_words == nullptr) {
        words = "the library holds no plan for this shape";
        return false;
      }
    }
    LibraryPlan plan;
    if (!decode_plan(plan_words, count, plan, words)) return false;
    if (!plan.unsupported.empty()) {
      words = plan.unsupported;
      return false;
    }
    return make_ready(plan, arms_[static_cast<std::size_t>(index)].kernels, shared_bytes_max_,
                      description_.tensor_count, shape, words);
  }

  const LibraryDescription& description_;
  void* context_ = nullptr;
  int shared_bytes_max_ = 0;
  long long facts_[5] = {};  // as kl::Device has them
  std::vector<Arm> arms_;
  std::mutex mutex_;
  int known_count_ = 0;
  std::atomic<Known*> buckets_[k_buckets];
};

Status open_library(const LibraryDescription& description, Library*& library) {
  library = nullptr;
  std::unique_ptr<Library> fresh(new (std::nothrow) Library(description));
  if (fresh == nullptr) return fail(status_out_of_memory, "out of memory");
  const Status status = fresh->open();
  if (status == status_ok) library = fresh.release();
  return status;
}

void close_library(Library* library) { delete library; }

Status set_fallback(Library& library, Fallback function, void* user) {
  library.fallback_user.store(user);
  library.fallback.store(function);
  return status_ok;
}

namespace {

bool goes_to_fallback(const Known& known, Fallback fallback) {
  return fallback != nullptr && known.call.arm == k_any_arm &&
         (known.prefers_fallback || known.status != status_ok);
}

}  // namespace

int choice(Library& library, const Call& call) {
  int chosen = k_choice_none;
  const Fallback fallback = library.fallback.load();
  const Status status = library.with_shape(call, [&](const Known& known) {
    chosen = goes_to_fallback(known, fallback) ? k_choice_fallback : known.arm;
    return status_ok;
  });
  return status == status_ok ? chosen : k_choice_none;
}

Status check_domain(const Library& library, const Call& call) { return library.check(call); }

Status supports(Library& library, const Call& call) {
  const Fallback fallback = library.fallback.load();
  return library.with_shape(call, [&](const Known& known) {
    if (known.status == status_ok || goes_to_fallback(known, fallback)) return status_ok;
    return fail(known.status, known.words);
  });
}

namespace {

/// One number of a shape that is supported, or goes to the fallback.
Status bytes_of(Library& library, const Call& call, std::int64_t ReadyShape::*number, std::size_t& bytes) {
  const Fallback fallback = library.fallback.load();
  return library.with_shape(call, [&](const Known& known) {
    bytes = static_cast<std::size_t>(known.shape.*number);
    if (known.status == status_ok || goes_to_fallback(known, fallback)) return status_ok;
    return fail(known.status, known.words);
  });
}

}  // namespace

Status workspace_size(Library& library, const Call& call, std::size_t& bytes) {
  return bytes_of(library, call, &ReadyShape::workspace_bytes, bytes);
}

Status workspace_zero_size(Library& library, const Call& call, std::size_t& bytes) {
  return bytes_of(library, call, &ReadyShape::zero_bytes, bytes);
}

Status workspace_init(Library& library, void* workspace, std::size_t bytes, Stream stream) {
  (void)library;
  const std::size_t clear = bytes < k_clear_bytes ? bytes : static_cast<std::size_t>(k_clear_bytes);
  if (clear == 0) return status_ok;
  if (workspace == nullptr) return fail(status_invalid_argument, "the workspace is null");
  const Result result = driver().memset_async(reinterpret_cast<Address>(workspace), 0, clear, stream);
  if (result != 0) return fail(status_driver_error, std::string("cuMemsetD8Async: ") + result_words(result));
  return status_ok;
}

Status launch(Library& library, const Call& call, const Memory& memory, Stream stream, const void* problem,
              const void* tensors) {
  return library.with_shape(call, [&](const Known& known) -> Status {
    const Fallback fallback = library.fallback.load(std::memory_order_acquire);
    if (goes_to_fallback(known, fallback))
      return static_cast<Status>(fallback(library.fallback_user.load(), problem, tensors, stream));
    if (known.status != status_ok) return fail(known.status, known.words);
    void* context = nullptr;
    if (driver().context_get(&context) != 0 || context != library.context())
      return fail(status_no_context,
                  "the context in which the library was opened is not current in this thread");
    const LibraryDescription& description = library.description();
    for (int i = 0; i < description.tensor_count; ++i) {
      const auto address = reinterpret_cast<std::uintptr_t>(memory.tensors[i]);
      if (address == 0 || address % k_alignment != 0)
        return fail(status_invalid_argument,
                    std::string(description.tensors[i]) +
                        (address == 0 ? " is null" : " is not aligned to 256 bytes"));
    }
    if (memory.workspace_bytes < static_cast<std::size_t>(known.shape.workspace_bytes))
      return fail(status_workspace_too_small, "this shape needs a workspace of " +
                                                  std::to_string(known.shape.workspace_bytes) + " bytes");
    if (known.shape.workspace_bytes > 0 &&
        reinterpret_cast<std::uintptr_t>(memory.workspace) % k_alignment != 0)
      return fail(status_invalid_argument, "the workspace is not aligned to 256 bytes");
    const char* call_name = "";
    Result result = 0;
    const Status status = enqueue(known.shape, memory, stream, call_name, result);
    return status == status_ok ? status : fail(status, std::string(call_name) + ": " + result_words(result));
  });
}

}  // namespace KERNELITES_LIBRARY
