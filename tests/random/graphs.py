# SPDX-License-Identifier: Apache-2.0
"""Random small ONNX graphs, the same ones for the same seed.

Values stay near 1 and no op is discontinuous in what others computed, so
that results can be held to a tight bound.
"""
import random

import numpy as np
from onnx import TensorProto, helper, numpy_helper

DIMS = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65)
MOST_ELEMENTS = 20000
OPSET = 20
# Dims of inputs are numbers; or one symbol per size; or a symbol per dim.
STATIC, SHARED, APART = range(3)


class Value:
    """A tensor of the graph: its name and numpy dtype, and the shape that it
    has for the inputs of the seed."""

    def __init__(self, name, dtype, shape, given=False):
        self.name, self.dtype = name, np.dtype(dtype)
        self.shape = tuple(int(d) for d in shape)
        self.given = given      # an input or a constant

    @property
    def rank(self):
        return len(self.shape)

    @property
    def size(self):
        return int(np.prod(self.shape, dtype=np.int64))


class Graph:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.seed = seed
        self.nodes, self.constants, self.values = [], [], []
        self.feeds = {}
        self.float = self.random.choice((np.float32,) * 5 + (np.float64,))
        self.single = self.float == np.float32
        self.mode = self.random.choice((STATIC, STATIC, SHARED, APART))
        self.count = 0

    # ---- choices

    def maybe(self, probability=0.5):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(list(items))

    def dim(self, most=65):
        return self.pick(d for d in DIMS if d <= most)

    def shape(self, rank, most=MOST_ELEMENTS):
        """Dims in an order of their own, at most so many elements."""
        dims = []
        for _ in range(rank):
            dims.append(self.dim(max(1, most)))
            most //= dims[-1]
        self.random.shuffle(dims)
        return dims

    def axis(self, x):
        return self.random.randrange(x.rank)

    def signed(self, axis, rank):
        return axis - rank if self.maybe() else axis

    def value(self, ok=lambda v: True):
        """A float value for which ok() holds, rather a late one; or None."""
        fit = [v for v in self.values if v.dtype == self.float and ok(v)]
        if not fit:
            return None
        return self.pick(fit[-4:] if self.maybe(0.7) else fit)

    # ---- building

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def array(self, dtype, shape, scale=1.0):
        if np.dtype(dtype).kind == "f":
            return (scale * self.numbers.standard_normal(shape)).astype(dtype)
        if np.dtype(dtype).kind == "b":
            return self.numbers.integers(0, 2, shape).astype(bool)
        low = 0 if np.dtype(dtype).kind == "u" else -9
        return self.numbers.integers(low, 10, shape).astype(dtype)

    def input(self, dtype, shape):
        v = Value(self.name(), dtype, shape, True)
        self.feeds[v.name] = self.array(dtype, v.shape)
        self.values.append(v)
        return v

    def constant(self, array):
        array = np.asarray(array)
        v = Value(self.name(), array.dtype, array.shape, True)
        self.constants.append(numpy_helper.from_array(array, v.name))
        return v

    def weight(self, shape, scale=1.0):
        return self.constant(self.array(self.float, shape, scale))

    def ints(self, *numbers):
        return self.constant(np.array(numbers, np.int64))

    def scalar(self, number):
        return self.constant(np.array(number, self.float))

    def call(self, op, inputs, shape, dtype=None, outputs=1, **attributes):
        """Adds a node; the first output has this shape."""
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(
            op, [v.name if v else "" for v in inputs], names, **attributes))
        v = Value(names[0], dtype or self.float, shape)
        self.values.append(v)
        return v

    def reshape(self, x, shape):
        return self.call("Reshape", [x, self.ints(*shape)], shape)

    # ---- the model

    def dims_of(self, v):
        if self.mode == STATIC:
            return list(v.shape)
        # A symbol that is 1 when the model runs broadcasts; so does a 1.
        least = self.seed % 2
        if self.mode == SHARED:
            return [f"d{d}" if d > least else 1 for d in v.shape]
        return [f"{v.name}_{k}" if d > least else 1
                for k, d in enumerate(v.shape)]

    def info(self, v, dims):
        return helper.make_tensor_value_info(
            v.name, helper.np_dtype_to_tensor_dtype(v.dtype), dims)

    def model(self):
        read = {name for node in self.nodes for name in node.input}
        inputs = [v for v in self.values if v.name in self.feeds]
        ends = [v for v in self.values
                if v.name not in read and v.name not in self.feeds]
        outputs = ends[-3:]
        graph = helper.make_graph(
            self.nodes, f"random{self.seed}",
            [self.info(v, self.dims_of(v)) for v in inputs],
            [self.info(v, v.shape if self.mode == STATIC
                       else [None] * v.rank) for v in outputs],
            self.constants)
        return helper.make_model(
            graph, ir_version=9,
            opset_imports=[helper.make_opsetid("", OPSET)])


def spread(shape, other):
    """The shape of a broadcast, or None."""
    try:
        shape = np.broadcast_shapes(shape, other)
    except ValueError:
        return None
    # Large products are larger than what others make.
    small = np.prod(shape, dtype=np.int64) <= 4 * MOST_ELEMENTS
    return shape if small else None


def generate(seed):
    """Returns a model and its inputs by name."""
    from ops import CHOICES

    g = Graph(seed)
    for _ in range(g.random.randint(1, 3)):
        g.input(g.float, g.shape(g.random.randint(1, 4)))
    if g.maybe(0.4):
        g.input(g.pick((np.int64, np.int64, np.int32, np.uint8)),
                g.shape(g.random.randint(1, 3), 2000))
    want = g.random.randint(2, 8)
    names = [c[0] for c in CHOICES]
    weights = [c[1] for c in CHOICES]
    makers = {c[0]: c[2] for c in CHOICES}
    for _ in range(200):
        if len(g.nodes) >= want:
            break
        makers[g.random.choices(names, weights)[0]](g)
    return g.model(), g.feeds
