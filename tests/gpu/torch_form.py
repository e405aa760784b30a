# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph as a module of PyTorch, for given sizes of its inputs.

What depends on sizes and constants alone is computed when the module is built,
by ONNX's reference evaluator; what is left is a straight line of torch's
functions, which torch.compile takes whole.  A product, softmax and product
become scaled_dot_product_attention, as one would write it in PyTorch.

    module = torch_form.build(model, {"x": (1, 3, 224, 224)}, torch.float16)
    y = module.cuda()(x)

Only the operators of the generated networks (tests/models) are here.
"""
import operator

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FEW = 4096              # floats; a constant of more of them is a weight
HIDDEN = -1e4           # what a score that does not count is added at most
ATTENTION = F.scaled_dot_product_attention
DTYPES = {TensorProto.INT64: torch.int64, TensorProto.INT32: torch.int32,
          TensorProto.BOOL: torch.bool, TensorProto.UINT8: torch.uint8}
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


class Value:
    """What is known when the module runs: a node of its graph, and a tensor
    without memory that has its type and shape."""

    def __init__(self, node, like):
        self.node, self.like = node, like

    @property
    def rank(self):
        return self.like.dim()


class Builder:
    """Each ONNX value is a Value or, where it is known now, an array."""

    def __init__(self, model, sizes, dtype):
        self.dtype, self.opset = dtype, model.opset_import[0].version
        self.ir_version = model.ir_version
        self.graph, self.root = torch.fx.Graph(), torch.nn.Module()
        self.values, self.held, self.made = {"": None}, {}, {}
        self.nodes = model.graph.node
        for t in model.graph.initializer:
            self.values[t.name] = numpy_helper.to_array(t)
        self.large = {t.name for t in model.graph.initializer
                      if t.data_type in FLOATS and
                      self.values[t.name].size > FEW}
        for v in model.graph.input:
            kind = v.type.tensor_type.elem_type
            like = torch.empty(tuple(sizes[v.name]), device="meta",
                               dtype=DTYPES.get(kind, dtype))
            node = self.graph.placeholder(f"in{len(self.made)}")
            self.values[v.name] = self.made[v.name] = Value(node, like)
        self.users = {}
        for n in self.nodes:
            for name in n.input:
                self.users[name] = self.users.get(name, 0) + 1
        for v in model.graph.output:
            self.users[v.name] = self.users.get(v.name, 0) + 1
        self.producer = {name: n for n in self.nodes for name in n.output}

    # ---- values ---------------------------------------------------------

    def call(self, function, *args, **kwargs):
        """A call in the module's code.  Arrays are constants of the module,
        those of one float numbers."""
        args = self.operands(args)
        kwargs = dict(zip(kwargs, self.operands(list(kwargs.values()))))
        node = self.graph.call_function(
            function, torch.fx.node.map_aggregate(args, part("node")),
            torch.fx.node.map_aggregate(kwargs, part("node")))
        like = function(*torch.fx.node.map_aggregate(args, part("like")),
                        **torch.fx.node.map_aggregate(kwargs, part("like")))
        if isinstance(like, (tuple, list)):
            return [Value(self.graph.call_function(
                operator.getitem, (node, i)), l) for i, l in enumerate(like)]
        return Value(node, like)

    def operands(self, args):
        return type(args)(
            self.operands(a) if isinstance(a, (tuple, list)) else
            self.operand(a) if isinstance(a, np.ndarray) else a for a in args)

    def operand(self, array):
        if array.ndim == 0 and array.dtype.kind == "f":
            return self.number(array)
        return self.tensor(array)

    def number(self, array):
        """A number that the module's floats can hold, as Python's."""
        most = torch.finfo(self.dtype).max
        return min(max(float(array), -most), most)

    def tensor(self, array):
        """A constant in the module's memory."""
        key = (id(array), array.shape)
        if key not in self.held:
            most = torch.finfo(self.dtype).max
            t = torch.from_numpy(np.array(array, order="C"))
            if t.is_floating_point():
                t = t.clamp(-most, most).to(self.dtype)
            name = f"held{len(self.held)}"
            self.root.register_buffer(name, t)
            self.held[key] = array, Value(self.graph.get_attr(name),
                                          t.to("meta"))
        return self.held[key][1]

    def ints(self, name):
        """Sizes, axes: what has to be known now, as Python's numbers."""
        array = self.values[name]
        if not isinstance(array, np.ndarray):
            raise NotImplementedError(f"{name} depends on inputs")
        return [int(i) for i in array.reshape(-1)]

    def axes(self, n, attrs):
        if len(n.input) > 1 and n.input[1]:
            return self.ints(n.input[1])
        return list(attrs["axes"]) if "axes" in attrs else None

    # ---- nodes ----------------------------------------------------------

    def known(self, n):
        """Do its outputs depend on nothing but sizes and small constants?"""
        if n.op_type == "Shape":
            return True
        return all(isinstance(self.values[name], np.ndarray) and
                   name not in self.large for name in n.input if name)

    def fold(self, n):
        feeds = {}
        for name in n.input:
            v = self.values[name]
            if isinstance(v, Value):    # only its shape counts
                v = np.lib.stride_tricks.as_strided(
                    np.zeros(1, np.uint8), tuple(v.like.shape),
                    [0] * v.rank)
            feeds[name] = v
        graph = helper.make_graph(
            [n], "g", [helper.make_empty_tensor_value_info(k) for k in feeds
                       if k],
            [helper.make_empty_tensor_value_info(k) for k in n.output if k])
        done = ReferenceEvaluator(helper.make_model(
            graph, ir_version=self.ir_version,
            opset_imports=[helper.make_opsetid("", self.opset)])).run(
                None, feeds)
        self.values.update(zip(n.output, map(np.asarray, done)))

    def run(self):
        for n in self.nodes:
            if self.known(n):
                self.fold(n)
                continue
            attrs = {a.name: helper.get_attribute_value(a)
                     for a in n.attribute}
            make = OPS.get(n.op_type)
            if not make:
                raise NotImplementedError(n.op_type)
            found = make(self, n, attrs, *[self.values[i] for i in n.input])
            if not isinstance(found, (tuple, list)):
                found = [found]
            self.values.update(zip(n.output, found))


