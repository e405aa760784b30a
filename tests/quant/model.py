# SPDX-License-Identifier: Apache-2.0
"""Models of one operator with random operands."""
import random

import numpy as np
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
Q8 = (np.uint8, np.int8)


class Skip(Exception):
    """What was drawn makes no model."""


def maker(f):
    f.is_maker = True
    return f


class Model:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes, self.inits, self.inputs = [], [], []
        self.outputs, self.feeds = [], {}
        self.want = None        # the outputs, where the peer cannot say
        self.rtol = self.atol = 0
        self.ties = 0           # share of integers that may miss by 1
        self.symbolic = self.maybe(0.3)
        self.opset = 21
        self.count = 0

    # ---- choices

    def maybe(self, probability=0.5):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(list(items))

    def integer(self, low, high):
        return self.random.randint(low, high)

    def dims(self, n, most=9):
        return [self.integer(1, most) for _ in range(n)]

    # ---- numbers

    def whole(self, dtype, shape=(), low=None, high=None):
        """Any numbers of the type."""
        info = np.iinfo(dtype)
        low = info.min if low is None else low
        high = info.max if high is None else high
        return self.numbers.integers(low, high + 1, shape).astype(dtype)

    def scale(self, shape=(), low=0.004, high=0.2):
        """Decimal scales make many ties."""
        s = self.numbers.uniform(low, high, shape)
        return np.asarray(np.round(s, 2) + 0.01 if self.maybe() else s,
                          np.float32)

    def float(self, shape=(), scale=1.0):
        return (scale * self.numbers.standard_normal(shape)).astype(
            np.float32)

    # ---- building

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, array):
        name = self.name()
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def input(self, array, symbolic=None):
        array = np.asarray(array)
        name = self.name()
        dims = list(array.shape)
        if self.symbolic if symbolic is None else symbolic:
            dims = [f"{name}_{k}" for k in range(array.ndim)]
        self.inputs.append(helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), dims))
        self.feeds[name] = array
        return name

    def number(self, array):
        """A parameter: mostly a constant, else an input of fixed dims."""
        return self.constant(array) if self.maybe(0.8) else \
            self.input(array, False)

    def call(self, op, inputs, outputs, domain="", **attributes):
        """inputs: names; outputs: their dtypes, all of which the model
        returns."""
        names = [self.name() if t else "" for t in outputs]
        self.nodes.append(helper.make_node(
            op, [v or "" for v in inputs], names, domain=domain,
            **attributes))
        for name, t in zip(names, outputs):
            if t:
                self.outputs.append(helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(t)),
                    None))
        return names

    def proto(self):
        return helper.make_model(
            helper.make_graph(self.nodes, "quant", self.inputs,
                              self.outputs, self.inits),
            ir_version=10,
            opset_imports=[helper.make_opsetid("", self.opset),
                           helper.make_opsetid(MICROSOFT, 1)])


# ---- numpy's part

def requantized(total, scale_x, scale_w, scale_y, zero, dtype):
    """An int32 sum as the integer kernels of ONNX Runtime store it."""
    f = np.float32
    m = ((f(scale_x) * np.asarray(scale_w, f)).astype(f) /
         np.asarray(scale_y, f)).astype(f)
    total = total.astype(np.int64).astype(np.uint32).astype(np.int32)
    v = (total.astype(f) * m).astype(f)
    info = np.iinfo(dtype)
    zero = np.asarray(zero, np.int32)
    v = np.clip(v, (info.min - zero).astype(f), (info.max - zero).astype(f))
    return (np.rint(v).astype(np.int32) + zero).astype(dtype)
