# SPDX-License-Identifier: Apache-2.0
"""How random graphs grow: each function adds a node or a few, or nothing
where the graph has no operand for it."""
import numpy as np

from graphs import MOST_ELEMENTS, spread
from halves import half
from images import blocks, conv, conv_transpose, pool, resize
from integers import (bits, compare, gather_nd, integer, looked_up, one_hot,
                      scatter, width)

# Kernels that ONNX Runtime has for double too.
UNARY_BOTH = ("Relu", "Abs", "Neg", "Tanh", "Sigmoid", "Sin", "Cos", "Floor")
UNARY = ("Relu", "Abs", "Neg", "Tanh", "Sigmoid", "Erf", "Softplus", "Elu",
         "HardSigmoid", "HardSwish", "Gelu", "Sin", "Cos", "Softsign",
         "Mish", "Celu", "Selu", "LeakyRelu", "Identity", "Atan")


def unary(g):
    x = g.value()
    op = g.pick(UNARY if g.single else UNARY_BOTH)
    if op == "Floor" and not x.given:
        op = "Neg"
    more = {}
    if op in ("LeakyRelu", "Elu") and g.maybe():
        more["alpha"] = 0.3
    if op == "Gelu" and g.maybe():
        more["approximate"] = "tanh"
    g.call(op, [x], x.shape, **more)


def bounded(g):
    """Ops with a domain, kept inside it."""
    x = g.value()
    positive = g.call("Abs", [x], x.shape)
    positive = g.call("Add", [positive, g.scalar(0.5)], x.shape)
    op = g.pick(("Sqrt", "Log", "Reciprocal", "Pow", "Exp"))
    if op == "Pow":
        g.call(op, [positive, g.scalar(g.pick((0.5, 2, 3, -1, 1.5)))],
               x.shape)
    elif op == "Exp":
        g.call(op, [g.call("Neg", [positive], x.shape)], x.shape)
    else:
        g.call(op, [positive], x.shape)


def clip(g):
    x = g.value()
    low = g.scalar(-0.8) if g.maybe(0.8) else None
    high = g.scalar(0.9) if low is None or g.maybe(0.8) else None
    g.call("Clip", [x, low, high], x.shape)


def narrowed(g, shape):
    """A shape that broadcasts to this one."""
    dims = [1 if g.maybe(0.3) else d for d in shape]
    return dims[g.random.randint(0, len(dims)):] if g.maybe(0.3) else dims


def binary(g):
    x = g.value()
    y = g.value(lambda v: v is not x and spread(v.shape, x.shape) is not None)
    if y is None or g.maybe(0.3):
        y = g.weight(narrowed(g, x.shape))
    shape = spread(x.shape, y.shape)
    if g.maybe():
        x, y = y, x
    op = g.pick(("Add", "Sub", "Mul", "Max", "Min", "Div", "Mean", "Sum"))
    if op in ("Mean", "Sum") and not g.single:
        op = "Sub"
    if op == "Div":
        y = g.call("Abs", [y], y.shape)
        y = g.call("Add", [y, g.scalar(1.0)], y.shape)
    elif op in ("Max", "Min", "Mean", "Sum") and g.maybe(0.4):
        g.call(op, [x, y, g.weight(narrowed(g, shape))], shape)
        return
    z = g.call(op, [x, y], shape)
    if op == "Mul":
        g.call("Tanh", [z], shape)


def where(g):
    x = g.value()
    shape = narrowed(g, x.shape)
    whole = [v for v in g.values if v.dtype == np.int64
             and spread(v.shape, x.shape) is not None]
    if whole:
        k = g.pick(whole)
        mask = g.call(g.pick(("Greater", "LessOrEqual", "Equal")),
                      [k, g.ints(2)], spread(k.shape, (1,)), np.bool_)
    else:
        mask = g.constant(g.array(np.bool_, shape))
    if g.maybe(0.3):
        mask = g.call("Not", [mask], mask.shape, np.bool_)
    other = g.weight(narrowed(g, x.shape)) if g.maybe() else g.scalar(0.25)
    shape = spread(spread(x.shape, mask.shape), other.shape)
    g.call("Where", [mask, x, other] if g.maybe() else [mask, other, x],
           shape)


# ---- contractions