def part(name):
    return lambda a: getattr(a, name) if isinstance(a, Value) else a


def build(model, sizes, dtype=torch.float32):
    """sizes: the shape of each input.  Floats are of that type, inputs and
    outputs too."""
    b = Builder(model, sizes, dtype)
    b.run()
    out = [b.values[v.name] for v in model.graph.output]
    b.graph.output(tuple(
        (b.tensor(v) if isinstance(v, np.ndarray) else v).node for v in out))
    b.graph.eliminate_dead_code()
    b.graph.lint()
    module = torch.fx.GraphModule(b.root, b.graph)
    used = {node.target for node in b.graph.nodes if node.op == "get_attr"}
    for name in [k for k, _ in module.named_buffers() if k not in used]:
        delattr(module, name)
    return module.eval()


# ---- operators -------------------------------------------------------------

OPS = {}


def op(*names):
    def add(function):
        for name in names:
            OPS[name] = function
        return function
    return add


def simple(function, *args):
    return lambda b, n, attrs, *xs: b.call(function, *xs, *args)


for name, function in (
        ("Add", torch.add), ("Sub", torch.sub), ("Mul", torch.mul),
        ("Div", torch.div), ("Pow", torch.pow), ("Sqrt", torch.sqrt),
        ("Erf", torch.erf), ("Tanh", torch.tanh), ("Relu", F.relu),
        ("Sigmoid", torch.sigmoid), ("Equal", torch.eq),
        ("Neg", torch.neg),
        ("GreaterOrEqual", torch.ge)):
    OPS[name] = simple(function)
OPS["Identity"] = lambda b, n, attrs, x: x


