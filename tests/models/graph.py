# SPDX-License-Identifier: Apache-2.0
"""Writes ONNX graphs in the two forms that PyTorch's exporters give them.

Older: the tracing exporter at opsets 11 to 17.  Constants are nodes, shapes
go through chains of Shape, Gather, Unsqueeze and Concat, layer normalization
and GELU are spelled out.  Newer: opset 18 and later, with those ops and with
constants as initializers.
"""
import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PRODUCER = {"older": "pytorch-older-style", "newer": "pytorch-newer-style"}


class Graph:
    def __init__(self, name, style, opset, seed=0):
        self.name, self.style, self.opset = name, style, opset
        self.older = style == "older"
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.known = {}

    # ---- the graph ------------------------------------------------------

    def op(self, kind, *inputs, outputs=1, **attrs):
        """Appends a node; returns the name of its output, or a list."""
        n = len(self.nodes)
        names = [f"/{kind}_{n}_output_{k}" if self.older else
                 f"{kind.lower()}_{n}" + (f"_{k}" if k else "")
                 for k in range(outputs)]
        name = f"/layer/{kind}_{n}" if self.older else f"node_{kind}_{n}"
        self.nodes.append(helper.make_node(kind, inputs, names, name,
                                           **attrs))
        return names[0] if outputs == 1 else names

    def input(self, name, dtype, dims):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value, name, dtype, dims):
        """Makes value an output of that name."""
        self.nodes.append(helper.make_node("Identity", [value], [name],
                                           "node_" + name))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))

    def weight(self, array, name=None):
        name = name or f"w{len(self.weights)}"
        array = np.asarray(array, order="C")
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *dims, scale=1.0, mean=0.0):
        """A weight of seeded random numbers."""
        a = self.rng.standard_normal(dims, dtype=np.float32)
        return self.weight(a * np.float32(scale) + np.float32(mean))

    def const(self, value, dtype=np.float32):
        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.shape, array.dtype.str)
        if not self.older:
            if key not in self.known:
                self.known[key] = self.weight(array,
                                              f"val_{len(self.weights)}")
            return self.known[key]
        return self.op("Constant", value=numpy_helper.from_array(array))

    def ints(self, *values):
        return self.const(values, np.int64)

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs,
                                  self.outputs, self.weights)
        model = helper.make_model(
            graph, producer_name=PRODUCER[self.style],
            ir_version=7 if self.older else 10,
            opset_imports=[helper.make_opsetid("", self.opset)])
        if model.ByteSize() < 1 << 30:
            onnx.checker.check_model(model, full_check=True)
        return model

    # ---- what exporters write -------------------------------------------

    def unsqueeze(self, x, *axes):
        if self.opset < 13:
            return self.op("Unsqueeze", x, axes=list(axes))
        return self.op("Unsqueeze", x, self.ints(*axes))

    def squeeze(self, x, *axes):
        if self.opset < 13:
            return self.op("Squeeze", x, axes=list(axes))
        return self.op("Squeeze", x, self.ints(*axes))

    def reduce_mean(self, x, *axes, keepdims=1):
        if self.opset < 18:
            return self.op("ReduceMean", x, axes=list(axes),
                           keepdims=keepdims)
        return self.op("ReduceMean", x, self.ints(*axes), keepdims=keepdims)

    def dim(self, x, axis):
        """One dim of x as a scalar."""
        if self.older:
            return self.op("Gather", self.op("Shape", x),
                           self.const(axis, np.int64), axis=0)
        return self.squeeze(self.op("Shape", x, start=axis, end=axis + 1), 0)

    def reshape(self, x, *dims):
        """To dims, each a number or the name of a scalar."""
        if all(isinstance(d, int) for d in dims):
            return self.op("Reshape", x, self.ints(*dims))
        parts = [self.ints(d) if isinstance(d, int) else
                 self.unsqueeze(d, 0) for d in dims]
        return self.op("Reshape", x, self.op("Concat", *parts, axis=0))

    def slice(self, x, axis, start, end):
        """start and end are numbers or names of 1-D tensors."""
        start, end = (self.ints(v) if isinstance(v, int) else v
                      for v in (start, end))
        return self.op("Slice", x, start, end, self.ints(axis), self.ints(1))

    def linear(self, x, n_in, n_out, bias=True):
        """Of a tensor with leading dims, as the exporters spell it."""
        y = self.op("MatMul", x, self.normal(n_in, n_out,
                                             scale=n_in ** -0.5))
        if not bias:
            return y
        b = self.normal(n_out, scale=0.1)
        return self.op("Add", b, y) if self.older else self.op("Add", y, b)

    def layer_norm(self, x, n, epsilon=1e-5):
        scale = self.normal(n, scale=0.1, mean=1.0)
        bias = self.normal(n, scale=0.1)
        if self.opset >= 17 and not self.older:
            return self.op("LayerNormalization", x, scale, bias, axis=-1,
                           epsilon=epsilon)
        centered = self.op("Sub", x, self.reduce_mean(x, -1))
        square = self.op("Pow", centered, self.const(2))
        deviation = self.op("Sqrt", self.op(
            "Add", self.reduce_mean(square, -1), self.const(epsilon)))
        y = self.op("Div", centered, deviation)
        return self.op("Add", self.op("Mul", y, scale), bias)

    def gelu(self, x):
        if self.opset >= 20:
            return self.op("Gelu", x)
        y = self.op("Erf", self.op("Div", x, self.const(math.sqrt(2))))
        y = self.op("Mul", x, self.op("Add", y, self.const(1)))
        return self.op("Mul", y, self.const(0.5))

    def gelu_tanh(self, x):
        """GPT-2's approximation."""
        if self.opset >= 20:
            return self.op("Gelu", x, approximate="tanh")
        y = self.op("Mul", self.op("Pow", x, self.const(3)),
                    self.const(0.044715))
        y = self.op("Mul", self.op("Add", x, y),
                    self.const(math.sqrt(2 / math.pi)))
        y = self.op("Add", self.op("Tanh", y), self.const(1))
        return self.op("Mul", self.op("Mul", x, self.const(0.5)), y)

    def split_heads(self, x, heads, width):
        """[b, s, heads * width] to [b, heads, s, width]."""
        y = self.reshape(x, self.dim(x, 0), self.dim(x, 1), heads, width)
        return self.op("Transpose", y, perm=[0, 2, 1, 3])

    def join_heads(self, x, heads, width):
        y = self.op("Transpose", x, perm=[0, 2, 1, 3])
        return self.reshape(y, self.dim(y, 0), self.dim(y, 1),
                            heads * width)

    def attention(self, q, k, v, width, mask=None):
        """softmax(q k' / sqrt(width) + mask) v over heads."""
        if self.older:
            k = self.op("Transpose", k, perm=[0, 1, 3, 2])
            scores = self.op("Div", self.op("MatMul", q, k),
                             self.const(math.sqrt(width)))
        else:
            # scaled_dot_product_attention scales both sides.
            scale = self.const(width ** -0.25)
            k = self.op("Transpose", k, perm=[0, 1, 3, 2])
            scores = self.op("MatMul", self.op("Mul", q, scale),
                             self.op("Mul", k, scale))
        if mask:
            scores = self.op("Add", scores, mask)
        axis = 3 if self.older and self.opset < 13 else -1
        return self.op("MatMul", self.op("Softmax", scores, axis=axis), v)


FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
