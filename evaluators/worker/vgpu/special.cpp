// SPDX-License-Identifier: Apache-2.0
// Names and values of the special registers.
#include "evaluators/worker/vgpu/special.h"

#include <array>

#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_count = static_cast<u32>(Special::count_);

constexpr std::array<std::string_view, k_count> k_names = {"%tid.x",
                                                           "%tid.y",
                                                           "%tid.z",
                                                           "%ntid.x",
                                                           "%ntid.y",
                                                           "%ntid.z",
                                                           "%ctaid.x",
                                                           "%ctaid.y",
                                                           "%ctaid.z",
                                                           "%nctaid.x",
                                                           "%nctaid.y",
                                                           "%nctaid.z",
                                                           "%laneid",
                                                           "%warpid",
                                                           "%nwarpid",
                                                           "%smid",
                                                           "%nsmid",
                                                           "%gridid",
                                                           "%lanemask_eq",
                                                           "%lanemask_lt",
                                                           "%lanemask_le",
                                                           "%lanemask_gt",
                                                           "%lanemask_ge",
                                                           "%dynamic_smem_size",
                                                           "%total_smem_size",
                                                           "%cluster_ctaid.x",
                                                           "%cluster_ctaid.y",
                                                           "%cluster_ctaid.z",
                                                           "%cluster_nctaid.x",
                                                           "%cluster_nctaid.y",
                                                           "%cluster_nctaid.z",
                                                           "%clusterid.x",
                                                           "%clusterid.y",
                                                           "%clusterid.z",
                                                           "%nclusterid.x",
                                                           "%nclusterid.y",
                                                           "%nclusterid.z",
                                                           "%cluster_ctarank",
                                                           "%cluster_nctarank",
                                                           "%is_explicit_cluster",
                                                           "%envreg1",
                                                           "%envreg2",
                                                           "%zero"};

struct Writer {
  u8* registers;
  void all(Special special, u32 value) const {
    u32* lanes = reinterpret_cast<u32*>(registers + static_cast<u32>(special) * k_special_stride);
    for (u32 l = 0; l < k_lanes; ++l) lanes[l] = value;
  }
  void three(Special first, Dim3 value) const {
    const u32 at = static_cast<u32>(first);
    all(first, value.x);
    all(static_cast<Special>(at + 1), value.y);
    all(static_cast<Special>(at + 2), value.z);
  }
  u32* lanes(Special special) const {
    return reinterpret_cast<u32*>(registers + static_cast<u32>(special) * k_special_stride);
  }
};

void fill_cluster(const Writer& write, const Block& block) {
  const Launch& launch = *block.context->launch;
  const Dim3 c = launch.cluster, b = block.id, g = launch.grid;
  write.three(Special::cluster_ctaid_x, {b.x % c.x, b.y % c.y, b.z % c.z});
  write.three(Special::cluster_nctaid_x, c);
  write.three(Special::clusterid_x, {b.x / c.x, b.y / c.y, b.z / c.z});
  write.three(Special::nclusterid_x, {g.x / c.x, g.y / c.y, g.z / c.z});
  write.all(Special::cluster_ctarank, b.x % c.x + c.x * (b.y % c.y + c.y * (b.z % c.z)));
  write.all(Special::cluster_nctarank, static_cast<u32>(c.count()));
  write.all(Special::is_explicit_cluster, c.count() > 1);
}

}  // namespace

std::optional<Special> find_special(std::string_view name) {
  for (u32 k = 0; k < k_count; ++k) {
    if (k_names[k] == name) return static_cast<Special>(k);
  }
  return std::nullopt;
}

void fill_specials(Warp& warp, const Block& block) {
  const LaunchContext& context = *block.context;
  const Dim3 size = context.launch->block;
  const Writer write{warp.registers};
  for (u32 l = 0; l < k_lanes; ++l) {
    const u32 thread = warp.index * k_lanes + l;
    write.lanes(Special::tid_x)[l] = thread % size.x;
    write.lanes(Special::tid_y)[l] = thread / size.x % size.y;
    write.lanes(Special::tid_z)[l] = thread / (size.x * size.y);
    write.lanes(Special::laneid)[l] = l;
    write.lanes(Special::lanemask_eq)[l] = u32{1} << l;
    write.lanes(Special::lanemask_lt)[l] = (u32{1} << l) - 1;
    write.lanes(Special::lanemask_le)[l] = static_cast<u32>((u64{2} << l) - 1);
    write.lanes(Special::lanemask_gt)[l] = ~static_cast<u32>((u64{2} << l) - 1);
    write.lanes(Special::lanemask_ge)[l] = ~((u32{1} << l) - 1);
  }
  write.three(Special::ntid_x, size);
  write.three(Special::ctaid_x, block.id);
  write.three(Special::nctaid_x, context.launch->grid);
  write.all(Special::warpid, warp.index);
  write.all(Special::nwarpid, context.warps_per_block);
  write.all(Special::smid, static_cast<u32>(block.index % 132));
  write.all(Special::nsmid, 132);
  write.all(Special::gridid, 0);
  write.all(Special::dynamic_smem_size, context.launch->dynamic_shared_bytes);
  write.all(Special::total_smem_size, context.shared_bytes);
  write.all(Special::envreg1, static_cast<u32>(context.grid_workspace >> 32));
  write.all(Special::envreg2, static_cast<u32>(context.grid_workspace));
  write.all(Special::zero, 0);
  fill_cluster(write, block);
}

}  // namespace kernelites::worker::vgpu
