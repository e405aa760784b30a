# SPDX-License-Identifier: Apache-2.0
"""Products whose number of rows is known when they are called: all rows of a
batch are one dim, and few of them take another kernel than many."""
import hashlib
import os
import re

import ml_dtypes
import numpy as np
from onnx import helper, numpy_helper

from contractions import (FLOATS, ROUNDING, Deck, conv, differs, reference,
                          wrapped)
from rig import as_call, expect, make_model, tensor

ROWS = (1, 2, 8, 9, 11, 12, 100, 1, 0)
SPLITS = ((1, 1), (3, 1), (1, 3), (2, 5), (2, 6), (5, 37), (37, 5), (1, 185),
          (4, 0), (0, 4))
LAUNCH = re.compile(r"(k\d+): (\d+) x")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def launched(rig, lib, sets):
    """(kernel, blocks) of each launch, call by call."""
    found = []
    for feeds, wanted in sets:
        answers, said = rig.calls(lib, [as_call(feeds, wanted)],
                                  DLCC_EMU_STATS="1")
        expect(answers[0][0] == 0, f"status {answers[0][:2]}")
        found.append([(k, int(n)) for k, n in LAUNCH.findall(said)])
    return found


class Calls(Deck):
    """One node whose dims change from call to call."""

    def __init__(self, kind, seed):
        super().__init__(kind, seed)
        self.sets, self.all = [], []

    def add(self, feeds, want, bound):
        self.sets.append((feeds, [want]))
        self.all.append(bound)

    def look(self, k, wanted, got):
        return differs(wanted, got, [self.all[k]], [f"set {k}"])


def product(kind, n, k):
    d = Calls(kind, 21)
    w = d.rng.standard_normal((k, n)).astype(FLOATS[kind])
    for m in ROWS:
        x = d.rng.standard_normal((m, k)).astype(FLOATS[kind])
        d.add({"x0": x}, *reference("MatMul", [x, w], kind))
    d.node("MatMul", [d.give(x, shape=("M", k)), d.give(w, True)],
           d.sets[0][1][0], None, "", ("M", n))
    return d


def chosen(rig, kind, n=100, k=132, arch="sm_80"):
    """Few rows have a kernel of their own, and the weights stand once."""
    d = product(kind, n, k)
    name = f"chosen_{kind}_{n}_{k}_{arch}"
    options = ["--fp32=" + kind] if kind.startswith("tf32") else []
    lib = rig.library(d.model(), name, arch, options)
    rig.all_ways(lib, d.sets, d.look, ("forward", "random:5"))
    by = [[k for k, _ in one] for one in launched(rig, lib, d.sets)]
    expect(by[0] == by[1] == by[7] and by[0], f"one row, or two: {by}")
    expect(by[5] == by[6] and by[5], f"many rows: {by}")
    expect(by[0][0] != by[5][0], f"one kernel for all: {by}")
    expect(by[2] in (by[0], by[5]) and not by[8], f"launches: {by}")
    first = digest(rig.path(name + ".o"))
    rig.library(d.model(), name, arch, options)
    expect(first == digest(rig.path(name + ".o")),
           "the object changes")
    return f"{by[0][0]}, {by[5][0]} for {len(ROWS)} sets"


def weights_once(rig, kind):
    """Both kernels read the same constant, and so do two products."""
    n = 1024
    d = product(kind, n, n)
    d.nodes.append(helper.make_node("Relu", ["y0"], ["r"]))
    d.node("MatMul", ["r", "x1"], d.sets[0][1][0], None, "", ("M", n))
    rig.library(d.model(), "once_" + kind)
    size = os.path.getsize(rig.path(f"once_{kind}.o"))
    held = n * n * np.dtype(FLOATS[kind]).itemsize
    expect(held < size < 1.5 * held, f"{size} bytes for {held}")


