// SPDX-License-Identifier: Apache-2.0
// First act of referee and executor: open the device by name, then enter the jail.
#pragma once

#include <functional>
#include <memory>

#include "evaluators/worker/contract/defences.h"
#include "evaluators/worker/device/device.h"
#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

/// Opens "gpu" or "vgpu" as the command says and jails the process; `reply` gets facts and the jail's layers. If the
/// command asks for it, the copy rate of a real device is measured.
/// `before_jail` is called once a real device is open and before the jail. Throws Error if there is no such device or
/// the jail is not sufficient.
std::unique_ptr<Device> open_device(const Message& command, Message& reply,
                                    const std::function<void()>& before_jail = {});
/// What an "open" command says about defences.
Defences defences_of(const Message& command);

}  // namespace kernelites::worker
