# SPDX-License-Identifier: Apache-2.0
"""A network of Q and DQ whose tensors between the operators are u8 in place of
s8: each number and its zero point are 128 more, which no result shows.  ONNX
Runtime sums these as integers; s8 it sums as floats where it has no kernel."""
import numpy as np
from onnx import TensorProto, numpy_helper

SHIFT = 128


def shift(array):
    """Numbers of s8 as those of u8."""
    return (array.astype(np.int16) + SHIFT).astype(np.uint8)


def unshift(array):
    return (array.astype(np.int16) - SHIFT).astype(np.int8)


def of(model):
    """A copy, and the names of the values that became u8.  Weights stay, and so
    does all where other operators read numbers of s8."""
    copy = type(model)()
    copy.CopyFrom(model)
    graph = copy.graph
    constant = {t.name: t for t in graph.initializer}
    shifted = {n.output[0] for n in graph.node
               if n.op_type == "QuantizeLinear" and
               constant[n.input[2]].data_type == TensorProto.INT8}
    # A table and what is gathered from it have one zero point.
    shared = {n.input[2] for n in graph.node
              if n.op_type == "QuantizeLinear" and n.output[0] in shifted}
    more = {}

    def shifted_constant(name):
        more[name + "#u8"] = numpy_helper.from_array(
            shift(numpy_helper.to_array(constant[name])), name + "#u8")
        return name + "#u8"

    for node in graph.node:
        reads = shifted.intersection(node.input)
        is_q = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if reads and not is_q:
            return model, set()
        if not is_q or node.input[2] not in shared:
            continue
        node.input[2] = shifted_constant(node.input[2])
        if node.input[0] in constant:
            node.input[0] = shifted_constant(node.input[0])
    graph.initializer.extend(more.values())
    for v in [*graph.value_info, *graph.output]:
        if v.name in shifted:
            v.type.tensor_type.elem_type = TensorProto.UINT8
    return copy, shifted
