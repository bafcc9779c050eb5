// SPDX-License-Identifier: Apache-2.0
// Role "executor": holds a device and the candidate, and nothing secret.
//
// It never sees a reference output, a seed of inputs, a tolerance or whether a launch will be looked at:
// verified and timed launches arrive as the same command. Commands:
//   open    {device, threads}                      -> {facts, jail}
//   harness image                                  -> {}          the poison, clear and flush kernels
//   load    image                                  -> {module}
//   bind    {tensors: [{name, bytes, writable}]} fds -> {slot}
//   plan    {slot, module, plan, lowered, poison: [tensor]} -> {plan}
//   run     {plan, mode, poison_seed, poison_kind, schedule_seed, repeats, samples, deadline_s}
//                                                  -> {elapsed_us, samples, late, clock_ghz: [median, min, max],
//                                                      modelled}
//   count   as run, and {group}                    -> {values, problem}   hardware counters, if opened {count_with};
//                                                     group "count_" of the enumeration: times by two clocks
//   sample  {plan, seed, timed_seed or null, layouts: [[[extent, counts rows]]], instructions_max}
//                                                  -> {rows, lacks_rows, blocks, instructions}   (vgpu)
//   unbind  {slot}                                 -> {}          its plans go with it
#pragma once

#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

int executor_main(Channel& channel);

}  // namespace kernelites::worker
