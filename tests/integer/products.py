# SPDX-License-Identifier: Apache-2.0
"""Matrix products of integers."""
import numpy as np

from deck import SIGNS, Cases, wrapped
from model import requantized

ZEROS = ("none", "scalar", "each", "low", "high")
FILLS = (("random", "random"), ("random", "random"), ("ends", "ends"),
         ("high", "high"), ("low", "low"), ("high", "low"))
ROWS, COLUMNS = (1, 5, 14, 15, 37), (1, 7, 16, 33, 100)


class Choices:
    """What varies beside the dims, each kind as often as the others."""

    def __init__(self, m):
        self.signs, self.fill = m.deck(SIGNS), m.deck(FILLS)
        self.zero_a, self.zero_b = m.deck(ZEROS), m.deck(ZEROS)
        self.constant = m.deck((True, True, False))
        self.rows, self.columns = m.deck(ROWS), m.deck(COLUMNS)


def integer_product(m, ch, rows, k, columns, leading=()):
    (ta, tb), (fa, fb) = ch.signs(), ch.fill()
    a = m.numbers_of(ta, (*leading, rows, k), fa)
    b = m.numbers_of(tb, (k, columns), fb)
    form_a, form_b, is_constant = ch.zero_a(), ch.zero_b(), ch.constant()
    za, given_a = m.zero_of(ta, form_a if not leading else "scalar", rows)
    zb, given_b = m.zero_of(tb, form_b, columns)
    names = [m.input(a), m.given(b, is_constant)]
    if given_a is not None or given_b is not None:
        names.append(m.number(given_a if given_a is not None
                              else np.zeros((), ta)))
    if given_b is not None:
        names.append(m.number(given_b))
    m.call("MatMulInteger", names, [np.int32])
    za = za[:, None] if za.ndim else za
    m.case(f"{ta.__name__} {tb.__name__} {rows}x{k}x{columns} zero points "
           f"{form_a} {form_b}{' constant' * is_constant}",
           wrapped(np.matmul(a.astype(np.int64) - za,
                             b.astype(np.int64) - zb)))


