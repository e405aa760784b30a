# SPDX-License-Identifier: Apache-2.0
"""Products with ragged edges, against numpy in f64 and i64."""
import itertools

import ml_dtypes
import numpy as np
from onnx import helper, numpy_helper

import nvrtc
import objects
from rig import expect, kernels, make_model, tensor

RAGGED = (1, 7, 12, 31, 33, 64, 65, 100, 129, 257)
# Rows, columns and sums: each size on each side, then large ones together.
TRIPLES = [(RAGGED[i], RAGGED[(3 * i + 1) % 10], RAGGED[(7 * i + 4) % 10])
           for i in range(10)] + [(257, 129, 65), (65, 257, 129),
                                  (129, 65, 257), (64, 64, 64)]
FLOATS = {"tf32": np.float32, "tf32x3": np.float32,
          "f32": np.float32, "f64": np.float64, "f16": np.float16,
          "bf16": ml_dtypes.bfloat16}
# Half an ulp of the result, and of what sums it up.
ROUNDING = {"tf32": (2**-24, 2**-13), "tf32x3": (2**-24, 2**-23),
            "f32": (2**-24, 2**-24), "f64": (2**-53, 2**-53),
            "f16": (2**-11, 2**-24), "bf16": (2**-8, 2**-24)}


# ---- references

def conv(x, w, b=None, strides=None, pads=None, dilations=None, group=1):
    n = w.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = pads or [0] * 2 * n
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])])
    size = [(x.shape[2 + i] - (w.shape[2 + i] - 1) * dilations[i] - 1) //
            strides[i] + 1 for i in range(n)]
    c = w.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *size), x.dtype)
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = tuple(slice(t * d, t * d + (s - 1) * st + 1, st)
                   for t, d, s, st in zip(tap, dilations, size, strides))
        for m in range(w.shape[0]):
            g = m // (w.shape[0] // group)
            part = x[(slice(None), slice(g * c, (g + 1) * c), *at)]
            y[:, m] += np.tensordot(part, w[(m, slice(None), *tap)],
                                    ([1], [0]))
    return y if b is None else y + b.reshape(-1, *[1] * n)


def conv_transpose(x, w, b=None, strides=None, pads=None, dilations=None,
                   group=1):
    n = w.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = pads or [0] * 2 * n
    size = [(x.shape[2 + i] - 1) * strides[i] +
            (w.shape[2 + i] - 1) * dilations[i] + 1 for i in range(n)]
    c = x.shape[1] // group
    y = np.zeros((x.shape[0], w.shape[1] * group, *size), x.dtype)
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = tuple(slice(t * d, t * d + (s - 1) * st + 1, st) for t, d, s, st
                   in zip(tap, dilations, x.shape[2:], strides))
        for m in range(y.shape[1]):
            g = m // w.shape[1]
            y[(slice(None), m, *at)] += np.tensordot(
                x[:, g * c:(g + 1) * c],
                w[(slice(g * c, (g + 1) * c), m % w.shape[1], *tap)],
                ([1], [0]))
    y = y[(slice(None), slice(None), *[
        slice(a, s - e) for a, e, s in zip(pads[:n], pads[n:], size)])]
    return y if b is None else y + b.reshape(-1, *[1] * n)


def gemm(a, b, c=0, alpha=1.0, beta=1.0, transA=0, transB=0):
    return alpha * ((a.T if transA else a) @ (b.T if transB else b)) + \
        beta * c


def einsum(*factors, equation):
    return np.einsum(equation, *factors)


REFERENCE = {"MatMul": np.matmul, "Gemm": gemm, "Conv": conv,
             "ConvTranspose": conv_transpose, "Einsum": einsum}


# ---- models