def matmul(g):
    x = g.value()
    if x.shape[-1:] == () or x.rank == 0:
        return
    k = x.shape[-1]
    y = g.value(lambda v: v.rank >= 2 and v.shape[-2] == k
                and product_shape(x.shape, v.shape) is not None)
    if y is None or g.maybe(0.6):
        n = g.dim()
        batch = x.shape[:-2] if x.rank > 2 and g.maybe(0.3) else ()
        if np.prod(batch, dtype=np.int64) * k * n > 4 * MOST_ELEMENTS:
            batch = ()
        if g.maybe(0.1):
            y = g.weight((k,), k ** -0.5)
        else:
            y = g.weight((*batch, k, n), k ** -0.5)
    shape = product_shape(x.shape, y.shape)
    if shape is None:
        return
    z = g.call("MatMul", [x, y], shape)
    finish(g, z, y.given)


def product_shape(a, b):
    if len(a) == 1 or len(b) == 1:
        shape = (*a[:-1], *b[:-2], *(b[-1:] if len(b) > 1 else ()))
        if len(a) == 1 and len(b) == 1:
            shape = ()
    else:
        batch = spread(a[:-2], b[:-2])
        if batch is None:
            return None
        shape = (*batch, a[-2], b[-1])
    small = np.prod(shape, dtype=np.int64) <= MOST_ELEMENTS
    return shape if small else None


def finish(g, z, scaled=True):
    """What networks put behind a contraction, which fuses with it."""
    if not scaled:
        z = g.call("Tanh", [z], z.shape)
    if z.rank and g.maybe():
        z = g.call("Add", [z, g.weight(z.shape[-1:], 0.5)], z.shape)
    if g.maybe(0.4):
        z = g.call(g.pick(("Relu", "Sigmoid", "Tanh")), [z], z.shape)
    other = g.value(lambda v: v.shape == z.shape and v is not z)
    if other is not None and g.maybe():
        g.call("Add", [z, other], z.shape)


def large(g):
    """Beyond one block of every tiling: many panels, many rows or long
    sums."""
    m, k, n = g.pick(((257, 64, 130), (33, 400, 70), (1, 520, 600),
                      (100, 3, 500), (130, 129, 65)))
    m += g.random.randint(-3, 3) if m > 1 else 0
    k += g.random.randint(-3, 3) if k > 3 else 0
    n += g.random.randint(-3, 3)
    x = g.input(g.float, (m, k))
    y = g.weight((k, n), k ** -0.5) if g.maybe(0.7) else \
        g.input(g.float, (k, n))
    z = g.call("MatMul", [x, y], (m, n))
    z = z if y.name not in g.feeds else \
        g.call("Mul", [z, g.scalar(k ** -0.5)], (m, n))
    if g.maybe():
        z = g.call("Add", [z, g.weight((n,))], (m, n))
    if g.maybe():
        g.call("Relu", [z], (m, n))


def gemm(g):
    x = g.value(lambda v: v.rank == 2)
    if x is None:
        return
    turn, flip = int(g.maybe(0.3)), int(g.maybe())
    m, k = x.shape[::-1] if turn else x.shape
    n = g.dim()
    w = g.weight((n, k) if flip else (k, n), k ** -0.5)
    if m * n > MOST_ELEMENTS:
        return
    more = [g.weight(g.pick(((n,), (1, n), (m, 1), (m, n), ())))] \
        if g.maybe(0.7) else []
    attributes = {"transA": turn, "transB": flip}
    if g.maybe(0.3):
        attributes.update(alpha=0.5, beta=1.5)
    finish(g, g.call("Gemm", [x, w, *more], (m, n), **attributes))


def attention(g):
    """Heads times keys, softmax, times values."""
    heads, length, other, size = (g.dim(3), g.dim(33), g.dim(33), g.dim(33))
    q = g.input(g.float, (heads, length, size))
    k = g.input(g.float, (heads, other, size))
    if g.maybe():
        kt = g.call("Transpose", [k], (heads, size, other), perm=[0, 2, 1])
    else:
        kt = g.input(g.float, (heads, size, other))
    s = g.call("MatMul", [q, kt], (heads, length, other))
    s = g.call("Mul", [s, g.scalar(size ** -0.5)], s.shape)
    if g.maybe():
        s = g.call("Add", [s, g.weight((length, other))], s.shape)
    p = g.call("Softmax", [s], s.shape, axis=-1)
    z = g.call("MatMul", [p, k], (heads, length, size))
    if g.maybe():
        z = g.call("Transpose", [z], (length, heads, size), perm=[1, 0, 2])
        g.reshape(z, (length, heads * size))


