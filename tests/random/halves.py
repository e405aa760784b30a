# SPDX-License-Identifier: Apache-2.0
"""Contractions of half floats, for random graphs.

Their operands are small integers, so that each sum is the same in any order
and in any type: the reference computes the graph in single precision."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
MOST_TERMS = 120        # of at most 2: bfloat16 counts to 256


def whole(g, shape, most):
    return g.numbers.integers(-most, most + 1, shape)


def operand(g, kind, shape, most=1):
    """A constant, or an input made half."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if g.maybe(0.7):
        return g.constant(whole(g, shape, most).astype(dtype))
    x = g.input(np.float32, shape)
    g.feeds[x.name] = whole(g, shape, most).astype(np.float32)
    return cast(g, x, kind)


def cast(g, x, kind):
    return g.call("Cast", [x], x.shape, helper.tensor_dtype_to_np_dtype(kind),
                  to=kind)


def half(g):
    """A product or a convolution between casts."""
    if not g.single:
        return
    kind = g.pick(HALF)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if g.maybe():
        m, k, n = g.dim(), g.dim(65), g.dim()
        x = g.input(np.float32, (m, k))
        node, inputs, more, shape = "MatMul", [(k, n)], {}, (m, n)
        if g.maybe():
            node, inputs, more = "Gemm", [(n, k), (n,)], {"transB": 1}
    else:
        group = g.pick((1, 1, 2, 3, 4))
        c, m, size = g.dim(5), g.dim(17), g.dim(17)
        kernel = g.pick((1, 3))
        if c * kernel ** 2 > MOST_TERMS or size < kernel:
            return
        x = g.input(np.float32, (g.dim(2), c * group, size, size))
        out = size + 2 * (kernel // 2) - kernel + 1
        node, inputs = "Conv", [(m * group, c, kernel, kernel), (m * group,)]
        more = {"group": group, "pads": [kernel // 2] * 4}
        shape = (x.shape[0], m * group, out, out)
    g.feeds[x.name] = whole(g, x.shape, 2).astype(np.float32)
    y = g.call(node, [cast(g, x, kind), *[operand(g, kind, s)
                                          for s in inputs]],
               shape, dtype, **more)
    if g.maybe():
        y = g.call("Relu", [y], shape, dtype)
    y = cast(g, y, TensorProto.FLOAT)
    g.call("Tanh", [g.call("Mul", [y, g.scalar(0.0625)], shape)], shape)


def in_single(model):
    """The model with single precision for half."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for node in model.graph.node:
        for a in node.attribute:
            if node.op_type == "Cast" and a.i in HALF:
                a.i = TensorProto.FLOAT
    for t in model.graph.initializer:
        if t.data_type in HALF:
            t.CopyFrom(numpy_helper.from_array(
                numpy_helper.to_array(t).astype(np.float32), t.name))
    return model
