// SPDX-License-Identifier: Apache-2.0
// Finds and opens NVRTC.
//
// libnvrtc opens its builtins by bare name at the first compile, which fails in a jail without ld.so.cache.
// Opening them first, by absolute path and globally, satisfies that later request from what is already
// loaded.
#include "evaluators/worker/nvrtc/nvrtc_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>

#include <algorithm>
#include <iterator>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

namespace fs = std::filesystem;

/// Where libraries and headers lie in a toolkit, in one wheel tree (cu13), or in one wheel per component.
constexpr const char* k_library_folders[] = {"lib64", "lib", "targets/x86_64-linux/lib", "cu13/lib",
                                             "cuda_nvrtc/lib"};
constexpr const char* k_include_folders[] = {"include", "targets/x86_64-linux/include", "cu13/include",
                                             "cuda_runtime/include"};
constexpr const char* k_further_includes[] = {"cuda_cccl/include", "cuda_cccl/include/cccl"};

/// Newest `libnvrtc.so.*` of a folder; builtins and the "alt" build do not count.
fs::path library_in(const fs::path& folder, const std::string& stem) {
  std::error_code problem;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, problem)) {
    if (entry.path().filename().string().starts_with(stem + ".so.")) found.push_back(entry.path());
  }
  const auto newest = std::max_element(found.begin(), found.end());
  return newest == found.end() ? fs::path() : *newest;
}

void add_folder(std::vector<fs::path>& folders, const fs::path& folder) {
  std::error_code problem;
  if (fs::is_directory(folder, problem)) folders.push_back(folder);
}

std::vector<fs::path> include_folders_in(const fs::path& root) {
  std::vector<fs::path> folders;
  for (const char* sub : k_include_folders) {
    if (!fs::exists(root / sub / "cuda_bf16.h")) continue;
    add_folder(folders, root / sub);
    add_folder(folders, root / sub / "cccl");
    break;
  }
  for (const char* sub : k_further_includes) add_folder(folders, root / sub);
  return folders;
}

std::optional<Toolkit> toolkit_in(const fs::path& root) {
  for (const char* sub : k_library_folders) {
    const fs::path library = library_in(root / sub, "libnvrtc");
    if (library.empty()) continue;
    Toolkit toolkit{.library = library,
                    .builtins = library_in(root / sub, "libnvrtc-builtins"),
                    .include_folders = include_folders_in(root),
                    .version = ""};
    if (!toolkit.include_folders.empty()) return toolkit;
  }
  return std::nullopt;
}

/// What the dynamic linker itself finds; the headers are then looked for around it.
std::optional<Toolkit> toolkit_of_linker() {
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}) {
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    link_map* map = nullptr;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) continue;
    const fs::path library = fs::absolute(map->l_name);
    for (const fs::path& root :
         {library.parent_path().parent_path(), library.parent_path().parent_path() / "..", fs::path("/usr"),
          library.parent_path().parent_path().parent_path()}) {
      std::vector<fs::path> includes = include_folders_in(root.lexically_normal());
      if (includes.empty()) continue;
      return Toolkit{.library = library,
                     .builtins = library_in(library.parent_path(), "libnvrtc-builtins"),
                     .include_folders = std::move(includes),
                     .version = ""};
    }
  }
  return std::nullopt;
}

/// What tools/setup fetched where no toolkit is installed: `.deps/cuda` in the checkout that this program was built in.
std::vector<fs::path> folders_of_setup() {
  std::error_code problem;
  std::vector<fs::path> found;
  const fs::path program = fs::read_symlink("/proc/self/exe", problem);
  for (fs::path above = program.parent_path(); above.has_relative_path(); above = above.parent_path()) {
    if (fs::is_directory(above / ".deps/cuda", problem)) found.push_back(above / ".deps/cuda");
  }
  return found;
}

std::string version_of(const Toolkit& toolkit) {
  const NvrtcLibrary nvrtc = open_nvrtc(toolkit);
  int major = 0, minor = 0;
  if (nvrtc.version(&major, &minor) != 0)
    throw Error(fmt::format("{}: does not say its version", toolkit.library.string()));
  if (major < 12) {
    throw Error(fmt::format("{}: NVRTC {}.{} is too old; 12.0 or newer is needed", toolkit.library.string(),
                            major, minor));
  }
  return fmt::format("NVRTC {}.{}", major, minor);
}

}  // namespace

Toolkit find_toolkit(const ToolkitSearch& search) {
  std::vector<fs::path> roots;
  if (!search.explicit_folder.empty()) {
    roots.push_back(search.explicit_folder);
  } else {
    roots.push_back("/usr/local/cuda");
    roots.insert(roots.end(), search.further_folders.begin(), search.further_folders.end());
    std::ranges::copy(folders_of_setup(), std::back_inserter(roots));
  }
  for (const fs::path& root : roots) {
    if (std::optional<Toolkit> toolkit = toolkit_in(root)) {
      toolkit->version = version_of(*toolkit);
      return *toolkit;
    }
  }
  if (search.explicit_folder.empty()) {
    if (std::optional<Toolkit> toolkit = toolkit_of_linker()) {
      toolkit->version = version_of(*toolkit);
      return *toolkit;
    }
  }
  std::vector<std::string> names;
  for (const fs::path& root : roots) names.push_back(root.string());
  throw Error(fmt::format(
      "no CUDA toolkit: looked for lib64/libnvrtc.so.* and include/cuda_bf16.h in {}{}; install one "
      "or name its folder with --toolkit",
      fmt::join(names, ", "), search.explicit_folder.empty() ? " and in the linker's list" : ""));
}

NvrtcLibrary open_nvrtc(const Toolkit& toolkit) {
  if (!toolkit.builtins.empty()) dlopen(toolkit.builtins.c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* handle = dlopen(toolkit.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error(fmt::format("{}: {}", toolkit.library.string(), dlerror()));
  const auto resolve = [&](auto& function, const char* name) {
    void* symbol = dlsym(handle, name);
    if (symbol == nullptr) throw Error(fmt::format("{}: has no {}", toolkit.library.string(), name));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  NvrtcLibrary nvrtc;
  resolve(nvrtc.version, "nvrtcVersion");
  resolve(nvrtc.error_string, "nvrtcGetErrorString");
  resolve(nvrtc.create_program, "nvrtcCreateProgram");
  resolve(nvrtc.destroy_program, "nvrtcDestroyProgram");
  resolve(nvrtc.compile_program, "nvrtcCompileProgram");
  resolve(nvrtc.add_name_expression, "nvrtcAddNameExpression");
  resolve(nvrtc.lowered_name, "nvrtcGetLoweredName");
  resolve(nvrtc.log_size, "nvrtcGetProgramLogSize");
  resolve(nvrtc.log, "nvrtcGetProgramLog");
  resolve(nvrtc.ptx_size, "nvrtcGetPTXSize");
  resolve(nvrtc.ptx, "nvrtcGetPTX");
  resolve(nvrtc.cubin_size, "nvrtcGetCUBINSize");
  resolve(nvrtc.cubin, "nvrtcGetCUBIN");
  return nvrtc;
}

}  // namespace kernelites::worker
