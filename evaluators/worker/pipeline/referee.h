// SPDX-License-Identifier: Apache-2.0
// Role "referee": owns the tensors, draws the inputs, runs the reference and compares.
//
// It has its own device context and runs trusted code only; executors see the tensors it shares. Commands:
//   open      {device, threads}                        -> {facts, jail}
//   harness   image                                    -> {}
//   reference image                                    -> {module}   replaces the one before
//   allocate  {tensors: [{name, bytes}]}               -> {slot} and one descriptor per tensor
//   fill      {slot, fills: [{tensor, dtype, shape, kind, p0, p1, seed, lengths}]} -> {}
//   write     {slot, tensor} bytes                     -> {}         metadata, from offset 0
//   check     {slot, plan, lowered, outputs: [{tensor, dtype, columns, ulp, rms_factor, absolute}]} row list
//   (i64)
//                                                      -> RowResult[outputs][rows] as payload
//   read      {slot, tensor}                           -> bytes      (tests and digests of inputs)
//   release   {slot}                                   -> {}
// The reference plan's tensors are the task's, with outputs replaced by private float64 ones, then the row
// list.
#pragma once

#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

int referee_main(Channel& channel);

}  // namespace kernelites::worker
