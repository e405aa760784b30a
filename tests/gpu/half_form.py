# SPDX-License-Identifier: Apache-2.0
"""Models with half floats: all of their floats, but for inputs and outputs;
or the operands of products alone, in a model of f64 or f32."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

F32, F16 = TensorProto.FLOAT, TensorProto.FLOAT16
MOST = float(np.finfo(np.float16).max)


def tensor(t):
    if t.data_type != F32:
        return t
    a = numpy_helper.to_array(t)
    return numpy_helper.from_array(
        np.clip(a, -MOST, MOST).astype(np.float16), t.name)


def node(n):
    for a in n.attribute:
        if n.op_type == "Cast" and a.name == "to" and a.i == F32:
            a.i = F16
        if a.HasField("t"):
            a.t.CopyFrom(tensor(a.t))
        if a.HasField("g"):
            graph(a.g)


def graph(g):
    for t in g.initializer:
        t.CopyFrom(tensor(t))
    for n in g.node:
        node(n)
    for v in (*g.input, *g.output, *g.value_info):
        if v.type.tensor_type.elem_type == F32:
            v.type.tensor_type.elem_type = F16


def converted(model):
    g = model.graph
    floats = {v.name for v in (*g.input, *g.output)
              if v.type.tensor_type.elem_type == F32}
    graph(g)
    for v in (*g.input, *g.output):
        if v.name in floats:
            v.type.tensor_type.elem_type = F32
    first, last = [], []
    for v in g.input:
        if v.name in floats:
            first.append(helper.make_node("Cast", [v.name],
                                          ["half " + v.name], to=F16))
    for v in g.output:
        if v.name in floats:
            last.append(helper.make_node("Cast", ["half " + v.name],
                                         [v.name], to=F32))
    for n in g.node:
        for names in (n.input, n.output):
            for i, name in enumerate(names):
                if name in floats:
                    names[i] = "half " + name
    nodes = [*first, *g.node, *last]
    del g.node[:]
    g.node.extend(nodes)
    return model


# ---- operands of products, and all else exact -----------------------------

F64 = TensorProto.DOUBLE
PRODUCTS = ("MatMul", "Gemm", "Conv")


def wide_tensor(t, wide):
    return t if t.data_type != F32 else numpy_helper.from_array(
        numpy_helper.to_array(t).astype(
            helper.tensor_dtype_to_np_dtype(wide)), t.name)


def rounded_operands(model, to, wide=F64, which=(0, 1)):
    """The model in a wide type, where the factors of products, or one of
    them, are rounded to another one first: what a precision costs, whoever
    computes it."""
    g, nodes = model.graph, []
    for t in g.initializer:
        t.CopyFrom(wide_tensor(t, wide))
    for n in g.node:
        for a in n.attribute:
            if n.op_type == "Cast" and a.name == "to" and a.i == F32:
                a.i = wide
            if a.HasField("t"):
                a.t.CopyFrom(wide_tensor(a.t, wide))
        for i in which if n.op_type in PRODUCTS else ():
            narrow = f"narrow {len(nodes)}"
            nodes += [helper.make_node("Cast", [n.input[i]], [narrow], to=to),
                      helper.make_node("Cast", [narrow], ["as " + narrow],
                                       to=wide)]
            n.input[i] = "as " + narrow
        nodes.append(n)
    for v in (*g.input, *g.output):
        if v.type.tensor_type.elem_type == F32:
            v.type.tensor_type.elem_type = wide
    del g.node[:], g.value_info[:]
    g.node.extend(nodes)
    return model