@op("Max")
def largest(b, n, attrs, x, *more):
    for y in more:
        if isinstance(y, np.ndarray) and y.size == 1:
            x = b.call(torch.clamp, x, b.number(y.reshape(())))
        else:
            x = b.call(torch.maximum, x, y)
    return x


@op("Clip")
def clip(b, n, attrs, x, low=None, high=None):
    low, high = (v if v is None else b.number(v) for v in (low, high))
    return b.call(torch.clamp, x, low, high)


@op("Where")
def where(b, n, attrs, *xs):
    """Two numbers would give floats of torch's default type."""
    return b.call(torch.where, *(b.tensor(x) if isinstance(x, np.ndarray)
                                 else x for x in xs))


@op("Cast")
def cast(b, n, attrs, x):
    to = attrs["to"]
    dtype = b.dtype if to in FLOATS else DTYPES[to]
    return x if x.like.dtype == dtype else b.call(torch.Tensor.to, x, dtype)


@op("Gelu")
def gelu(b, n, attrs, x):
    return b.call(F.gelu, x, approximate=attrs.get(
        "approximate", b"none").decode())


@op("Softmax")
def softmax(b, n, attrs, x):
    axis = attrs.get("axis", -1 if b.opset >= 13 else 1)
    if b.opset < 13 and axis % x.rank != x.rank - 1:
        raise NotImplementedError("a softmax over several dims")
    return b.call(torch.softmax, x, axis)


@op("LayerNormalization")
def layer_norm(b, n, attrs, x, scale, bias=None):
    axis = attrs.get("axis", -1) % x.rank
    return b.call(F.layer_norm, x, tuple(x.like.shape[axis:]), scale, bias,
                  attrs.get("epsilon", 1e-5))


@op("BatchNormalization")
def batch_norm(b, n, attrs, x, scale, bias, mean, var):
    return b.call(F.batch_norm, x, mean, var, scale, bias, False, 0.0,
                  attrs.get("epsilon", 1e-5))


# ---- products --------------------------------------------------------------

@op("Gemm")
def gemm(b, n, attrs, x, w, bias=None):
    """F.linear, where that is what it is."""
    if attrs.get("alpha", 1) != 1 or attrs.get("beta", 1) != 1 or \
            attrs.get("transA", 0):
        raise NotImplementedError("a scaled Gemm")
    if attrs.get("transB", 0):
        return b.call(F.linear, x, w, bias)
    y = b.call(torch.matmul, x, w)
    return y if bias is None else b.call(torch.add, y, bias)


def only(b, name, *kinds):
    """The node that computes what one other node reads, if of these kinds."""
    n = b.producer.get(name)
    return n if n and n.op_type in kinds and b.users[name] == 1 else None


def attention(b, n):
    """q, k, v, mask and scale, if this is the last product of such."""
    norm = only(b, n.input[0], "Softmax")
    if not norm or b.values[n.input[0]].rank != 4:
        return None
    rank = b.values[norm.input[0]].rank
    axes = [a.i % rank for a in norm.attribute if a.name == "axis"]
    if axes not in ([], [rank - 1]) or not axes and b.opset < 13:
        return None
    name, mask, scale = norm.input[0], None, 1.0
    add = only(b, name, "Add")
    if add:
        name, mask = add.input[0], b.values[add.input[1]]
    div = only(b, name, "Div")
    if div:
        by = b.values[div.input[1]]
        if not isinstance(by, np.ndarray) or by.size != 1:
            return None
        name, scale = div.input[0], 1.0 / float(by.reshape(()))
    first = only(b, name, "MatMul")
    if not first:
        return None
    q, k = (b.values[i] for i in first.input)
    if not isinstance(q, Value) or not isinstance(k, Value) or \
            q.rank != 4 or k.rank != 4:
        return None
    return q, k, mask, scale


