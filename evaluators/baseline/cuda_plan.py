# SPDX-License-Identifier: Apache-2.0
"""Launches a proven candidate's plan through the CUDA driver, in a Python process that holds the tensors.

The plan is the JSON of engine/core/launch_plan.h; structures are laid out as cuda.h has them since CUDA 12.0,
attributes and tensor maps are those of evaluators/worker/device/cuda_launch.cpp. Only libcuda.so.1 is needed.
"""

import ctypes
import math
import struct

COOPERATIVE, CLUSTER, PROGRAMMATIC, PRIORITY = 2, 4, 6, 8  # CUlaunchAttributeID
MAX_DYNAMIC_SHARED, CARVEOUT, NON_PORTABLE_CLUSTER = 8, 9, 14  # CUfunction_attribute
PORTABLE_CLUSTER = 8

SCALARS = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}
TENSOR_TYPES = {"e4m3": 0, "e5m2": 0, "i8": 0, "u8": 0, "i32": 3, "i64": 5, "f16": 6, "f32": 7, "f64": 8, "bf16": 9}
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}
PROMOTIONS = {0: 0, 64: 1, 128: 2, 256: 3}
TENSOR_MAP_BYTES, TENSOR_MAP_ALIGNMENT = 128, 128


class LaunchAttribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("padding", ctypes.c_char * 4), ("value", ctypes.c_uint32 * 16)]


class LaunchConfiguration(ctypes.Structure):
    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared_bytes", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.POINTER(LaunchAttribute)),
                ("attribute_count", ctypes.c_uint)]


class DriverError(RuntimeError):
    """A call of the driver that failed, with its words."""


class Driver:
    """libcuda, with errors as exceptions. `library` may be a stand-in with the same functions."""

    def __init__(self, library=None):
        self.library = library or ctypes.CDLL("libcuda.so.1")

    def call(self, function, *arguments):
        result = getattr(self.library, function)(*arguments)
        if result != 0:
            words = ctypes.c_char_p()
            self.library.cuGetErrorString(result, ctypes.byref(words))
            raise DriverError(f"{function} failed: {(words.value or b'unknown error').decode()}")


def launch_attributes(launch, may_overlap):
    """[(id, values)] of one planned launch; the first of a timed sequence must not begin before the event."""
    attributes = []
    if math.prod(launch["cluster"]) > 1:
        attributes.append((CLUSTER, launch["cluster"]))
    if launch["is_cooperative"]:
        attributes.append((COOPERATIVE, [1]))
    if launch["is_programmatic"] and may_overlap:
        attributes.append((PROGRAMMATIC, [1]))
    if launch["priority"] != 0:
        attributes.append((PRIORITY, [launch["priority"] & 0xFFFFFFFF]))
    return attributes


def argument_bytes(argument, tensors, workspaces):
    """Value of one argument in the kernel's layout; None for a tensor map, which only the driver can encode."""
    (kind, value), = argument.items()
    if kind == "tensor":
        return struct.pack("<Q", tensors[value])
    if kind == "workspace":
        return struct.pack("<Q", workspaces[value])
    if kind == "tensor_map":
        return None
    return struct.pack(SCALARS[kind], float(value) if kind[0] == "f" else value)


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


class Module:
    """A cubin in the current context."""

    def __init__(self, driver, code):
        """`code`: {"cubin": hex, "lowered": {kernel as planned: symbol}}."""
        self.driver, self.lowered = driver, code["lowered"]
        self.image = bytes.fromhex(code["cubin"])
        self.handle = ctypes.c_void_p()
        driver.call("cuModuleLoadData", ctypes.byref(self.handle), self.image)
        self.shared_bytes = {}  # largest so far: a kernel may be launched with several sizes

    def function(self, launch):
        """The launch's kernel, with the attributes that it needs."""
        function = ctypes.c_void_p()
        symbol = self.lowered[launch["kernel"]]
        self.driver.call("cuModuleGetFunction", ctypes.byref(function), self.handle, symbol.encode())
        if launch["shared_bytes"] > self.shared_bytes.get(symbol, 0):
            self.driver.call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, launch["shared_bytes"])
            self.shared_bytes[symbol] = launch["shared_bytes"]
        if launch["carveout_percent"] >= 0:
            self.driver.call("cuFuncSetAttribute", function, CARVEOUT, launch["carveout_percent"])
        if math.prod(launch["cluster"]) > PORTABLE_CLUSTER:
            self.driver.call("cuFuncSetAttribute", function, NON_PORTABLE_CLUSTER, 1)
        return function