def batches(rig, kind, arch="sm_80", k=96, size=24):
    """A batch of sequences is as many rows as all of them: how they are split
    is no matter.  What is added is, and so is where the results lie."""
    heads = 3
    n = heads * size
    d = Calls(kind, 22)
    dtype = FLOATS[kind]
    w = d.rng.standard_normal((k, n)).astype(dtype)
    last, each = ROUNDING[kind]
    for b, s in SPLITS:
        x = d.rng.standard_normal((b, s, k)).astype(dtype)
        r = d.rng.standard_normal((s, n)).astype(dtype)
        wide = [a.astype(np.float64) for a in (x, w, r)]
        most = np.abs(wide[0]) @ np.abs(wide[1])
        y = wide[0] @ wide[1]
        bound = 8 * each * most + 4 * last * np.abs(y)

        def turned(a):
            return a.reshape(b, s, heads, size).transpose(0, 2, 1, 3)

        want = y + wide[2]
        near = bound + 4 * last * np.abs(want) + 4 * last * np.abs(wide[2])
        d.sets.append(({"x0": x, "x2": r}, [want.astype(dtype),
                                            turned(y).astype(dtype)]))
        d.all.append([(near, want), (turned(bound), turned(y))])
    d.give(x, shape=("B", "S", k))
    d.give(w, True)
    d.give(r, shape=("S", n))
    d.nodes.append(helper.make_node("MatMul", ["x0", "x1"], ["p"]))
    d.node("Add", ["p", "x2"], want.astype(dtype), None, "", ("B", "S", n))
    # Of its own, so that it is stored as heads.
    d.nodes.append(helper.make_node("MatMul", ["x0", "x1"], ["q"]))
    d.nodes.append(helper.make_node(
        "Reshape", ["q", d.give(np.array([0, 0, heads, size]), True)],
        ["h"]))
    d.node("Transpose", ["h"], turned(y).astype(dtype), None, "",
           ("B", heads, "S", size), perm=[0, 2, 1, 3])
    lib = rig.library(d.model(), f"batches_{kind}_{arch}", arch)
    rig.all_ways(lib, d.sets, lambda i, w, g: differs(
        w, g, d.all[i], [f"{SPLITS[i]} sums", f"{SPLITS[i]} heads"]),
        ("forward", "random:5"))
    by = launched(rig, lib, d.sets)
    same = [SPLITS.index(s) for s in ((5, 37), (37, 5), (1, 185))]
    expect(len({str(by[i]) for i in same}) == 1, f"splits matter: {by}")
    expect(by[0] != by[same[0]], f"few rows: {by}")
    return f"{len(SPLITS)} splits"


def bytes_of(rig):
    n, k = 50, 160
    d = Calls(None, 23)
    w = d.rng.integers(-128, 128, (k, n)).astype(np.int8)
    for m in ROWS:
        x = d.rng.integers(0, 256, (m, k)).astype(np.uint8)
        d.add({"x0": x}, wrapped((x.astype(np.int64) - 7) @
                                 w.astype(np.int64)), None)
    d.node("MatMulInteger", [d.give(x, shape=("M", k)), d.give(w, True),
                             d.give(np.asarray(np.uint8(7)), True)],
           d.sets[0][1][0], None, "", ("M", n))
    lib = rig.library(d.model(), "rows_of_bytes")
    rig.all_ways(lib, d.sets, d.look, ("forward", "random:5"))