def causal(mask):
    """Does it hide from each query the keys behind its own, and no others?"""
    if not isinstance(mask, np.ndarray) or mask.ndim < 2 or \
            mask.shape[-1] != mask.shape[-2]:
        return False
    seen = np.tril(np.ones(mask.shape[-2:], bool))
    return bool(np.all(mask[..., seen] == 0) and
                np.all(mask[..., ~seen] <= HIDDEN))


@op("MatMul")
def matmul(b, n, attrs, x, y):
    found = isinstance(x, Value) and isinstance(y, Value) and attention(b, n)
    if not found:
        return b.call(torch.matmul, x, y)
    q, k, mask, scale = found
    k = b.call(torch.transpose, k, 2, 3)
    if causal(mask):
        return b.call(ATTENTION, q, k, y, is_causal=True, scale=scale)
    if isinstance(mask, np.ndarray):
        mask = b.tensor(mask)
    return b.call(ATTENTION, q, k, y, attn_mask=mask, scale=scale)


def windows(attrs, rank):
    """Strides, padding and dilations; pads that are the same on both sides.
    """
    n = rank - 2
    pads = attrs.get("pads", [0] * 2 * n)
    if list(pads[:n]) != list(pads[n:]) or \
            attrs.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise NotImplementedError("padding")
    return (tuple(attrs.get("strides", [1] * n)), tuple(pads[:n]),
            tuple(attrs.get("dilations", [1] * n)))


@op("Conv")
def conv(b, n, attrs, x, w, bias=None):
    if x.rank != 4:
        raise NotImplementedError("a convolution that is not of images")
    return b.call(F.conv2d, x, w, bias, *windows(attrs, x.rank),
                  attrs.get("group", 1))


@op("MaxPool")
def max_pool(b, n, attrs, x):
    stride, pad, dilation = windows(attrs, x.rank)
    return b.call(F.max_pool2d, x, tuple(attrs["kernel_shape"]), stride, pad,
                  dilation, bool(attrs.get("ceil_mode", 0)))


@op("GlobalAveragePool")
def average(b, n, attrs, x):
    return b.call(torch.mean, x, tuple(range(2, x.rank)), True)


# ---- folds -----------------------------------------------------------------

@op("ReduceMean", "ReduceSum", "ReduceL2")
def reduce(b, n, attrs, x, *_):
    axes = b.axes(n, attrs) or list(range(x.rank))
    keep = bool(attrs.get("keepdims", 1))
    if n.op_type == "ReduceL2":
        return b.call(torch.linalg.vector_norm, x, 2, axes, keep)
    return b.call(torch.mean if n.op_type == "ReduceMean" else torch.sum, x,
                  axes, keep)


# ---- shapes ----------------------------------------------------------------

@op("Transpose")
def transpose(b, n, attrs, x):
    rank = x.ndim if isinstance(x, np.ndarray) else x.rank
    return b.call(torch.permute, x, tuple(attrs.get("perm",
                                                    range(rank)[::-1])))


@op("Reshape")
def reshape(b, n, attrs, x, _):
    dims = b.ints(n.input[1])
    if attrs.get("allowzero", 0) and 0 in dims:
        raise NotImplementedError("allowzero")
    dims = [x.like.shape[i] if d == 0 else d for i, d in enumerate(dims)]
    return b.call(torch.reshape, x, tuple(dims))


@op("Flatten")
def flatten(b, n, attrs, x):
    axis = attrs.get("axis", 1)
    return b.call(torch.reshape, x,
                  (int(np.prod(x.like.shape[:axis], dtype=np.int64)), -1))


@op("Unsqueeze")
def unsqueeze(b, n, attrs, x, *_):
    axes = b.axes(n, attrs)
    rank = x.rank + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = b.call(torch.unsqueeze, x, axis)
    return x


@op("Squeeze")
def squeeze(b, n, attrs, x, *_):
    axes = b.axes(n, attrs)
    return b.call(torch.squeeze, x, tuple(axes)) if axes else \
        b.call(torch.squeeze, x)