class PlannedKernels:
    """One plan on given tensors, ready to launch."""

    def __init__(self, module, plan, tensors, allocate):
        """`tensors`: addresses in the task's order. `allocate(bytes)` gives the address of a workspace of zeros."""
        self.driver = module.driver
        self.workspaces = [allocate(max(1, workspace["bytes"])) for workspace in plan["workspaces"]]
        self.cleared = [(address, workspace["bytes"]) for address, workspace
                        in zip(self.workspaces, plan["workspaces"]) if workspace["kind"] == "zeroed"]
        self.maps = [self._encode(tensor_map, tensors) for tensor_map in plan["tensor_maps"]]
        self.launches = [self._prepare(module.function(launch), launch, tensors, index > 0)
                         for index, launch in enumerate(plan["launches"])]

    def _encode(self, tensor_map, tensors):
        memory = ctypes.create_string_buffer(TENSOR_MAP_BYTES + TENSOR_MAP_ALIGNMENT)
        address = round_up(ctypes.addressof(memory), TENSOR_MAP_ALIGNMENT)
        rank = tensor_map["rank"]
        owner = self.workspaces if tensor_map["is_workspace"] else tensors
        base = owner[tensor_map["index"]] + tensor_map["offset_bytes"]
        self.driver.call(
            "cuTensorMapEncodeTiled", ctypes.c_void_p(address), TENSOR_TYPES[tensor_map["dtype"]],
            ctypes.c_uint32(rank), ctypes.c_void_p(base),
            (ctypes.c_uint64 * rank)(*tensor_map["extent"][:rank]),
            (ctypes.c_uint64 * max(rank - 1, 1))(*tensor_map["stride_bytes"][1:rank]),
            (ctypes.c_uint32 * rank)(*tensor_map["box"][:rank]),
            (ctypes.c_uint32 * rank)(*tensor_map["element_stride"][:rank]), 0,
            SWIZZLES[tensor_map["swizzle_bytes"]], PROMOTIONS[tensor_map["l2_promotion_bytes"]], 0)
        return memory, address

    def _prepare(self, function, launch, tensors, may_overlap):
        values = []  # kept: the driver reads them at every launch
        for argument in launch["arguments"]:
            data = argument_bytes(argument, tensors, self.workspaces)
            values.append(self.maps[argument["tensor_map"]][1] if data is None
                          else ctypes.create_string_buffer(data, len(data)))
        pointers = (ctypes.c_void_p * max(len(values), 1))(
            *[value if isinstance(value, int) else ctypes.addressof(value) for value in values])
        attributes = launch_attributes(launch, may_overlap)
        array = (LaunchAttribute * max(len(attributes), 1))()
        for slot, (identifier, numbers) in zip(array, attributes):
            slot.id = identifier
            slot.value[:len(numbers)] = numbers
        configuration = LaunchConfiguration(
            grid=(ctypes.c_uint * 3)(*launch["grid"]), block=(ctypes.c_uint * 3)(*launch["block"]),
            shared_bytes=launch["shared_bytes"], attributes=array, attribute_count=len(attributes))
        return function, configuration, pointers, values

    def __call__(self, stream):
        """Enqueues the zeroing of workspaces and the whole plan on `stream` (an integer handle)."""
        for address, size in self.cleared:
            self.driver.call("cuMemsetD8Async", ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size),
                             ctypes.c_void_p(stream))
        for function, configuration, pointers, _ in self.launches:
            configuration.stream = stream
            self.driver.call("cuLaunchKernelEx", ctypes.byref(configuration), function, pointers, None)