def depths(full):
    """Every depth up to 67, which no group of products divides evenly."""
    sizes, part = list(range(1, 68)) * (3 if full else 1), 12
    for i in range(0, len(sizes), part):
        m = Cases(100 + i, symbolic=i // part % 2)
        ch = Choices(m)
        for k in sizes[i:i + part]:
            integer_product(m, ch, ch.rows(), k, ch.columns())
        yield f"depth_{i}", m


def edges(full):
    """Every edge of tiles with every edge of panels."""
    for i, rows in enumerate(ROWS * (2 if full else 1)):
        m = Cases(200 + i, symbolic=i % 2)
        m.is_short = True
        ch = Choices(m)
        for columns in COLUMNS:
            k = m.pick((24, 32, 35))
            integer_product(m, ch, rows, k, columns)
        integer_product(m, ch, rows, 20, 18, (2,))
        yield f"edge_{i}", m


def single(full):
    """A row, or a column, times matrices that the call brings, which are read
    where they are: several vectors of columns at once, and along the sum."""
    m = Cases(250)
    m.is_short = True
    for i, (k, n) in enumerate(((64, 64), (100, 128), (70, 150), (65, 256),
                                (130, 33), (200, 7))):
        ta, tb = SIGNS[i % 4]
        zb = m.whole(tb)
        for shape_a, shape_b in (((1, k), (k, n)), ((n, k), (k, 1)),
                                 ((3, 1, k), (3, k, n))):
            a, b = m.numbers_of(ta, shape_a), m.numbers_of(tb, shape_b)
            za = m.whole(ta)
            m.call("MatMulInteger", [m.input(a), m.input(b), m.constant(za),
                                     m.constant(zb)], [np.int32])
            m.case(f"{shape_a} by {shape_b}, {ta.__name__} {tb.__name__}",
                   wrapped(np.matmul(a.astype(np.int64) - int(za),
                                     b.astype(np.int64) - int(zb))))
    # A tile for ways that look for its instruction.
    a, b = m.numbers_of(np.uint8, (6, 32)), m.numbers_of(np.int8, (32, 16))
    m.call("MatMulInteger", [m.input(a), m.constant(b)], [np.int32])
    m.case("a tile", wrapped(a.astype(np.int64) @ b.astype(np.int64)))
    yield "single", m


def ends(full):
    """The largest products there are, of every pair of signs."""
    m = Cases(300)
    m.is_short = True
    for ta, tb in SIGNS:
        for fa in ("low", "high"):
            for fb in ("low", "high"):
                a = m.numbers_of(ta, (6, 64), fa)
                b = m.numbers_of(tb, (64, 17), fb)
                m.call("MatMulInteger", [m.input(a), m.constant(b)],
                       [np.int32])
                m.case(f"{ta.__name__} {fa} {tb.__name__} {fb}",
                       wrapped(a.astype(np.int64) @ b.astype(np.int64)))
    yield "ends", m


def long_sums(full):
    """More products than 32 bits hold: the sum wraps."""
    k = 66304
    m = Cases(400)
    m.is_short = True
    m.evaluated = full
    for i, (ta, tb) in enumerate(SIGNS):
        a = m.numbers_of(ta, (2, k), "low" if ta == np.int8 else "high")
        b = m.numbers_of(tb, (k, 3), "low" if tb == np.int8 else "high")
        a[1] = m.numbers_of(ta, k)
        za, zb = m.whole(ta), m.whole(tb, 3)
        m.call("MatMulInteger",
               [m.input(a), m.given(b, i % 2), m.constant(za),
                m.constant(zb)], [np.int32])
        m.case(f"{ta.__name__} {tb.__name__}, {k} products",
               wrapped((a.astype(np.int64) - int(za)) @
                       (b.astype(np.int64) - zb.astype(np.int64))))
    yield "long", m


def put_large(m, b, i):
    """Some of the largest weights: in the first and the last quad, at edges
    of panels, in both pairs of a quad, in all columns of one."""
    info = np.iinfo(b.dtype)
    low, high = info.min, info.max
    k, columns = b.shape
    edges = {0, min(7, columns - 1), min(8, columns - 1), columns - 1}
    for col in edges if k > 15 or i % 2 else ():
        first = m.pick(((high, high), (low, low), (low, high)))
        b[:2, col] = first[:min(2, k)]
        b[max(0, k - 2):, col] = m.pick((high, low))
    if k > 31:
        b[4:8, i % columns] = (high, high, low, low)
        b[8:10] = m.pick((high, low))
    if k > 63 and i % 2:
        b[20:24] = high
        b[27:29] = low


def chained(full):
    """Weights that mostly, but not all, let an instruction not saturate."""
    sizes, part = [*range(1, 68), 128, 260, 1024], 14
    for i in range(0, len(sizes), part):
        m = Cases(800 + i, symbolic=i // part % 2)
        m.is_short = True
        ch = Choices(m)
        for k in sizes[i:i + part]:
            (ta, tb), rows, columns = ch.signs(), ch.rows(), ch.columns()
            a = m.numbers_of(ta, (rows, k), m.pick(("random", "high", "low",
                                                    "ends")))
            b = m.numbers_of(tb, (k, columns), "near")
            put_large(m, b, k)
            za = m.whole(ta)
            # The middle of u8 is 128, as that of i8 is 0.
            zb = tb(128 if tb == np.uint8 else 0)
            m.call("MatMulInteger", [m.input(a), m.constant(b), m.number(za),
                                     m.number(zb)], [np.int32])
            m.case(f"{ta.__name__} {tb.__name__} {rows}x{k}x{columns}",
                   wrapped((a.astype(np.int64) - int(za)) @
                           (b.astype(np.int64) - int(zb))))
        yield f"chained_{i}", m
    k = 66304
    m = Cases(890)
    m.is_short, m.evaluated = True, full
    for i, (ta, tb) in enumerate(SIGNS):
        a = m.numbers_of(ta, (2, k), "low" if ta == np.int8 else "high")
        b = m.numbers_of(tb, (k, 9), "near")
        a[1] = m.numbers_of(ta, k)
        put_large(m, b, i)
        m.call("MatMulInteger", [m.input(a), m.constant(b)], [np.int32])
        m.case(f"{ta.__name__} {tb.__name__}, {k} products",
               wrapped(a.astype(np.int64) @ b.astype(np.int64)))
    yield "chained_long", m


def requantized_products(full):
    """QLinearMatMul, and the same between Q and DQ."""
    for i in range(6 if full else 2):
        m = Cases(500 + i, symbolic=i % 2)
        m.wrong_by_one = i % 2
        ch, types = Choices(m), m.deck((np.uint8, np.int8))
        for k in (1, 3, 16, 31, 64, 67):
            requantized_product(m, ch, types(), k, i % 2)
        yield "qdq_%d" % i if i % 2 else "qlinear_%d" % i, m


def requantized_product(m, ch, ty, k, is_qdq):
    (ta, tb), (fa, fb) = ch.signs(), ch.fill()
    rows, columns = ch.rows(), ch.columns()
    a = m.numbers_of(ta, (rows, k), fa)
    b = m.numbers_of(tb, (k, columns), fb)
    each = m.maybe()
    za, zy = m.whole(ta), m.whole(ty)
    zb = m.whole(tb, columns if each else ())
    sa, sb = m.scale(), m.scale(columns if each else ())
    sy = (m.scale((), 0.5, 5) * np.float32(8 * np.sqrt(k))).astype(
        np.float32)
    total = (a.astype(np.int64) - int(za)) @ \
        (b.astype(np.int64) - zb.astype(np.int64))
    scales = [m.constant(v) for v in (sa, sb, sy)]
    zeros = [m.constant(v) for v in (za, zb, zy)]
    x, w = m.input(a), m.constant(b)
    if is_qdq:
        x = m.inner("DequantizeLinear", [x, scales[0], zeros[0]])
        w = m.inner("DequantizeLinear", [w, scales[1], zeros[1]], axis=-1)
        y = m.inner("MatMul", [x, w])
        m.call("QuantizeLinear", [y, scales[2], zeros[2]], [ty])
    else:
        m.call("QLinearMatMul", [x, scales[0], zeros[0], w, scales[1],
                                 zeros[1], scales[2], zeros[2]], [ty])
    m.case(f"{ta.__name__} {tb.__name__} {rows}x{k}x{columns}",
           requantized(total, sa, sb, sy, zy, ty))


def models(full):
    for make in (depths, edges, single, ends, long_sums, chained,
                 requantized_products):
        yield from make(full)