@op("Expand")
def expand(b, n, attrs, x, _):
    dims = b.ints(n.input[1])
    tensor = b.tensor(x) if isinstance(x, np.ndarray) else x
    shape = np.broadcast_shapes(tuple(tensor.like.shape), tuple(dims))
    return b.call(torch.Tensor.expand, tensor, tuple(shape))


@op("Concat")
def concat(b, n, attrs, *xs):
    return b.call(torch.cat, list(xs), attrs["axis"])


@op("Split")
def split(b, n, attrs, x, *_):
    axis = attrs.get("axis", 0)
    sizes = b.axes(n, {"axes": attrs["split"]} if "split" in attrs else {})
    if not sizes:
        size = x.like.shape[axis]
        sizes = -(-size // len(n.output))
    return b.call(torch.split, x, sizes, axis)


@op("Slice")
def slice_(b, n, attrs, x, *_):
    starts, ends = b.ints(n.input[1]), b.ints(n.input[2])
    axes = b.ints(n.input[3]) if len(n.input) > 3 and n.input[3] else \
        list(range(len(starts)))
    steps = b.ints(n.input[4]) if len(n.input) > 4 else [1] * len(starts)
    if any(s < 1 for s in steps):
        raise NotImplementedError("a slice backwards")
    rank = x.ndim if isinstance(x, np.ndarray) else x.rank
    where = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps):
        where[axis] = slice(start, end, step)
    return b.call(operator.getitem, x, tuple(where))


@op("Gather")
def gather(b, n, attrs, x, at):
    axis = attrs.get("axis", 0)
    if isinstance(at, np.ndarray) and at.ndim == 0:
        return b.call(torch.select, x, axis, int(at))
    rank = x.ndim if isinstance(x, np.ndarray) else x.rank
    if axis % rank == 0 and rank == 2 and not isinstance(at, np.ndarray):
        return b.call(F.embedding, at, x)
    where = (slice(None),) * (axis % rank)
    return b.call(operator.getitem, x, (*where, at))


# ---- recurrent layers ------------------------------------------------------

def turned(w, order):
    """Blocks of rows, one for each gate, as torch has them."""
    parts = np.split(w, len(order), axis=0)
    return np.concatenate([parts[i] for i in order])


def recurrent(b, n, attrs, x, order, function, names):
    """One layer; torch's weights direction by direction."""
    direction = attrs.get("direction", b"forward")
    if direction == b"reverse" or len(n.input) > 4 and n.input[4] or \
            any(n.input[i] for i in range(7, len(n.input))) or \
            set(attrs) - {"direction", "hidden_size", "linear_before_reset"}:
        raise NotImplementedError(n.op_type)
    both, flat = direction == b"bidirectional", []
    w, r, bias = (b.values[i] for i in n.input[1:4])
    for d in range(1 + both):
        half = len(order) * attrs["hidden_size"]
        flat += [b.tensor(turned(a, order)) for a in
                 (w[d], r[d], bias[d][:half], bias[d][half:])]
    states = [b.values[i] for i in names]
    states = [b.tensor(s) if isinstance(s, np.ndarray) else s
              for s in states]
    y, *last = b.call(function, x, states[0] if len(states) == 1 else states,
                      flat, True, 1, 0.0, False, both, False)
    # [s, b, 2 h] to [s, 2, b, h]
    s, batch, _ = x.like.shape
    y = b.call(torch.reshape, y, (s, batch, 1 + both, attrs["hidden_size"]))
    return [b.call(torch.permute, y, (0, 2, 1, 3)), *last]


@op("LSTM")
def lstm(b, n, attrs, x, *_):
    return recurrent(b, n, attrs, x, (0, 2, 3, 1), torch.lstm, n.input[5:7])


@op("GRU")
def gru(b, n, attrs, x, *_):
    if not attrs.get("linear_before_reset", 0):
        raise NotImplementedError("a GRU that resets first")
    return recurrent(b, n, attrs, x, (1, 0, 2), torch.gru, n.input[5:6])