def einsum(g):
    x = g.value(lambda v: v.rank == 3)
    if x is None:
        return
    b, i, k = x.shape
    j = g.dim(17)
    if b * i * j > MOST_ELEMENTS:
        return
    text, other, shape = g.pick((
        ("bik,kj->bij", (k, j), (b, i, j)),
        ("bik,bjk->bij", (b, j, k), (b, i, j)),
        ("bik,jk->jbi", (j, k), (j, b, i)),
        ("bik,bi->bk", (b, i), (b, k)),
        ("bik,k->ib", (k,), (i, b))))
    g.call("Einsum", [x, g.weight(other, k ** -0.5)], shape, equation=text)


# ---- reductions

def reduce(g):
    x = g.value()
    if not x.rank:
        return
    op = g.pick(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin",
                 "ReduceL1", "ReduceL2", "ReduceSumSquare",
                 "ReduceLogSumExp"))
    axes = sorted(g.random.sample(range(x.rank), g.random.randint(1, x.rank)))
    keep = g.maybe()
    shape = [1 if k in axes else d for k, d in enumerate(x.shape)
             if keep or k not in axes]
    inputs = [x]
    if len(axes) < x.rank or g.maybe():
        inputs.append(g.ints(*[g.signed(a, x.rank) for a in axes]))
    z = g.call(op, inputs, shape, keepdims=int(keep))
    if op in ("ReduceSum", "ReduceL1", "ReduceSumSquare"):
        g.call("Mul", [z, g.scalar(z.size / x.size)], shape)