class Deck:
    """Nodes side by side in a model; constants where `const` says so."""

    def __init__(self, kind, seed):
        self.kind = kind
        self.rng = np.random.default_rng(seed)
        self.nodes, self.inputs, self.results = [], [], []
        self.weights, self.feeds = [], {}
        self.wanted, self.bounds, self.said = [], [], []

    def give(self, a, const=False, shape=None):
        name = f"x{len(self.inputs) + len(self.weights)}"
        if const:
            self.weights.append(numpy_helper.from_array(a, name))
        else:
            self.inputs.append(tensor(name, a.dtype, shape or a.shape))
            self.feeds[name] = a
        return name

    def node(self, op, names, want, bound, said, shape=None, **attrs):
        out = f"y{len(self.results)}"
        self.nodes.append(helper.make_node(op, names, [out], **attrs))
        self.results.append(tensor(out, want.dtype, shape or want.shape))
        self.wanted.append(want)
        self.bounds.append(bound)
        self.said.append(said)

    def floats(self, op, shapes, const=(), **attrs):
        """A node on random operands of these shapes."""
        dtype = FLOATS[self.kind]
        held = [self.rng.standard_normal(s).astype(dtype) for s in shapes]
        names = [self.give(a, i in const) for i, a in enumerate(held)]
        want, bound = reference(op, held, self.kind, **attrs)
        self.node(op, names, want, bound, f"{op} {shapes} {attrs}", **attrs)

    def model(self):
        return make_model(self.nodes, self.inputs, self.results,
                          self.weights)

    def check(self, _, wanted, got):
        return differs(wanted, got, self.bounds, self.said)


def reference(op, held, kind, **attrs):
    """The result and how far from it one may be: what rounding each product
    and the result can do."""
    wide = [a.astype(np.float64) for a in held]
    far = {k: abs(v) if k in ("alpha", "beta") else v
           for k, v in attrs.items()}
    want = REFERENCE[op](*wide, **attrs)
    most = REFERENCE[op](*map(np.abs, wide), **far)
    last, each = ROUNDING[kind]
    least = 2**-24 if kind == "f16" else 0      # subnormal numbers
    return want.astype(FLOATS[kind]), \
        (1.01 * last * np.abs(want) + 8 * each * most + least, want)


def differs(wanted, got, bounds, said):
    for want, have, bound, text in zip(wanted, got, bounds, said):
        if bound is None:
            why = objects.compare([want], [have], 0, 0)
            if why:
                return f"{text}: {why}"
            continue
        most, exact = bound
        off = np.abs(have.astype(np.float64) - exact)
        bad = ~(off <= most)
        if np.any(bad):
            at = np.unravel_index(np.argmax(bad), bad.shape)
            return f"{text}: {np.count_nonzero(bad)} of {bad.size} are " \
                f"wrong, {list(map(int, at))}: {have[at]}, not {exact[at]}"
    return None


# ---- floats

def matrices(d):
    for m, n, k in TRIPLES:
        d.floats("MatMul", [(m, k), (k, n)], const={1} if m % 2 else ())
    for (b, m, n, k) in ((3, 33, 65, 31), (2, 100, 12, 64), (5, 1, 33, 65)):
        d.floats("MatMul", [(b, m, k), (b, k, n)])
    d.floats("MatMul", [(2, 3, 17, 40), (40, 50)])
    d.floats("MatMul", [(1, 3, 17, 40), (2, 1, 40, 50)])


def gemms(d):
    for i, (m, n, k) in enumerate(((33, 65, 31), (64, 100, 129), (7, 257, 33),
                                   (129, 12, 100))):
        for a, b in itertools.product((0, 1), (0, 1)):
            d.floats("Gemm", [(k, m) if a else (m, k), (n, k) if b else
                              (k, n), [(n,), (m, 1), (1,), (m, n)][i]],
                     const={1, 2} if a else (), transA=a, transB=b,
                     alpha=0.5 if b else 1.0, beta=2.0 if i % 2 else 1.0)


