# SPDX-License-Identifier: Apache-2.0
"""Ops of integers and of places, for random graphs; their results are
exact."""
import numpy as np

from graphs import MOST_ELEMENTS, spread

# What ONNX Runtime has kernels for, by op.
WIDE = (np.int32, np.int64)
ANY = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32,
       np.int64, np.uint64)
BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")


def whole(g, dtypes):
    fit = [v for v in g.values if v.dtype.type in dtypes]
    return g.pick(fit) if fit else None


def integer(g):
    x = whole(g, WIDE)
    if x is None:
        return
    op = g.pick(("Add", "Sub", "Mul", "Max", "Min", "Div", "Mod", "Abs",
                 "Neg", "Sign", "Cast"))
    if op == "Cast":
        scaled = g.call("Cast", [x], x.shape, to=1 if g.single else 11)
        scaled = g.call("Mul", [scaled, g.scalar(0.125)], x.shape)
        g.call("Sin", [g.call("Tanh", [scaled], x.shape)], x.shape)
    elif op in ("Abs", "Neg", "Sign"):
        g.call(op, [x], x.shape, x.dtype)
    else:
        number = g.pick((1, 2, 3, 7, 16))
        if op == "Mod" and g.maybe():
            number = -number
        y = g.constant(np.array([number], x.dtype))
        g.call(op, [x, y], spread(x.shape, (1,)), x.dtype)


def width(g):
    """To a type of another width or sign; what does not fit wraps."""
    from onnx import helper

    x = whole(g, ANY)
    if x is None:
        return
    to = np.dtype(g.pick(ANY))
    g.call("Cast", [x], x.shape, to, to=helper.np_dtype_to_tensor_dtype(to))


def bits(g):
    x = whole(g, ANY)
    if x is None:
        return
    if g.maybe(0.2):
        g.call("BitwiseNot", [x], x.shape, x.dtype)
    elif x.dtype.type in (np.uint8, np.uint32, np.uint64) and g.maybe():
        by = g.constant(np.array(g.random.randint(0, 7), x.dtype))
        g.call("BitShift", [x, by], x.shape, x.dtype,
               direction=g.pick(("LEFT", "RIGHT")))
    else:
        y = g.constant(g.numbers.integers(0, 99, x.shape[-1:]).astype(
            x.dtype))
        g.call(g.pick(BITS), [x, y], x.shape, x.dtype)


def compare(g):
    x = whole(g, WIDE)
    if x is None:
        return
    y = g.constant(np.array(2, x.dtype))
    m = g.call(g.pick(("Less", "Greater", "Equal", "GreaterOrEqual")),
               [x, y], x.shape, np.bool_)
    n = g.call("Not", [m], x.shape, np.bool_)
    if g.maybe():
        g.call(g.pick(("And", "Or", "Xor")), [m, n], x.shape, np.bool_)


def scatter(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    if g.maybe():
        axis = g.axis(x)
        shape = [g.random.randint(1, d) for d in x.shape]
        # No place twice along the axis, so that the order does not matter.
        order = np.argsort(g.numbers.random(
            [x.shape[k] if k == axis else d for k, d in enumerate(shape)]),
            axis=axis)
        index = np.take(order, range(shape[axis]), axis)
        g.call("ScatterElements",
               [x, g.constant(index.astype(np.int64)), g.weight(shape)],
               x.shape, axis=axis, reduction=g.pick(("none", "add")))
        return
    depth = g.random.randint(1, x.rank)
    count = min(5, int(np.prod(x.shape[:depth])))
    places = g.numbers.permutation(int(np.prod(x.shape[:depth])))[:count]
    index = np.stack(np.unravel_index(places, x.shape[:depth]), -1)
    g.call("ScatterND", [x, g.constant(index.astype(np.int64)),
                         g.weight((count, *x.shape[depth:]))],
           x.shape, reduction=g.pick(("none", "add")))


def gather_nd(g):
    x = g.value(lambda v: v.rank >= 1)
    if x is None:
        return
    depth = g.random.randint(1, x.rank)
    index = np.stack([g.numbers.integers(-d, d, (3, 2))
                      for d in x.shape[:depth]], -1)
    shape = (3, 2, *x.shape[depth:])
    if np.prod(shape) <= MOST_ELEMENTS:
        g.call("GatherND", [x, g.constant(index.astype(np.int64))], shape)


def one_hot(g):
    x = whole(g, (np.int64,))
    if x is None or not g.single or x.size * 10 > MOST_ELEMENTS:
        return
    depth = g.constant(np.array(10, np.int64))
    g.call("OneHot", [x, depth, g.constant(np.array([0.25, 1], g.float))],
           (*x.shape, 10))


def looked_up(g):
    """A table indexed by numbers of the call, brought into its range."""
    x = whole(g, (np.int64,))
    if x is None or x.size * 8 > MOST_ELEMENTS:
        return
    rows = g.dim()
    x = g.call("Mod", [x, g.constant(np.array(rows, np.int64))], x.shape,
               np.int64)
    g.call("Gather", [g.weight((rows, 8)), x], (*x.shape, 8))
