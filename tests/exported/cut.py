# SPDX-License-Identifier: Apache-2.0
"""Cuts a quantized graph apart, so that a number that rounds the other way
stays the only one."""
import numpy as np
from onnx import helper, numpy_helper

# What ONNX Runtime may take into an integer kernel together with the Q and DQ
# around it.  What else makes the input of a QuantizeLinear is float work.
INTEGER = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "MaxPool",
           "AveragePool", "GlobalAveragePool", "Relu", "Clip",
           "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze",
           "Flatten", "Slice", "Gather", "Identity", "DequantizeLinear"}
# Those that a float input comes to, which others computed.
READS_FLOAT = {"DynamicQuantizeLinear", "MatMulNBits"}
HALFWAY = 1e-4      # of a step: a sum of f32, in whatever order, is nearer


def is_quantized(node):
    """Has the node a result, or a sum, of quantized numbers?"""
    return node.op_type == "QuantizeLinear" or \
        node.op_type in READS_FLOAT or \
        node.op_type in ("QGemm", "MatMulInteger", "ConvInteger") or \
        node.op_type.startswith("QLinear")


def points(graph):
    """The values to cut at, in the order of the graph."""
    constant = {t.name for t in graph.initializer}
    maker, found = {}, {}
    for node in graph.node:
        if all(not v or v in constant for v in node.input):
            constant.update(node.output)
            continue
        maker.update({v: node for v in node.output})
        if not is_quantized(node):
            continue
        x = node.input[0]
        by = maker.get(x)
        if by is not None and (node.op_type in READS_FLOAT or
                               (node.op_type == "QuantizeLinear" and
                                by.op_type not in INTEGER)):
            found[x] = True
        found.update({v: True for v in node.output if v})
    return list(found)


def entry(name):
    return name + "#in"


def cut_model(model, inner, feeds):
    """Returns each value of inner (name -> array), and reads it from an input
    of its own.  All shapes are those of the arrays."""
    graph = model.graph
    for node in graph.node:
        for k, v in enumerate(node.input):
            if v in inner:
                node.input[k] = entry(v)
    shaped = {**feeds, **{entry(v): a for v, a in inner.items()}}
    del graph.input[:]
    del graph.value_info[:]
    graph.input.extend(helper.make_tensor_value_info(
        v, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for v, a in shaped.items())
    own = {v.name for v in graph.output}
    graph.output.extend(helper.make_tensor_value_info(
        v, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for v, a in inner.items() if v not in own)
    for v in graph.output:
        v.type.tensor_type.ClearField("shape")
    return model


def float_parts(graph, inner):
    """The least and the most that the graph allows of quantized values that
    come of floats: name -> (array, array).  ONNX Runtime adds dequantized
    numbers with one rounding in the float that has the zero point in it
    (QLinearAdd), which now and then goes the other way.  QLinearSoftmax sums
    floats in an order of its own, which leaves two where an f64 is halfway."""
    constant = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    maker = {v: node for node in graph.node for v in node.output}
    known, found = {**constant, **inner}, {}

    def made_by(value, op):
        node = maker.get(value)
        return node if node is not None and node.op_type == op else None

    def dequantized(value):
        node = made_by(value, "DequantizeLinear")
        if node is None:
            return constant.get(value)
        q = known.get(node.input[0].removesuffix("#in"))
        scale, zero = (constant[v] for v in node.input[1:3])
        return None if q is None or scale.ndim else \
            (q.astype(np.int32) - zero).astype(np.float32) * scale

    def quantized(y, zero):
        info = np.iinfo(zero.dtype)
        return np.clip(np.rint(y) + zero, info.min, info.max).astype(
            zero.dtype)

    for node in graph.node:
        add = made_by(node.input[0], "Add") \
            if node.op_type == "QuantizeLinear" else None
        terms = [dequantized(v) for v in add.input] if add is not None else []
        if len(terms) == 2 and all(t is not None for t in terms):
            scale, zero = (constant[v] for v in node.input[1:3])
            y = quantized((terms[0] + terms[1]) / scale, zero)
            found[node.output[0]] = y, y
        if node.op_type == "QLinearSoftmax":
            q = inner[node.input[0].removesuffix("#in")].astype(np.float64)
            x_scale, _, scale, zero = (constant[v] for v in node.input[1:5])
            axis = next(a.i for a in node.attribute if a.name == "axis")
            e = np.exp((q - q.max(axis, keepdims=True)) * x_scale)
            y = e * np.floor(np.float32(1) / scale) / e.sum(axis, keepdims=True)
            found[node.output[0]] = (quantized(y - HALFWAY, zero),
                                     quantized(y + HALFWAY, zero))
    return found