def images(d):
    one = dict(kernel_shape=[5], strides=[2], pads=[3, 1], dilations=[2])
    plain = {k: v for k, v in one.items() if k != "kernel_shape"}
    rows = [
        ([(3, 6, 41), (33, 6, 5), (33,)], plain),
        ([(2, 5, 19, 23), (33, 5, 3, 3), (33,)], dict(pads=[1, 1, 1, 1])),
        ([(1, 17, 20, 13), (40, 17, 3, 3)],
         dict(strides=[2, 1], pads=[0, 2, 1, 0])),
        ([(2, 24, 15, 15), (39, 8, 3, 3), (39,)],
         dict(group=3, dilations=[2, 2], pads=[2, 2, 2, 2])),
        ([(1, 12, 14, 14), (12, 1, 5, 5)], dict(group=12, pads=[2] * 4)),
        ([(2, 65, 9, 9), (100, 65, 1, 1), (100,)], {}),
        ([(1, 3, 65, 65), (20, 3, 7, 7), (20,)],
         dict(strides=[2, 2], pads=[3, 3, 3, 3])),
    ]
    for i, (shapes, attrs) in enumerate(rows):
        d.floats("Conv", shapes, const={1, 2} if i % 2 else (), **attrs)
    d.floats("ConvTranspose", [(2, 13, 9, 11), (13, 15, 3, 3), (15,)],
             strides=[2, 2], pads=[1, 0, 1, 2])
    d.floats("ConvTranspose", [(1, 12, 21), (12, 8, 4), (16,)], const={1},
             strides=[3], group=2, dilations=[2], pads=[1, 2])
    d.floats("ConvTranspose", [(2, 33, 8, 8), (33, 17, 2, 2)],
             strides=[2, 2])


def sums(d):
    for equation, shapes in (
            ("bij,bjk->bik", [(2, 33, 31), (2, 31, 40)]),
            ("bhid,bhjd->bhij", [(2, 3, 33, 20), (2, 3, 35, 20)]),
            ("bihd,bjhd->bhij", [(2, 19, 3, 33), (2, 18, 3, 33)]),
            ("ij,kj->ki", [(65, 12), (33, 12)]),
            ("aij,jbk->aibk", [(3, 7, 100), (100, 5, 12)])):
        d.floats("Einsum", shapes, equation=equation)


def few_rows(d):
    """Rows that share each weight: along k, which is turned or odd, and along
    n of a matrix of the run."""
    for m in range(1, 12):
        n, k = (40, 33, 128, 77)[m % 4], (128, 333, 96, 512)[m * 3 % 4]
        d.floats("MatMul", [(m, k), (k, n)], const={1} if m % 3 else ())
        if m % 2:
            d.floats("Gemm", [(m, k), (n, k), (n,)], transB=1,
                     const={1, 2} if m % 3 else {2})
    d.floats("MatMul", [(200, 96), (96, 3)], const={1})
    d.floats("MatMul", [(3, 2, 64), (3, 64, 50)])
    d.floats("MatMul", [(3, 5, 70), (3, 70, 9)], const={1})
    d.floats("Conv", [(1, 40, 3, 3), (70, 40, 3, 3), (70,)], const={1, 2})


def long_sums(d):
    """Sums that are cut in parts, where that does not come out even."""
    for m, n, k in ((33, 20, 2100), (12, 65, 1537), (2, 50, 3001),
                    (1, 3, 9000), (5, 7, 4097)):
        d.floats("MatMul", [(m, k), (k, n)], const={1} if m % 2 else ())
    d.floats("Conv", [(1, 130, 5, 5), (40, 130, 3, 3), (40,)],
             pads=[1, 1, 1, 1], const={1, 2})
    # A window's rows are cut.
    d.floats("Conv", [(1, 3, 64, 64), (20, 3, 32, 32)], strides=[32, 32],
             const={1})
    d.floats("Conv", [(1, 2, 57, 57), (13, 2, 19, 19)], strides=[9, 9])
    d.floats("Einsum", [(2, 13, 1100), (2, 14, 1100)],
             equation="bik,bjk->bij")


def static(rig, kind, part, number, arch="sm_80"):
    d = Deck(kind, number)
    part(d)
    name = f"{part.__name__}_{kind}_{arch}"
    options = ["--fp32=" + kind] if kind.startswith("tf32") else []
    lib = rig.library(d.model(), name, arch, options)
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check,
                 ("forward", "random:3"))
    return f"{len(d.nodes)} nodes"