def normalize(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    op = g.pick(("Softmax", "LogSoftmax", "LayerNormalization", "spelled",
                 "InstanceNormalization", "BatchNormalization",
                 "LpNormalization", "MeanVarianceNormalization", "LRN"))
    if op in ("Softmax", "LogSoftmax"):
        g.call(op, [x], x.shape, axis=g.signed(g.axis(x), x.rank))
    elif op == "LayerNormalization":
        axis = g.axis(x)
        tail = x.shape[axis:]
        more = [g.weight(tail)] if g.maybe() else []
        g.call(op, [x, g.weight(tail), *more], x.shape,
               axis=g.signed(axis, x.rank), epsilon=1e-3)
    elif op == "LpNormalization":
        g.call(op, [x], x.shape, axis=g.axis(x), p=g.pick((1, 2)))
    elif op == "MeanVarianceNormalization":
        if g.single and x.rank == 4:
            g.call(op, [x], x.shape, axes=[0, 2, 3])
    elif op == "LRN":
        if g.single and x.rank == 4:
            g.call(op, [x], x.shape, size=3, alpha=0.1, beta=0.75)
    elif op == "spelled":
        # As exporters wrote it before the op.
        few = (*x.shape[:-1], 1)
        mean = g.call("ReduceMean", [x, g.ints(-1)], few)
        d = g.call("Sub", [x, mean], x.shape)
        s = g.call("Pow", [d, g.scalar(2)], x.shape)
        s = g.call("ReduceMean", [s, g.ints(-1)], few)
        s = g.call("Add", [s, g.scalar(1e-3)], few)
        s = g.call("Sqrt", [s], few)
        g.call("Div", [d, s], x.shape)
    elif x.rank >= 3 and g.single:
        c = x.shape[1]
        parts = [g.weight((c,)), g.weight((c,))]
        if op == "BatchNormalization":
            parts += [g.weight((c,)),
                      g.constant(np.abs(g.array(g.float, (c,))) +
                                 g.float(0.5))]
        g.call(op, [x, *parts], x.shape, epsilon=1e-3)


def running(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    axis = g.axis(x)
    z = g.call("CumSum", [x, g.constant(np.array(axis, np.int64))], x.shape,
               exclusive=int(g.maybe(0.3)), reverse=int(g.maybe(0.3)))
    g.call("Mul", [z, g.scalar(x.shape[axis] ** -0.5)], x.shape)


def chosen(g):
    """ArgMax or TopK of an input, whose elements differ."""
    x = g.value(lambda v: v.given and v.rank >= 1)
    if x is None:
        return
    axis = g.axis(x)
    if g.maybe():
        shape = list(x.shape)
        shape[axis] = 1
        g.call(g.pick(("ArgMax", "ArgMin")), [x], shape, np.int64,
               axis=g.signed(axis, x.rank))
        return
    shape = list(x.shape)
    shape[axis] = g.random.randint(1, x.shape[axis])
    g.call("TopK", [x, g.ints(shape[axis])], shape, outputs=2,
           axis=g.signed(axis, x.rank), largest=int(g.maybe()))


# ---- moves

def transpose(g):
    x = g.value(lambda v: v.rank >= 2)
    if x is None:
        return
    perm = list(range(x.rank))
    g.random.shuffle(perm)
    g.call("Transpose", [x], [x.shape[p] for p in perm], perm=perm)


def reshape(g):
    x = g.value()
    if not x.rank:
        return
    way = g.random.randrange(4)
    if way == 0:
        axis = g.random.randint(0, x.rank)
        shape = (np.prod(x.shape[:axis], dtype=np.int64),
                 np.prod(x.shape[axis:], dtype=np.int64))
        g.call("Flatten", [x], shape, axis=axis)
    elif way == 1 and x.rank >= 2:
        # Merges two dims that follow each other.
        k = g.random.randrange(x.rank - 1)
        shape = [*x.shape[:k], x.shape[k] * x.shape[k + 1], *x.shape[k + 2:]]
        asked = [0 if j < k and g.maybe() else d
                 for j, d in enumerate(shape)]
        asked[k] = -1
        g.call("Reshape", [x, g.ints(*asked)], shape)
    elif way == 2:
        # The first dim as exporters ask for it.
        dims = g.call("Shape", [x], (x.rank,), np.int64)
        first = g.call("Slice", [dims, g.ints(0), g.ints(1)], (1,), np.int64)
        asked = g.call("Concat", [first, g.ints(-1)], (2,), np.int64, axis=0)
        g.call("Reshape", [x, asked], (x.shape[0], x.size // x.shape[0]))
    else:
        for d in (2, 3, 5):
            fit = [k for k, n in enumerate(x.shape) if n % d == 0]
            if fit and x.rank < 5:
                k = g.pick(fit)
                shape = [*x.shape[:k], d, x.shape[k] // d, *x.shape[k + 1:]]
                g.reshape(x, shape)
                return


def squeeze(g):
    x = g.value()
    ones = [k for k, d in enumerate(x.shape) if d == 1]
    if ones and g.maybe():
        k = g.pick(ones)
        g.call("Squeeze", [x, g.ints(g.signed(k, x.rank))],
               [*x.shape[:k], *x.shape[k + 1:]])
    elif x.rank < 5:
        k = g.random.randint(0, x.rank)
        g.call("Unsqueeze", [x, g.ints(g.signed(k, x.rank + 1))],
               [*x.shape[:k], 1, *x.shape[k:]])


def concat(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    axis = g.axis(x)

    def fits(v):
        return v.rank == x.rank and all(
            a == b or k == axis
            for k, (a, b) in enumerate(zip(v.shape, x.shape)))

    parts = [x]
    for _ in range(g.random.randint(1, 2)):
        y = g.value(fits)
        if g.maybe(0.3):
            shape = list(x.shape)
            shape[axis] = g.dim(7)
            y = g.weight(shape)
        parts.append(y)
    g.random.shuffle(parts)
    shape = list(x.shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    if np.prod(shape) <= MOST_ELEMENTS:
        g.call("Concat", parts, shape, axis=g.signed(axis, x.rank))


def split(g):
    x = g.value(lambda v: v.rank and max(v.shape) > 2)
    if x is None:
        return
    axis = int(np.argmax(x.shape))
    first = g.random.randrange(1, x.shape[axis])
    shape = list(x.shape)
    shape[axis] = first
    g.call("Split", [x, g.ints(first, x.shape[axis] - first)], shape,
           outputs=2, axis=axis)


def cut(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    axis = g.axis(x)
    d = x.shape[axis]
    step = g.pick((1, 1, 2, 3, -1, -2))
    first, last = sorted((g.random.randint(0, d), g.random.randint(0, d)))
    if first == last:
        first, last = 0, d
    begin, end = (first, last) if step > 0 else (last - 1, first - 1)
    size = len(range(begin, end, step))
    if step > 0 and g.maybe(0.3):
        begin, end = begin - d, end - d or 1 << 40
    elif step < 0:
        end = end if end >= 0 else -(1 << 40)
    shape = list(x.shape)
    shape[axis] = size
    g.call("Slice", [x, g.ints(begin), g.ints(end),
                     g.ints(g.signed(axis, x.rank)), g.ints(step)], shape)


def pad(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    how = g.pick(("constant", "constant", "edge", "reflect", "wrap"))
    most = [2 if how == "constant" else min(2, d - 1) for d in x.shape]
    begin = [g.random.randint(0, m) for m in most]
    end = [g.random.randint(0, m) for m in most]
    shape = [d + b + e for d, b, e in zip(x.shape, begin, end)]
    if np.prod(shape) > MOST_ELEMENTS:
        return
    more = [g.scalar(0.5)] if how == "constant" and g.maybe() else []
    g.call("Pad", [x, g.ints(*begin, *end), *more], shape, mode=how)


def gather(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    axis = g.axis(x)
    d = x.shape[axis]
    if g.maybe(0.7):
        index = g.numbers.integers(-d, d, g.shape(g.random.randint(0, 2), 30))
        shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1:])
        op = "Gather"
    else:
        shape = list(x.shape)
        shape[axis] = g.dim(7)
        index = g.numbers.integers(-d, d, shape)
        op = "GatherElements"
    if np.prod(shape) <= MOST_ELEMENTS:
        g.call(op, [x, g.constant(np.asarray(index, np.int64))], shape,
               axis=g.signed(axis, x.rank))


def quantize(g):
    """To 8 bits and back, of an input: what rounds is known exactly."""
    x = g.value(lambda v: v.given and v.rank >= 1)
    if x is None or not g.single:
        return
    axis = g.axis(x)
    kind = g.pick((np.uint8, np.int8))
    dims = () if g.maybe() else (x.shape[axis],)
    scale = g.constant(np.asarray(
        g.numbers.uniform(0.01, 0.1, dims), np.float32))
    zero = g.constant(np.asarray(g.numbers.integers(0, 99, dims), kind))
    more = {"axis": axis} if dims else {}
    q = g.call("QuantizeLinear", [x, scale, zero], x.shape, kind, **more)
    g.call("DequantizeLinear", [q, scale, zero], x.shape, **more)


def repeat(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    if g.maybe():
        times = [g.pick((1, 1, 2, 3)) for _ in x.shape]
        shape = [d * t for d, t in zip(x.shape, times)]
        if np.prod(shape) <= MOST_ELEMENTS:
            g.call("Tile", [x, g.ints(*times)], shape)
        return
    shape = [g.dim(8) if d == 1 else d for d in x.shape]
    if g.maybe():
        shape = [2, *shape]
    if np.prod(shape) <= MOST_ELEMENTS:
        g.call("Expand", [x, g.ints(*shape)], shape)


def triangle(g):
    x = g.value(lambda v: v.rank >= 2)
    if x is not None:
        g.call("Trilu", [x, g.constant(np.array(g.random.randint(-3, 3),
                                                np.int64))],
               x.shape, upper=int(g.maybe()))


CHOICES = [
    (f.__name__, weight, f) for weight, f in (
        (12, unary), (5, bounded), (3, clip), (14, binary), (5, where),
        (6, integer), (14, matmul), (5, large), (8, gemm), (3, attention),
        (3, einsum), (10, conv), (3, conv_transpose), (4, pool),
        (10, reduce), (10, normalize), (2, running), (3, chosen),
        (7, transpose), (7, reshape), (3, squeeze), (5, concat), (3, split),
        (5, cut), (4, pad), (4, gather), (2, quantize), (3, repeat),
        (2, blocks), (2, triangle), (3, width), (3, bits), (3, compare),
        (3, scatter), (2, gather_nd), (2, one_hot), (3, looked_up),
        (3, resize), (3, half))
]