def decoded(rig):
    """Weights of 4 bits with a scale for each 32 of them."""
    n, k = 40, 128
    d = Calls("f32", 24)
    q = d.rng.integers(-8, 8, (k, n))
    scale = (d.rng.random((k // 32, n)) + 0.5).astype(np.float32)
    w = q * scale.repeat(32, 0).astype(np.float64)
    for m in ROWS:
        x = d.rng.standard_normal((m, k)).astype(np.float32)
        want = x.astype(np.float64) @ w
        most = 8 * 2**-24 * (np.abs(x).astype(np.float64) @ np.abs(w))
        d.add({"x0": x}, want.astype(np.float32), (most, want))
    d.give(x, shape=("M", k))
    d.nodes.append(helper.make_node(
        "DequantizeLinear", [d.give(q.astype(ml_dtypes.int4), True),
                             d.give(scale, True)], ["w"], axis=0,
        block_size=32))
    d.node("MatMul", ["x0", "w"], d.sets[0][1][0], None, "", ("M", n))
    lib = rig.library(d.model(), "rows_decoded")
    rig.all_ways(lib, d.sets, d.look, ("forward", "random:5"))


def images(rig, kind):
    """Small images of a symbolic batch are rows together; those of one row of
    symbolic width may be few."""
    for shape, weights, attrs in (
            (("B", 32, 4, 5), (20, 32, 3, 3), dict(pads=[1, 1, 1, 1])),
            (("B", 32, 1, "W"), (20, 32, 1, 1), {}),
            (("B", 16, "H", "W"), (24, 16, 3, 3), dict(strides=[2, 1]))):
        d = Calls(kind, 25)
        w = d.rng.standard_normal(weights).astype(FLOATS[kind])
        for b, h, wide in ((1, 3, 3), (3, 7, 5), (2, 3, 20), (13, 5, 9)):
            known = {"B": b, "H": h, "W": wide}
            x = d.rng.standard_normal(
                [known.get(n, n) for n in shape]).astype(FLOATS[kind])
            d.add({"x0": x}, *reference("Conv", [x, w], kind, **attrs))
        d.node("Conv", [d.give(x, shape=shape), d.give(w, True)],
               d.sets[0][1][0], None, "", ("B", weights[0], "h", "w"),
               **attrs)
        lib = rig.library(d.model(), f"rows_of_images_{kind}_{weights[2]}")
        rig.all_ways(lib, d.sets, d.look, ("forward", "random:5"))


LENGTHS = (1, 5, 63, 65, 1000, 4096, 40001, 5)


def sums(rig):
    """Few sums of so many elements as the call says, in parts of which the
    last ones may be empty."""
    rng = np.random.default_rng(26)
    nodes = [helper.make_node("ReduceSum", ["a"], ["y0"], keepdims=0),
             helper.make_node("ReduceMax", ["b", "last"], ["y1"],
                              keepdims=0),
             helper.make_node("GlobalAveragePool", ["c"], ["y2"]),
             helper.make_node("MatMul", ["d", "e"], ["y3"]),
             helper.make_node("ReduceSum", ["f", "first"], ["y4"],
                              keepdims=0)]
    shapes = {"a": ("N",), "b": (3, "N"), "c": (1, 5, "N", 3),
              "d": (2, "N"), "e": ("N", 40), "f": ("N", 33)}
    model = make_model(
        nodes, [tensor(k, np.int32 if k == "a" else np.float32, s)
                for k, s in shapes.items()],
        [tensor(f"y{i}", np.int32 if i == 0 else np.float32, s)
         for i, s in enumerate(((), (3,), (1, 5, 1, 1), (2, 40), (33,)))],
        [numpy_helper.from_array(np.array([i]), k)
         for k, i in (("last", 1), ("first", 0))])
    sets, bounds = [], []
    for n in LENGTHS:
        x = {k: rng.standard_normal([n if v == "N" else v for v in s])
             .astype(np.float32) for k, s in shapes.items()}
        x["a"] = rng.integers(-2**31, 2**31, n).astype(np.int32)
        w = {k: v.astype(np.float64) for k, v in x.items()}
        want = [wrapped(x["a"].astype(np.int64).sum()), x["b"].max(1),
                w["c"].mean((2, 3), keepdims=True), w["d"] @ w["e"],
                w["f"].sum(0)]
        each = 32 * 2**-24
        most = [each * np.abs(w["c"]).mean((2, 3), keepdims=True),
                each * (np.abs(w["d"]) @ np.abs(w["e"])),
                each * np.abs(w["f"]).sum(0)]
        bounds.append([None, None, *zip(most, want[2:])])
        sets.append((x, [np.asarray(want[0]), want[1],
                         *(a.astype(np.float32) for a in want[2:])]))
    lib = rig.library(model, "symbolic_sums")
    names = ["ReduceSum", "ReduceMax", "GlobalAveragePool", "MatMul", "down"]
    rig.all_ways(lib, sets, lambda i, w, g: differs(
        w, g, bounds[i], [f"{n} of {LENGTHS[i]}" for n in names]),
        ("forward", "random:5"))
    found = launched(rig, lib, sets[-2:])
    expect(len(found[0]) == 2 * len(nodes), f"in parts: {found}")


def cases(rig, full):
    for kind in FLOATS if full else ("f32", "f16", "tf32"):
        yield f"chosen-{kind}", lambda k=kind: chosen(rig, k)
        yield f"batches-{kind}", lambda k=kind: batches(rig, k)
    # Sums in parts; columns that do not end with a group.
    yield "chosen-parts", lambda: chosen(rig, "f32", 66, 1096)
    yield "chosen-odd", lambda: chosen(rig, "f16", 33, 77)
    yield "chosen-sm_75", lambda: chosen(rig, "f16", 40, 64, "sm_75")
    # Where tiles have a form of their own besides.
    yield "chosen-boxes", lambda: chosen(rig, "f16", 256, 256, "sm_90a")
    yield "batches-boxes", lambda: batches(rig, "f16", "sm_90a", 256, 128)
    yield "weights", lambda: weights_once(rig, "f32")
    yield "bytes", lambda: bytes_of(rig)
    yield "decoded", lambda: decoded(rig)
    yield "sums", lambda: sums(rig)
    yield "images", lambda: images(rig, "f32")
    if full:
        yield "images-f16", lambda: images(rig, "f16")