# Equal numbers are equal symbols.
SYMBOLIC = {
    "matmul": ("MatMul", [("M", "K"), ("K", "N")], {}),
    "batched": ("MatMul", [("B", "M", "K"), ("B", "K", "N")], {}),
    "gemm": ("Gemm", [("K", "M"), ("N", "K"), ("N",)],
             dict(transA=1, transB=1)),
    "rows": ("MatMul", [("M", 65), (65, 100)], {}),
    "columns": ("MatMul", [(33, 40), (40, "N")], {}),
    "sum": ("MatMul", [(33, "K"), ("K", 65)], {}),
    "conv": ("Conv", [("B", 7, "M", "N"), (33, 7, 3, 3), (33,)],
             dict(pads=[1, 1, 1, 1], strides=[1, 2])),
}


def result_shape(op, shapes):
    if op == "Conv":
        return (*shapes[0][:1], shapes[1][0], "h", "w")
    if op == "Gemm":
        return (shapes[0][1], shapes[1][0])
    return (*shapes[0][:-1], shapes[1][-1])


def copies(d):
    """Both factors along k, of which there are several steps."""
    for shapes in ([(33, 136), (70, 136)], [(129, 328), (65, 328)],
                   [(64, 64), (12, 64)]):
        d.floats("Gemm", shapes, transB=1)


def columns(d):
    """Factors whose neighbours are not those in k: one of them, both; tiles
    of 64 and of 128."""
    for batch, m, n, k in ((10, 136, 136, 72), (40, 72, 136, 200)):
        d.floats("Einsum", [(batch, k, m), (batch, k, n)],
                 equation="bki,bkj->bij")
    d.floats("MatMul", [(10, 130, 136), (10, 136, 136)])
    d.floats("Einsum", [(12, 136, 72), (12, 130, 136)],
             equation="bki,bjk->bij")


def large(d):
    """Enough of the largest tiles: those of wgmma on sm_90a."""
    d.floats("Einsum", [(36, 130, 136), (36, 140, 136)],
             equation="bik,bjk->bij")


# Tiles of 64 by 64, in more than twice the steps that sm_90a has stages for,
# and of 128 by 256; of a symbolic batch, which is guessed larger.
SMALL, WIDE = (260, 196, 1160), (1300, 700, 328)
# The same with whole vectors of rows.
COLUMNS, WIDE_COLUMNS = (264, 200, 1160), (1304, 712, 328)


def boxed(kind, batch, sizes=SMALL, a="ik", b="jk"):
    d = Deck(kind, 11)
    size, equation = dict(zip("ijk", sizes)), f"b{a},b{b}->bij"
    held = [d.rng.standard_normal((batch, *(size[x] for x in of)))
            .astype(FLOATS[kind]) for of in (a, b)]
    want, bound = reference("Einsum", held, kind, equation=equation)
    names = [d.give(x, shape=("B", *x.shape[1:])) for x in held]
    d.node("Einsum", names, want, bound, f"{batch} {sizes}",
           ("B", *sizes[:2]), equation=equation)
    return d


def boxed_bytes(a_type, b_type):
    d = Deck(None, 12)
    m, n, k = 260, 196, 1168
    a, b = (d.rng.integers(np.iinfo(t).min, np.iinfo(t).max + 1,
                           (1, s, k)).astype(t)
            for s, t in ((m, a_type), (n, b_type)))
    names = [d.give(x, shape=("B", *x.shape[1:])) for x in (a, b)]
    d.nodes.append(helper.make_node("Transpose", names[1:], ["turned"],
                                    perm=[0, 2, 1]))
    d.node("MatMulInteger", [names[0], "turned"], np.einsum(
        "bik,bjk->bij", *(x.astype(np.int64) for x in (a, b))).astype("i4"),
        None, f"MatMulInteger {m} {n} {k}", ("B", m, n))
    return d


