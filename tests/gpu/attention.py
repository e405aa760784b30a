# SPDX-License-Identifier: Apache-2.0
"""Attention in one kernel, against numpy in f64: ragged queries and keys,
masks, several steps of keys, heads that share keys, rows without keys.
"""
import numpy as np
from onnx import TensorProto, helper

import contractions
from contractions import FLOATS
from rig import GPU, expect, kernels, tensor

# Half an ulp of what goes into the products, exponentials and values.
EXPONENTIAL = {"f32": 2**-22, "tf32": 2**-11, "tf32x3": 2**-20,
               "f16": 2**-11, "bf16": 2**-8}
SCORE = {"f32": 2**-22, "tf32": 2**-10, "tf32x3": 2**-20, "f16": 2**-22,
         "bf16": 2**-22}


def softmax(s):
    """Of no numbers nothing, of those that are all -inf NaN."""
    with np.errstate(invalid="ignore"):
        e = np.exp(s - s.max(-1, keepdims=True, initial=-np.inf))
    return e / np.maximum(e.sum(-1, keepdims=True), 2.0**-1000)


def reference(kind, q, k, v, mask=None, scale=None, softcap=0):
    """The result and how far from it one may be, both f64."""
    q, k, v = (a.astype(np.float64) for a in (q, k, v))
    k, v = (np.repeat(a, q.shape[1] // a.shape[1], 1) for a in (k, v))
    scale = scale or q.shape[-1]**-0.5
    s = scale * q @ k.swapaxes(-1, -2)
    far = scale * np.abs(q) @ np.abs(k).swapaxes(-1, -2)
    if softcap:
        s = softcap * np.tanh(s / softcap)
    if mask is not None:
        s = s + mask
        far = far + np.where(np.isinf(mask), 0, np.abs(mask)) * \
            2**-22 / SCORE[kind]
    p = softmax(s)
    off = 2 * SCORE[kind] * far.max(-1, keepdims=True, initial=0) + \
        2 * EXPONENTIAL[kind]
    # Exponentials may be subnormal half floats.
    least = 2**-24 * np.abs(v).sum(-2, keepdims=True)
    want = p @ v
    last = contractions.ROUNDING[kind][0]
    return want, 1.01 * last * np.abs(want) + 4 * off * (p @ np.abs(v)) + least


class Deck(contractions.Deck):
    """Attention, as the operator or as the ops that it stands for."""

    def __init__(self, kind, seed):
        super().__init__(kind, seed)
        self.n = 0

    def arrays(self, *shapes):
        return [self.rng.standard_normal(s).astype(FLOATS[self.kind])
                for s in shapes]

    def mask(self, m, n, far=4):
        """Some keys are not seen, by some rows none of the first 70."""
        mask = self.rng.standard_normal((m, n))
        mask[self.rng.random((m, n)) < 0.3] = -np.inf
        mask[::far, :min(70, n - 1)] = -np.inf
        mask[:, -1] = np.minimum(np.abs(mask[:, -1]), 1)
        return mask.astype(FLOATS[self.kind])

    def result(self, want, bound, said, shape=None):
        out = f"y{len(self.results)}"
        want32 = want.astype(FLOATS[self.kind])
        self.results.append(tensor(out, want32.dtype, shape or want.shape))
        self.wanted.append(want32)
        self.bounds.append((bound, want))
        self.said.append(said)
        return out

    def op(self, b, h, m, n, d, e, heads=None, mask=None, causal=0, **more):
        """The operator."""
        held = self.arrays((b, h, m, d), (b, heads or h, n, d),
                           (b, heads or h, n, e))
        names = [self.give(a) for a in held]
        said = f"{b} {h} {m} {n} {d} {e} {more}"
        seen = np.zeros((m, n))
        if mask == "some":
            seen = self.mask(m, n)
            # Exponentials that a maximum of 0 would lose, in a first step.
            seen[1::4, n // 3:] = -np.inf
            seen[1::4] -= 200
            seen[1::4, 0] = -200
            names.append(self.give(seen))
        if mask == "bool":
            there = self.rng.random((m, n)) < 0.7
            there[:, -1] = True
            names.append(self.give(there))
            seen[~there] = -np.inf
        if causal:
            seen = np.where(np.tri(m, n, dtype=bool), seen, -np.inf)
        out = self.result(*reference(self.kind, *held, seen, **more), said)
        self.nodes.append(helper.make_node("Attention", names, [out],
                                           is_causal=causal, **more))

    def ops(self, b, h, m, n, d, e, scale=1.0, dims=None, held=None):
        """As networks have it: heads beside each other in rows, keys turned,
        a mask added, the result back in rows."""
        i = self.n
        self.n += 1
        held = held or self.held(b, h, m, n, d, e)
        b, h, m, n, d, e = dims or (b, h, m, n, d, e)
        q, k, v, mask = (self.give(a, shape=s) for a, s in zip(held, (
            (b, m, h * d), (b, n, h * d), (b, n, h * e), (m, n))))
        names = {}

        def node(op, ins, out, **attrs):
            names[out] = f"{out}_{i}"
            self.nodes.append(helper.make_node(
                op, [names.get(x, x) for x in ins], [names[out]], **attrs))

        for x, at, size, perm in ((q, "q", d, [0, 2, 1, 3]),
                                  (k, "k", d, [0, 2, 3, 1]),
                                  (v, "v", e, [0, 2, 1, 3])):
            shape = self.give(np.array([0, 0, h, size]), True)
            node("Reshape", [x, shape], at + "4")
            node("Transpose", [at + "4"], at + "t", perm=perm)
        node("MatMul", ["qt", "kt"], "s0")
        node("Add", ["s0", mask], "s1")
        node("Softmax", ["s1"], "p", axis=-1)
        node("MatMul", ["p", "vt"], "z")
        node("Transpose", ["z"], "zt", perm=[0, 2, 1, 3])
        want, bound = self.rows_reference(held, h)
        out = self.result(want, bound, f"ops {b} {h} {m} {n} {d} {e}",
                          (b, m, h, e))
        node("Identity", ["zt"], out)
        self.nodes[-1].output[0] = out

    def held(self, b, h, m, n, d, e):
        q, k, v = self.arrays((b, m, h * d), (b, n, h * d), (b, n, h * e))
        return [q * FLOATS[self.kind](0.3), k, v,
                self.mask(m, n) if n else np.zeros((m, 0), q.dtype)]

    def rows_reference(self, held, h):
        q, k, v = (a.reshape(*a.shape[:2], h, a.shape[2] // h)
                   .swapaxes(1, 2) for a in held[:3])
        want, bound = reference(self.kind, q, k, v, held[3], 1.0)
        return want.swapaxes(1, 2), bound.swapaxes(1, 2)

    def model(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.results,
                                  self.weights)
        return helper.make_model(graph, ir_version=11, opset_imports=[
            helper.make_opsetid("", 23)])

    def check(self, i, wanted, got):
        return differs(wanted, got, self.bounds, self.said)


def differs(wanted, got, bounds, said):
    """As of contractions; what is NaN has to be."""
    for want, have, (most, exact), text in zip(wanted, got, bounds, said):
        none = np.isnan(exact)
        if not np.array_equal(np.isnan(have.astype(np.float64)), none):
            return f"{text}: NaN where there is none, or none where it is"
        have, exact = (np.where(none, 0, a.astype(np.float64))
                       for a in (have, exact))
        why = contractions.differs([want], [have],
                                   [(np.where(none, 0, most), exact)], [text])
        if why:
            return why
    return None


# ---- models

def shapes(d):
    """Ragged sides, heads of many sizes."""
    for row in ((1, 1, 64, 64, 64, 64), (2, 3, 70, 150, 40, 24),
                (1, 2, 33, 65, 128, 128), (1, 2, 100, 63, 80, 72),
                (1, 1, 17, 129, 16, 8), (2, 1, 129, 40, 36, 100),
                (1, 1, 12, 200, 7, 13)):
        d.op(*row)


def masks(d):
    d.op(1, 2, 70, 150, 40, 24, mask="some")
    d.op(1, 2, 65, 65, 24, 24, causal=1)
    d.op(1, 2, 130, 200, 16, 16, causal=1, mask="some")
    d.op(1, 1, 200, 70, 16, 16, causal=1)
    d.op(1, 2, 40, 100, 32, 48, mask="bool", softcap=2.0)
    d.op(2, 6, 33, 70, 16, 16, heads=2, causal=1, mask="some")
    d.op(1, 4, 20, 30, 16, 16, heads=1, scale=0.7)


def networks(d):
    d.ops(2, 3, 70, 150, 40, 24)
    d.ops(1, 2, 33, 17, 64, 64)
    d.ops(1, 2, 100, 128, 20, 36)


def large(d):
    """Queries enough for the larger blocks; heads beyond tensor cores."""
    d.op(9, 8, 129, 70, 24, 40)
    d.op(1, 2, 40, 70, 200, 136)


def few(d):
    """Few queries: by lanes, of as many keys as one walk or parts have."""
    d.op(1, 3, 1, 1000, 64, 64)
    d.op(1, 2, 1, 997, 40, 24, mask="some")
    d.op(2, 1, 5, 150, 36, 100, mask="bool")
    d.op(1, 1, 1, 70, 7, 13)
    d.op(1, 2, 8, 520, 160, 200, softcap=2.0)
    d.op(1, 1, 11, 601, 24, 33, mask="some")
    d.op(1, 2, 4, 40, 256, 8)
    d.op(3, 50, 2, 65, 16, 16, causal=1)
    d.ops(1, 3, 1, 700, 32, 32)


def groups(d):
    """Query heads that share keys are rows of one tile."""
    d.op(1, 8, 1, 600, 64, 64, heads=2, mask="some")
    d.op(2, 6, 3, 90, 24, 40, heads=2, causal=1)
    d.op(1, 12, 1, 530, 128, 128, heads=1)
    d.op(1, 9, 2, 70, 17, 24, heads=3, mask="bool", softcap=1.5)


def parts(d):
    """Tiles of a part of the keys."""
    d.op(1, 1, 40, 1000, 24, 40, mask="some")
    d.op(1, 2, 64, 577, 64, 64, causal=1)
    d.op(1, 1, 13, 640, 136, 200, mask="some")


PARTS = shapes, masks, networks, large, few, groups, parts


def one_kernel_each(rig, d, name, arch, options, forms=1):
    """No more than `forms` of them, for calls with few queries and others."""
    text = rig.cuda(d.model(), name, arch, options)
    found = [k for k, body in kernels(text)[1].items() if "most[" in body]
    code, loops, said = rig.dlcc_run(
        rig.saved(d.model(), name), "--emit=loop", GPU, "-march=" + arch,
        *options, "-o", "-")
    n = loops.decode().count("kern.attend")
    expect(code == 0 and n == forms * len(d.results) and found,
           f"{n} of {len(d.results)} are one kernel {said}")


def static(rig, kind, part, arch="sm_80"):
    d = Deck(kind, 11)
    part(d)
    name = f"attention_{part.__name__}_{kind}_{arch}"
    options = ["--fp32=" + kind] if kind.startswith("tf32") else []
    one_kernel_each(rig, d, name, arch, options)
    lib = rig.library(d.model(), name, arch, options)
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check,
                 ("forward", "random:3"))
    return f"{len(d.results)} results"


# Queries and keys of the calls of one session.
SIZES = ((33, 65), (1, 1), (64, 64), (130, 7), (5, 200), (3, 0), (0, 5),
         (1, 1100), (4, 600), (5, 600))


# Keys of the calls, of queries of a known number.
KEYS = 600, 1, 0, 64, 65, 1153, 17, 4099


def symbolic(rig, kind, name="symbolic", sizes=SIZES,
             dims=("B", 3, "M", "N", 24, 40)):
    d = Deck(kind, 12)
    b, h = 2 if dims[0] == "B" else dims[0], dims[1]
    all_held = [d.held(b, h, m, n, 24, 40) for m, n in sizes]
    d.ops(b, h, *sizes[0], 24, 40, dims=dims, held=all_held[0])
    sets, bounds = [], []
    for held in all_held:
        want, bound = d.rows_reference(held, h)
        sets.append((dict(zip(d.feeds, held)), [want.astype(FLOATS[kind])]))
        bounds.append((bound, want))
    name = f"attention_{name}_{kind}"
    one_kernel_each(rig, d, name, "sm_80", [], 1 + (dims[2] == "M"))
    lib = rig.library(d.model(), name)
    rig.all_ways(lib, sets, lambda i, w, g: differs(
        w, g, [bounds[i]], [f"{sizes[i]}"]), ("random:5",))
    return f"{len(sizes)} sets of dims"


def decoding(rig, kind, queries):
    """Keys alone are symbolic."""
    return symbolic(rig, kind, f"decoding{queries}",
                    [(queries, n) for n in KEYS],
                    (1, 5, queries, "N", 24, 40))


def nothing_seen(rig, kind):
    """A row whose scores are all -inf is NaN, as softmax says, and no other."""
    d = Deck(kind, 13)
    held = d.held(1, 2, 40, 100, 16, 24)
    held[3][7], held[3][33] = -np.inf, -np.inf
    d.ops(1, 2, 40, 100, 16, 24, held=held)
    expect(np.isnan(d.wanted[0]).sum() == 2 * 2 * 24, "no NaN is wanted")
    lib = rig.library(d.model(), "attention_nothing_" + kind)
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check, ("forward",))


def nothing_in_parts(rig, kind):
    """The same of parts; one row sees the last part alone."""
    d = Deck(kind, 14)
    for m in (3, 20):
        held = d.held(1, 2, m, 700, 16, 24)
        held[3][1], held[3][2, :690] = -np.inf, -np.inf
        d.ops(1, 2, m, 700, 16, 24, held=held)
    expect([np.isnan(w).sum() for w in d.wanted] == [2 * 24] * 2,
           "no NaN is wanted")
    lib = rig.library(d.model(), "attention_nothing_parts_" + kind)
    rig.all_ways(lib, [(d.feeds, d.wanted)], d.check, ("forward",))


def cases(rig, full):
    for kind in FLOATS:
        if kind == "f64":
            continue
        for part in PARTS:
            if full or kind in ("f32", "f16") or part is shapes or \
                    (kind == "bf16" and part is few):
                yield f"{part.__name__}-{kind}", \
                    lambda k=kind, p=part: static(rig, k, p)
    for kind in ("f32", "f16"):
        yield f"symbolic-{kind}", lambda k=kind: symbolic(rig, k)
        yield f"nothing-{kind}", lambda k=kind: nothing_seen(rig, k)
        yield f"nothing-parts-{kind}", lambda k=kind: nothing_in_parts(rig, k)
        for m in (1, 33):
            yield f"decoding-{kind}-{m}", \
                lambda k=kind, n=m: decoding(rig, k, n)
    yield "shapes-f16-sm_75", lambda: static(rig, "f16", shapes, "sm_75")
    yield "few-bf16-sm_75", lambda: static(rig, "bf16", few, "sm_75")