def boxes(rig, name, decks):
    """By boxes of tensors, and where the driver makes no maps of them."""
    arch = "sm_90a"
    model = decks[0].model()
    head, found = kernels(rig.cuda(model, name, arch))
    expect(any("dl_copy_box(" in text for text in found.values()),
           "no kernel copies boxes")
    lib = rig.library(model, name, arch)
    sets = [(d.feeds, d.wanted) for d in decks]
    check = lambda i, want, got: decks[i].check(0, want, got)
    rig.all_ways(lib, sets, check, ("forward", "random:3"))
    rig.all_ways(lib, sets[:1], check, ("random:5",), DLCC_EMU_MAPS="0")
    # The stand-in takes the PTX for sm_80, which has no such kernels.
    lib = rig.library(model, name + "_both", "sm_80," + arch)
    rig.all_ways(lib, sets[:1], check, ("forward",))


def wide(rig, kind):
    """The kernels with indices of 64 bits, in the place of those of 32 bits
    that small tensors get."""
    d = Deck(kind, 8)
    shapes = ("M", "K"), ("K", "N")
    held = [d.rng.standard_normal(s).astype(FLOATS[kind])
            for s in ((65, 33), (33, 100))]
    want, bound = reference("MatMul", held, kind)
    for a, s in zip(held, shapes):
        d.give(a, shape=s)
    d.node("MatMul", list(d.feeds), want, bound, "MatMul", ("M", "N"))
    lib = rig.library(d.model(), "wide_" + kind)
    head, found = kernels(rig.cuda(d.model(), "wide_" + kind))
    expect(len(found) == 2 and ("i64 p =" in found["k0"]) !=
           ("i64 p =" in found["k1"]), f"kernels {sorted(found)}")
    text = head + found["k0"].replace("\nk0(", "\nk1(") + \
        found["k1"].replace("\nk1(", "\nk0(")
    path = rig.path(f"wide_{kind}.ptx")
    with open(path, "wb") as f:
        f.write(nvrtc.compile(nvrtc.load(), text, "compute_80",
                              ("--std=c++17", "--fmad=false")).rstrip(b"\0"))
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check,
                 ("forward", "random:3"), DLCC_EMU_PTX=path)


def symbolic(rig, kind, full):
    """Each form in one model; its dims change from call to call."""
    forms = SYMBOLIC if full else \
        {k: SYMBOLIC[k] for k in ("matmul", "gemm", "batched", "conv")}
    n_calls = 0
    for form, (op, shapes, attrs) in forms.items():
        d = Deck(kind, 9)
        sets, bounds = [], []
        triples = TRIPLES if op == "MatMul" and form != "batched" else \
            [(33, 12, 65), (7, 31, 100), (65, 33, 8), (1, 100, 7)]
        for m, n, k in triples:
            known = {"M": m, "N": n, "K": k, "B": m % 3 + 1}
            held = [d.rng.standard_normal(
                [known.get(x, x) for x in s]).astype(FLOATS[kind])
                for s in shapes]
            want, bound = reference(op, held, kind, **attrs)
            bounds.append(bound)
            sets.append(({f"x{i}": a for i, a in enumerate(held)}, [want]))
        for a, s in zip(held, shapes):
            d.give(a, shape=s)
        d.node(op, list(d.feeds), want, None, op, result_shape(op, shapes),
               **attrs)
        lib = rig.library(d.model(), f"symbolic_{form}_{kind}")
        rig.all_ways(lib, sets, lambda i, w, g: differs(
            w, g, [bounds[i]], [f"{form} {triples[i]}"]), ("random:5",))
        n_calls += len(sets)
    return f"{len(forms)} forms, {n_calls} sets of dims"


# ---- integers

def wrapped(x):
    return x.astype(np.int64).astype(np.uint32).view(np.int32)


def quantized(sums, scale, zero, dtype):
    """scale is a power of two: nothing but the last step rounds."""
    info = np.iinfo(dtype)
    return np.clip(np.rint(sums * scale) + zero, info.min,
                   info.max).astype(dtype)


def integers(d, a_type, b_type):
    def any_of(dtype, shape):
        info = np.iinfo(dtype)
        return d.rng.integers(info.min, info.max + 1, shape).astype(dtype)

    def zero(dtype, shape=()):
        return any_of(dtype, shape)

    for m, n, k in TRIPLES:
        a, b = any_of(a_type, (m, k)), any_of(b_type, (k, n))
        za = zero(a_type)
        zb = zero(b_type, (n,)) if m % 2 else zero(b_type)
        sums = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)
        d.node("MatMulInteger", [d.give(a), d.give(b, m % 2),
                                 d.give(za, True), d.give(zb, True)],
               wrapped(sums), None, f"MatMulInteger {m} {n} {k}")
        if (m + n) % 2:
            continue
        zy, zb = zero(a_type), zero(b_type)
        sums = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)
        names = [d.give(a)]
        for x in (np.float32(0.5), za, b, np.float32(0.25), zb,
                  np.float32(64), zy):
            names.append(d.give(np.asarray(x), True))
        d.node("QLinearMatMul", names, quantized(sums, 2.0**-9, int(zy),
                                                 a_type),
               None, f"QLinearMatMul {m} {n} {k}")
    for shapes, attrs in (
            (((2, 5, 19, 23), (33, 5, 3, 3)), dict(pads=[1, 1, 1, 1])),
            (((1, 24, 13, 11), (36, 8, 3, 3)),
             dict(group=3, strides=[2, 1], dilations=[1, 2])),
            (((2, 7, 40), (33, 7, 5)), dict(strides=[3], pads=[2, 4]))):
        x, w = any_of(a_type, shapes[0]), any_of(b_type, shapes[1])
        zx, zw = zero(a_type), zero(b_type)
        sums = conv(x.astype(np.int64) - zx, w.astype(np.int64) - zw,
                    **attrs)
        d.node("ConvInteger", [d.give(x), d.give(w), d.give(zx, True),
                               d.give(zw, True)],
               wrapped(sums), None, f"ConvInteger {shapes} {attrs}", **attrs)


def few_rows_of_integers(d):
    for m, n, k in ((1, 40, 256), (3, 33, 161), (8, 20, 2050), (11, 9, 96),
                    (2, 5, 9001), (20, 17, 3000)):
        a = d.rng.integers(0, 256, (m, k)).astype(np.uint8)
        b = d.rng.integers(-128, 128, (k, n)).astype(np.int8)
        za = np.uint8(d.rng.integers(256))
        sums = (a.astype(np.int64) - int(za)) @ b.astype(np.int64)
        d.node("MatMulInteger", [d.give(a), d.give(b, m % 3 > 0),
                                 d.give(np.asarray(za), True)],
               wrapped(sums), None, f"MatMulInteger {m} {n} {k}")


def decoded(d):
    """Weights of 4 and 8 bits with a scale for each block of k."""
    for m, n, k, block, dtype in (
            (1, 40, 512, 32, ml_dtypes.uint4), (5, 33, 256, 64,
                                                ml_dtypes.int4),
            (3, 20, 96, 16, ml_dtypes.uint4), (11, 9, 1056, 32, np.int8),
            (2, 65, 130, 10, ml_dtypes.uint4), (8, 50, 2048, 128, np.uint8)):
        low, high = (ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max)
        a = d.rng.standard_normal((m, k)).astype(np.float32)
        q = d.rng.integers(low, high + 1, (k, n))
        scale = (d.rng.random((k // block, n)) + 0.5).astype(np.float32)
        zero = d.rng.integers(low, high + 1, (k // block, n))
        w = (q - zero.repeat(block, 0)) * \
            scale.repeat(block, 0).astype(np.float64)
        held = [d.give(x.astype(t), True) for x, t in (
            (q, dtype), (scale, np.float32), (zero, dtype))]
        d.nodes.append(helper.make_node(
            "DequantizeLinear", held, [f"w{len(d.nodes)}"], axis=0,
            block_size=block))
        most = 8 * 2**-24 * (np.abs(a).astype(np.float64) @ np.abs(w))
        want = a.astype(np.float64) @ w
        d.node("MatMul", [d.give(a), d.nodes[-1].output[0]],
               want.astype(np.float32), (most, want),
               f"MatMul {m} {n} {k} of {np.dtype(dtype)} by {block}")


# ---- folds

def extreme(a, axis, op, last):
    """The first element that is better than all before it, from the worst
    there is; or the last as good as any."""
    worst = np.iinfo(a.dtype) if a.dtype.kind == "i" else None
    if op == "ArgMax":
        best = np.full(np.delete(a.shape, axis),
                       worst.min if worst else -np.inf, a.dtype)
    else:
        best = np.full(np.delete(a.shape, axis),
                       worst.max if worst else np.inf, a.dtype)
    where = np.zeros(best.shape, np.int64)
    better = {("ArgMax", 0): np.greater, ("ArgMax", 1): np.greater_equal,
              ("ArgMin", 0): np.less, ("ArgMin", 1): np.less_equal}[op, last]
    for i in range(a.shape[axis]):
        x = np.take(a, i, axis)
        take = better(x, best)
        best, where = np.where(take, x, best), np.where(take, i, where)
    return where


def folds(d):
    """Few results of many elements; of integers to the bit."""
    for shape, axes in (((9, 70, 130), None), ((3, 20000), (1,)),
                        ((20000, 3), (0,)), ((300, 7, 7), (1, 2)),
                        ((5, 65, 401), (0, 2)), ((2, 90001), (0, 1))):
        ints = d.rng.integers(-2**31, 2**31, shape).astype(np.int32)
        floats = d.rng.standard_normal(shape).astype(np.float32)
        attrs = dict(keepdims=0)
        at = [] if axes is None else [d.give(np.array(axes), True)]
        x, y = d.give(ints), d.give(floats)
        d.node("ReduceSum", [x, *at], wrapped(ints.sum(
            axes, dtype=np.int64)), None, f"ReduceSum {shape} {axes}",
            **attrs)
        d.node("ReduceMax", [y, *at], floats.max(axes), None,
               f"ReduceMax {shape} {axes}", **attrs)
        wide = floats.astype(np.float64)
        want = wide.mean(axes)
        d.node("ReduceMean", [y, *at], want.astype(np.float32),
               (2**-20 * np.abs(wide).mean(axes), want),
               f"ReduceMean {shape} {axes}", **attrs)
    for shape, axis in (((1, 20011), 1), ((40, 300), 1), ((3, 200, 65), 1),
                        ((2, 9000), 1)):
        # Equal ones, numbers that no one is better than, and none at all.
        x = np.rint(d.rng.standard_normal(shape) * 3).astype(np.float32)
        x[0].flat[::7] = -np.inf
        x[-1].flat[::3] = np.inf if shape[0] > 1 else 0
        x[-1].flat[1::5] = np.nan
        ints = (d.rng.integers(0, 9, shape) << 28).astype(np.int32)
        for op in ("ArgMax", "ArgMin"):
            for last in (0, 1):
                for a in (x, ints):
                    d.node(op, [d.give(a)], extreme(a, axis, op, last), None,
                           f"{op} {shape} {a.dtype} {last}", axis=axis,
                           keepdims=0, select_last_index=last)
    # Threads go along the points, several of which each takes.
    x = d.rng.standard_normal((2, 40, 4096)).astype(np.float32)
    d.node("ArgMax", [d.give(x)], x.argmax(1), None, "ArgMax down columns",
           axis=1, keepdims=0)
    gone = np.full((1, 700), np.nan, np.float32)
    gone[0, 5::9] = -np.inf
    d.node("ArgMax", [d.give(gone)], extreme(gone, 1, "ArgMax", 0), None,
           "ArgMax of nothing", axis=1, keepdims=0)
    x = d.rng.standard_normal((1, 3, 2, 9000)).astype(np.float32)
    want = x.astype(np.float64)
    want = (want - want.mean((2, 3), keepdims=True)) / \
        np.sqrt(want.var((2, 3), keepdims=True) + 1e-5)
    d.node("InstanceNormalization",
           [d.give(x), *(d.give(np.full(3, v, np.float32), True)
                         for v in (1, 0))],
           want.astype(np.float32), (2**-18 * (1 + np.abs(want)), want),
           "InstanceNormalization")


def products_of_i32(d):
    for m, n, k in ((33, 65, 31), (64, 64, 64), (100, 12, 129)):
        a, b = (d.rng.integers(-2**31, 2**31, s).astype(np.int32)
                for s in ((m, k), (k, n)))
        with np.errstate(over="ignore"):
            want = a.astype(np.uint32) @ b.astype(np.uint32)
        d.node("MatMul", [d.give(a), d.give(b)], want.view(np.int32), None,
               f"MatMul i32 {m} {n} {k}")


def whole(rig, name, make):
    d = Deck(None, 4)
    make(d)
    lib = rig.library(d.model(), name)
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check,
                 ("forward", "random:3"))
    return f"{len(d.nodes)} nodes"


# Of the default run; the rest comes with --full.
SHORT = {(part, k) for part in ("few_rows", "long_sums")
         for k in ("f32", "f16")} | {("matrices", k) for k in ("f32", "f64", "f16", "bf16", "tf32")} | \
    {("gemms", "f32"), ("images", "f32"), ("images", "f16"), ("sums", "f32")}


def cases(rig, full):
    for number, kind in enumerate(FLOATS):
        for part in (matrices, gemms, images, sums, few_rows, long_sums):
            if full or (part.__name__, kind) in SHORT:
                yield f"{part.__name__}-{kind}", \
                    lambda k=kind, p=part, n=number: static(rig, k, p, n)
    for kind in ("f32", "f64", "f16", "bf16") if full else ("f32",):
        yield f"symbolic-{kind}", lambda k=kind: symbolic(rig, k, full)
    for kind in ("f32", "f16"):
        yield f"wide-{kind}", lambda k=kind: wide(rig, k)
    for kind in ("f16", "bf16", "tf32"):
        yield f"copies-{kind}", lambda k=kind: static(rig, k, copies, 9)
    for kind in ("f16", "bf16"):
        yield f"columns-{kind}", lambda k=kind: static(rig, k, columns, 10)
    yield "matrices-f16-sm_75", lambda: static(rig, "f16", matrices, 2,
                                               "sm_75")
    for kind in ("f16", "bf16") if full else ("f16",):
        yield f"boxes-{kind}", lambda k=kind: boxes(
            rig, "boxes_" + k, [boxed(k, 1), boxed(k, 2)])
    for a, b in (("ki", "kj"), ("ik", "kj"), ("ki", "jk")) if full else (
            ("ki", "kj"),):
        yield f"boxes-{a}-{b}", lambda x=a, y=b: boxes(
            rig, f"boxes_{x}_{y}", [boxed("f16", n, COLUMNS, x, y)
                                    for n in (1, 2)])
    if full:
        yield "boxes-wide-kj", lambda: boxes(
            rig, "boxes_wide_kj", [boxed("bf16", 1, WIDE_COLUMNS, b="kj")])
    yield "boxes-wide", lambda: boxes(rig, "boxes_wide",
                                      [boxed("bf16", 1, WIDE)])
    yield "boxes-integers", lambda: boxes(
        rig, "boxes_bytes", [boxed_bytes(np.uint8, np.int8)])
    if full and rig.runs("sm_90a"):
        yield "matrices-f16-sm_90a", lambda: static(rig, "f16", matrices, 2,
                                                    "sm_90a")
        yield "large-f16-sm_90a", lambda: static(rig, "f16", large, 2,
                                                 "sm_90a")
    types = ((np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8))
    for a, b in types if full else types[:1]:
        yield f"integers-{a.__name__}-{b.__name__}", \
            lambda x=a, y=b: whole(rig, f"of_{x.__name__}_{y.__name__}",
                                   lambda d: integers(d, x, y))
    yield "integers-few_rows", lambda: whole(rig, "few_rows_of_integers",
                                             few_rows_of_integers)
    yield "decoded", lambda: whole(rig, "decoded", decoded)
    yield "folds", lambda: whole(rig, "folds", folds)
    yield "integers-i32", lambda: whole(rig, "i32", products_of_i32)
