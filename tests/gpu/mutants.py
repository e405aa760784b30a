# SPDX-License-Identifier: Apache-2.0
"""Kernels with one bug each, which the stand-in driver has to catch: by a
wrong result, a race, a stray access, a deadlock.  The shapes have several
tiles and ragged edges.
"""
import collections
import re
import subprocess
import threading

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

import attention
import contractions
import layouts
import nvrtc
import objects
from rig import ORDERS, Missed, as_call, expect, kernels, make_model, tensor

OPTIONS = ("--std=c++17", "--fmad=false")
# Order of threads, most blocks of a kernel.
WAYS = [(order, 0) for order in ORDERS] + [("forward", 2)]
INDEX = 3
BARRIER = r"dl_barrier\(\);\s*"
RESULTS = r"(?:__align__[^;]*;\s*)?#pragma unroll\s*for \(int r"
ROW = r"\(row \* -1 [^?]*>= 0 \?"


class Subject:
    """A model, its kernels' text and how results are held to others."""

    def __init__(self, name, deck, arch="sm_80", options=(), status=0,
                 **env):
        self.name, self.deck, self.arch, self.env = name, deck, arch, env
        self.options, self.status = options, status
        self.lock, self.lib, self.text = threading.Lock(), None, None

    def prepare(self, rig):
        with self.lock:
            if not self.lib:
                model = self.deck.model()
                name = "of_" + self.name
                self.text = rig.cuda(model, name, self.arch, self.options)
                self.lib = rig.library(model, name, self.arch, self.options)

    def caught(self, rig, text, name):
        """How the text does in each way: None or what is wrong."""
        ptx = rig.path(re.sub(r"\W", "_", name) + ".ptx")
        with open(ptx, "wb") as f:
            f.write(nvrtc.compile(nvrtc.load(), text,
                                  self.arch.replace("sm", "compute"),
                                  OPTIONS).rstrip(b"\0"))
        return [self.one(rig, ptx, *way) for way in WAYS]

    def one(self, rig, ptx, order, blocks):
        d = self.deck
        try:
            answers, said = rig.calls(
                self.lib, [as_call(d.feeds, d.wanted, "device", order,
                                   blocks)], DLCC_EMU_PTX=ptx,
                DLCC_EMU_LEAKS="0", **self.env)
        except subprocess.TimeoutExpired:
            return "no end"
        except Missed as e:
            return "crash: " + str(e)
        if said:
            kind = re.search("race|deadlock|nothing is allocated|"
                             "not in the mask", said)
            return kind.group(0) if kind else said.strip()[-60:]
        status, _, data, _ = answers[0]
        if (status & 0xff) != self.status:
            return f"status {status & 0xff}"
        if status:
            return None
        got = [objects.from_bytes(b, w.dtype, w.size).reshape(w.shape)
               for b, w in zip(data, d.wanted)]
        return d.check(0, d.wanted, got) and "wrong result"


# ---- what is mutated

def product(kind, m, n, k, seed=1, batch=()):
    d = contractions.Deck(kind, seed)
    d.floats("MatMul", [(*batch, m, k), (*batch, k, n)])
    return d


def copied(m, n, k, batch):
    """Both factors have their k side by side."""
    d = contractions.Deck("f16", 9)
    d.floats("Einsum", [(batch, m, k), (batch, n, k)],
             equation="bik,bjk->bij")
    return d


def turned(a, batch):
    """Rows of b, and of a if that is "ki", are side by side."""
    d = contractions.Deck("f16", 9)
    size = dict(i=136, j=136, k=136)
    d.floats("Einsum", [[batch, *(size[x] for x in of)] for of in (a, "kj")],
             equation=f"b{a},bkj->bij")
    return d


def window():
    d = contractions.Deck("f32", 2)
    d.floats("Conv", [(2, 5, 19, 23), (33, 5, 3, 3), (33,)],
             pads=[1, 1, 1, 1])
    return d


def border():
    """Channels last, with a number around that is not 0."""
    d = contractions.Deck(None, 10)
    layouts.bytes_of_windows(d, 1)
    return d


def integers():
    d = contractions.Deck(None, 3)
    a = d.rng.integers(0, 256, (50, 150)).astype(np.uint8)
    b = d.rng.integers(-128, 128, (150, 70)).astype(np.int8)
    za = d.rng.integers(1, 256, ()).astype(np.uint8)
    sums = (a.astype(np.int64) - za) @ b.astype(np.int64)
    d.node("MatMulInteger", [d.give(a), d.give(b), d.give(za, True)],
           contractions.wrapped(sums), None, "MatMulInteger")
    return d


def soft():
    """Rows of negative numbers, each a block's."""
    d = contractions.Deck("f32", 4)
    x = (d.rng.standard_normal((5, 1000)) - 10).astype(np.float32)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    want = e / e.sum(1, keepdims=True)
    d.node("Softmax", [d.give(x)], want.astype(np.float32),
           (1e-5 * want, want), "Softmax", axis=-1)
    return d


def peaks():
    """The same with one fold a row."""
    d = contractions.Deck("f32", 8)
    x = (d.rng.standard_normal((5, 1200)) - 10).astype(np.float32)
    x[range(5), [513, 500, 27, 999, 0]] = -1, -2, -3, -4, -5
    d.node("ReduceMax", [d.give(x), d.give(np.array([1]), True)], x.max(1),
           None, "ReduceMax", keepdims=0)
    return d


def few_rows():
    """Warps along k, which is odd: neighbours at once, then what is left."""
    d = contractions.Deck("f32", 9)
    d.floats("Gemm", [(1, 133), (40, 133), (40,)], transB=1)
    return d


def flat():
    """A point for each thread, in two dims."""
    d = contractions.Deck("f32", 5)
    x, y = (d.rng.standard_normal(s).astype(np.float32)
            for s in ((7, 129), (7, 1)))
    d.node("Sub", [d.give(x), d.give(y)], x - y, None, "Sub")
    return d


def elements():
    """Vectors of them for threads, and three that are left."""
    d = contractions.Deck("f32", 5)
    x, y = (d.rng.standard_normal(4 * 512 * 108 + 3).astype(np.float32)
            for _ in range(2))
    d.node("Sub", [d.give(x), d.give(y)], x - y, None, "Sub")
    return d


def columns():
    """A fold of several columns for each thread."""
    d = contractions.Deck("f32", 5)
    x = d.rng.standard_normal((5, 4 * 256 * 108)).astype(np.float32)
    d.node("ReduceMax", [d.give(x), d.give(np.array([0]), True)], x.max(0),
           None, "ReduceMax", keepdims=0)
    return d


def gather(most):
    d = contractions.Deck("f32", 6)
    x = d.rng.standard_normal((9, 40)).astype(np.float32)
    at = d.rng.integers(-9, most, 30)
    at[17] = most - 1
    want = x[np.clip(at, -9, 8)]
    d.node("Gather", [d.give(x), d.give(at)], want, None, "Gather", axis=0)
    return d


def narrow():
    """Halves between two bfloat16, and a NaN of few bits."""
    d = contractions.Deck("f32", 7)
    bits = d.rng.integers(0x3f80, 0x4000, 300).astype(np.uint32) << 16
    bits[::3] |= 0x8000
    bits[1::3] |= 0x7fff
    bits[5] = 0x7f800001
    x = bits.view(np.float32)
    with np.errstate(invalid="ignore"):
        want = x.astype(ml_dtypes.bfloat16)
    d.node("Cast", [d.give(x)], want, None, "Cast",
           to=TensorProto.BFLOAT16)
    return d


def attend(kind):
    """Several steps of keys, of which some queries see the later ones alone;
    ragged sides."""
    d = attention.Deck(kind, 10)
    d.op(1, 2, 50, 150, 40, 24, mask="some")
    return d


def causal(kind):
    """Keys that no query of a block sees are not walked over."""
    d = attention.Deck(kind, 10)
    d.op(1, 2, 130, 150, 16, 24, causal=1)
    return d


def decode(kind):
    """Few queries of keys in parts, of which some see the last ones alone;
    two heads share keys."""
    d = attention.Deck(kind, 10)
    d.op(1, 4, 3, 700, 40, 24, heads=2, mask="some")
    return d


def parts(kind):
    """Tiles of parts of the keys."""
    d = attention.Deck(kind, 10)
    d.op(1, 2, 40, 700, 40, 24, mask="some")
    return d


SUBJECTS = {s.name: s for s in (
    Subject("f16", product("f16", 50, 70, 100)),
    Subject("bf16", product("bf16", 50, 70, 100)),
    Subject("turing", product("f16", 50, 70, 100), "sm_75"),
    Subject("f32", product("f32", 50, 70, 45)),
    Subject("f64", product("f64", 50, 70, 45)),
    Subject("wide", product("f32", 140, 150, 12, batch=(27,))),
    Subject("stages", copied(50, 70, 264, 2)),
    # Enough tiles for those of two warpgroups.
    Subject("hopper", copied(130, 250, 136, 60), "sm_90a",
            DLCC_EMU_MAPS="0"),
    Subject("turned", turned("ki", 10)),
    Subject("turned90", turned("ki", 20), "sm_90a"),
    Subject("boxes", contractions.boxed("f16", 1), "sm_90a"),
    Subject("tf32x3", product("f32", 50, 70, 100),
            options=["--fp32=tf32x3"]),
    Subject("window", window()),
    Subject("border", border()),
    Subject("integers", integers()),
    Subject("soft", soft()),
    Subject("peaks", peaks()),
    Subject("few", few_rows()),
    Subject("flat", flat()),
    Subject("elements", elements()),
    Subject("columns", columns()),
    Subject("gather", gather(9)),
    Subject("outside", gather(10), status=INDEX),
    Subject("narrow", narrow()),
    Subject("narrow75", narrow(), "sm_75"),
    Subject("attend", attend("f32")),
    Subject("attend16", attend("f16")),
    Subject("causal", causal("f32")),
    Subject("causal16", causal("f16")),
    Subject("decode", decode("f32")),
    Subject("decode16", decode("f16")),
    Subject("parts", parts("f32")),
    Subject("parts16", parts("f16")),
    Subject("attend32", attend("tf32"), options=["--fp32=tf32"]),
)}

Mutant = collections.namedtuple("Mutant", "subject name old new which")


def m(subject, name, old, new="", which=0):
    """The which-th match of `old`, from behind below 0, or all where that is
    None."""
    return Mutant(subject, name, old, new, which)


def guards(subject, rows, columns):
    """Those of loads and stores; `rows`, `columns`: what ends them."""
    yield m(subject, "no row guard", ROW, "true ?")
    yield m(subject, "no column guard", ROW, "true ?", 1)
    yield m(subject, "no k guard of a", r"if \(k < \d+\)", "if (true)")
    yield m(subject, "no k guard of b", r"if \(k < \d+\)", "if (true)", 1)
    yield m(subject, "no row guard of the store",
            r"if \(\(m [^&]*>= 0 && ", "if (")
    yield m(subject, "no column guard of the store",
            r"(if \(\(m [^&]*>= 0) && \(n .*", r"\1)")
    yield m(subject, "a row too many", rf"\+ {rows - 1}\) >= 0 \?",
            f"+ {rows}) >= 0 ?")
    yield m(subject, "a column too few", rf"\+ {columns - 1}\) >= 0 \?",
            f"+ {columns - 2}) >= 0 ?")


def stages(subject):
    """Copies on the side, three steps of k at a time."""
    yield m(subject, "waits for one copy less", r"dl_copy_wait<1>",
            "dl_copy_wait<2>")
    yield m(subject, "no barrier between the steps",
            BARRIER + r"(?=const int next)")
    yield m(subject, "copies to the stage that is read",
            r"load_a\(next, \(stage \+ 2\)", "load_a(next, (stage + 0)")
    yield m(subject, "copies to the next stage",
            r"load_b\(next, \(stage \+ 2\)", "load_b(next, (stage + 1)")
    yield m(subject, "the first stage twice", r"load_b\(s \* 64, s\)",
            "load_b(0, s)")
    yield m(subject, "b is not swizzled", r"\^ row % 8;", ";", 1)
    yield m(subject, "no row guard", r"(bool there = )\(row[^&]*>= 0 &&",
            r"\1")
    yield m(subject, "no column guard", r"(bool there = )\(row[^&]*>= 0 &&",
            r"\1", 1)
    yield m(subject, "no k guard", r"(bool there = .*) && k < \d+", r"\1")
    yield m(subject, "zeros are copied", r"there \? 16 : 0", "16")
    yield m(subject, "no column guard of the store",
            r"(if \(\(m [^&]*>= 0) && \(n .*", r"\1)")


def boxes(subject):
    """Copies of boxes to a ring of stages, and products on their way; the last
    kernel has indices of 32 bits."""
    def m(*args, which=-1):
        return Mutant(subject, *args, which)

    yield m("a stage is released before its products",
            r"(dl_wgmma_wait<1>\(\);\s*)(dl_phases_arrive\(empty \+ last, "
            r"k0 )(&& lane == 0\);\s*last = stage;)",
            r"last = stage; \2 + 1 \3 \1")
    yield m("the wait is one group short", r"dl_wgmma_wait<1>",
            "dl_wgmma_wait<2>")
    yield m("the last wait is one group short",
            r"dl_wgmma_wait<0>\(\);(?=\s*dl_wgmma_settle)",
            "dl_wgmma_wait<1>();")
    yield m("stages are not released",
            r"dl_phases_arrive\(empty \+ last, k0 .*", ";")
    yield m("the last stage is not released",
            r"dl_phases_arrive\(empty \+ last, lane .*", ";")
    yield m("the producer's phase", r"stage, phase \^ 1\)",
            "stage, phase)")
    yield m("the consumers' phase", r"full \+ stage, phase\)",
            "full + stage, phase ^ 1)")
    yield m("phases do not change", r"phase \^= stage == 0;", "")
    yield m("fewer bytes than come", r"full \+ stage, 16384\)",
            "full + stage, 8192)")
    yield m("more bytes than come", r"full \+ stage, 16384\)",
            "full + stage, 16400)")
    yield m("one warp for all", r"full, empty, 4\)",
            "full, empty, 1)")
    yield m("b comes to the next stage", r"all_b \+ stage \* 4096, m",
            "all_b + (stage + 1) % 8 * 4096, m")
    yield m("the same k again", r"\(int\)k0, \(int\)\(i0",
            "(int)(k0 / 2), (int)(i0")
    yield m("no barrier behind the ring's", BARRIER + r"(?=if \(dl_thread)",
            "")
    yield m("rows of another tile", r"first \+ rest % n",
            "first + rest / n")
    yield m("no column guard of the store",
            r"(if \(\(m [^&]*>= 0) && \(n .*", r"\1)")


def tiles(subject):
    yield m(subject, "no barrier behind the shares", BARRIER + r"(?=if \(k0)")
    yield m(subject, "no barrier behind the products",
            BARRIER + r"(?=\}\s*" + RESULTS + ")")
    yield m(subject, "the last k is not loaded",
            r"if \(k0 \+ (\d+) < (\d+)\)", r"if (k0 + 2 * \1 < \2)")
    yield m(subject, "the same k again", r"load_b\(k0 \+ \d+\)",
            "load_b(k0)")
    yield m(subject, "rows of shared memory too short",
            r"(to = shared_b \+ .*)\b(40|36|132|80)\b", lambda x:
            f"{x[1]}{int(x[2]) - 4}")
    yield m(subject, "tiles of another row", r"q /= \(u32\)(\d+)",
            lambda x: f"q /= (u32){int(x[1]) + 1}")


def attends(subject):
    yield m(subject, "sums are not scaled", r"acc\[\w\]\[[^]]*\] \*= scale;",
            "", None)
    yield m(subject, "the total is not scaled", r"total\[r\] \*= scale;")
    yield m(subject, "the maximum of a step", r"float next = most\[r\]",
            "float next = dl_f32(0xff800000)")
    yield m(subject, "the maximum stays", r"most\[r\] = next;")
    yield m(subject, "-inf without -inf", r"\? 0\.0f : next", "? next : next")
    yield m(subject, "no key guard of scores", r"if \(n < 150\)",
            "if (n < 192)")
    yield m(subject, "a key too few", r"if \(n < 150\)", "if (n < 149)")
    yield m(subject, "a value too few", r"row < 150", "row < 149", 1)
    yield m(subject, "no query guard", r"(\(row \* -1[^>]*) >= 0",
            r"\1 >= -99")
    yield m(subject, "no query guard of the store", r"if \(\(m \* -1.*",
            "if (true)", -1)
    yield m(subject, "no column guard of the store", r"if \(e < 24\)",
            "if (true)")
    yield m(subject, "a part of the maximum", r"int d = (8|2); d; d /= 2",
            r"int d = \1 / 2; d; d /= 2")
    yield m(subject, "a part of the total", r"int d = (8|2); d; d /= 2",
            r"int d = \1 / 2; d; d /= 2", -1)
    yield m(subject, "steps left out", r"key0 \+= (64|32)",
            lambda x: f"key0 += {int(x[1]) + 32}")
    yield m(subject, "heads of another row", r"q /= \(u32\)2",
            "q /= (u32)3")


def joins(subject):
    """Keys in parts, and the kernel that joins these."""
    yield m(subject, "parts overlap", r"first = \(i\d+ \* 64",
            "first = (i0 * 60")
    yield m(subject, "parts with gaps", r"first = \(i\d+ \* 64",
            "first = (i0 * 66")
    yield m(subject, "keys of the next part", r"(limit = .*\* 64 \+) 64",
            r"\1 96")
    yield m(subject, "a part too short", r"(limit = .*\* 64 \+) 64",
            r"\1 63")
    yield m(subject, "keys beyond the last", r"dl_imin\(int\(700\)",
            "dl_imin(int(704)")
    # The join loads all maxima, finds the largest and adds up the parts.
    yield m(subject, "a part is left out", "j < 11;", "j < 10;", -1)
    yield m(subject, "a maximum is left out", "j = 0; j < 11;",
            "j = 10; j < 11;", -2)
    yield m(subject, "parts are not scaled", r"= expf\((v\d+)\)", "= 1.0f",
            -1)
    yield m(subject, "totals are not scaled", r"fmaf\(v\d+, (v\d+), v4\)",
            r"(\1 + v4)")
    yield m(subject, "maxima of other rows", r"(= \*\(b0 \+ \(i\d+ \*) \d+",
            r"\1 11", -1)


def lanes(subject):
    yield m(subject, "sums are not scaled", r"acc\[r\]\[j\] \*= scale;")
    yield m(subject, "a group's sums are not scaled",
            r"acc\[r\]\[j\] \*= scale;", "", 1)
    yield m(subject, "the total is not scaled", r"total\[r\] \*= scale;")
    yield m(subject, "a group's total is not scaled",
            r"total\[r\] \*= scale;", "", 1)
    yield m(subject, "the maximum of a step", r"float next = most\[r\]",
            "float next = dl_f32(0xff800000)")
    yield m(subject, "the maximum stays", r"most\[r\] = next;")
    yield m(subject, "a group's maximum stays", r"most\[r\] = next;", "", 1)
    yield m(subject, "-inf without -inf", r"\? 0\.0f : next", "? next : next")
    yield m(subject, "a warp's -inf without -inf", r"\? 0\.0f : top",
            "? top : top")
    yield m(subject, "no key guard of scores", r"if \(n < limit\)",
            "if (true)")
    yield m(subject, "no key guard of keys", r"row < limit", "true")
    yield m(subject, "no key guard of values", r"row < limit", "true", 1)
    yield m(subject, "no column guard of keys", r"&& col < 40", "")
    yield m(subject, "no column guard of values", r"&& col < 24", "")
    yield m(subject, "no column guard of sums", r"if \(col < 24\)",
            "if (true)")
    yield m(subject, "a column of queries too few", r"if \(col < 40\)",
            "if (col < 39)")
    yield m(subject, "a part of the product", r"int d = (8|4); d; d /= 2",
            r"int d = \1 / 2; d; d /= 2")
    yield m(subject, "a part of the maximum", r"int d = 16; d; d /= 2",
            "int d = 8; d; d /= 2")
    yield m(subject, "a part of the sums", r"int d = 16; d >=",
            "int d = 8; d >=")
    yield m(subject, "the same key for all", r"(row = .*) \+ group", r"\1")
    yield m(subject, "the same value for all", r"(row = .*) \+ group", r"\1",
            1)
    yield m(subject, "the score of another key", r"(n = key0 .*) \+ group",
            r"\1")
    yield m(subject, "steps left out", r"key0 \+= \d+", "key0 += 64")
    yield m(subject, "no barrier before the warps' sums",
            BARRIER + r"(?=if \(dl_thread\(\) % 32)")
    yield m(subject, "no barrier behind the warps' sums",
            BARRIER + r"(?=for \(int at)")
    yield m(subject, "a warp's maximum is left out", r"w < 4", "w < 3")
    yield m(subject, "a warp's sums are left out", r"w < 4", "w < 3", 1)
    yield m(subject, "a warp's total is left out", r"w < 4", "w < 3", 3)
    yield m(subject, "warps are not scaled", r"weight = .*;", "weight = 1.0f;",
            0)
    yield m(subject, "warps' totals are not scaled", r"weight = .*;",
            "weight = 1.0f;", 1)
    yield m(subject, "a column of another query", r"m = at / 24", "m = at / 25")
    yield m(subject, "a query too few", r"dl_thread\(\) < 6", "dl_thread() < 5")
    yield m(subject, "the total for the maximum", r"= top;", "= all;")
    yield m(subject, "the next element twice", r"\[j % (4|8)\]",
            r"[j / 2 * 2 % \1]")


MUTANTS = [
    *lanes("decode"), *lanes("decode16"), *joins("decode"), *joins("decode16"),
    *joins("parts"), *joins("parts16"),
    m("parts", "the maximum of another row", r"if \(tx == 0\)",
      "if (tx == 0 && ty)"),
    m("parts16", "the maximum of some rows", r"if \(lane % 4 == 0\)",
      "if (lane % 8 == 0)"),
    m("parts16", "NaN of parts", r"if \(e < 24\) \{",
      "if (e < 24) { acc[c][i] += most[i / 2] - most[i / 2];"),
    m("parts", "the first keys of all", r"load_k\(first, 0\)", "load_k(0, 0)"),
    m("parts16", "the first keys of all", r"load_k\(first, 0\)",
      "load_k(0, 0)"),
    *attends("attend"), *attends("attend16"), *attends("attend32"),
    m("causal", "too few keys", r"(limit = .*i\d \* 32 \+) 32", r"\1 0"),
    m("causal16", "too few keys", r"(limit = .*i\d \* 32 \+) 32", r"\1 0"),
    m("causal16", "keys that nobody waits for", r"if \(key0 \+ 32 < limit\)",
      "if (key0 + 32 < 150)"),
    m("attend", "no barrier before the keys",
      BARRIER + r"(?=#pragma unroll\s*for \(int e = 0)"),
    m("attend", "no barrier behind the keys", BARRIER + r"(?=if \(d0)"),
    m("attend", "no barrier before the values",
      BARRIER + r"(?=#pragma unroll\s*for \(int e = 0)", "", 1),
    m("attend", "no barrier behind the values", BARRIER + r"(?=if \(j0)"),
    m("attend", "the first columns twice", r"load_k\(key0, d0 \+ 32\)",
      "load_k(key0, 0)"),
    m("attend", "the same keys again", r"load_k\(key0 \+ 64, 0\)",
      "load_k(key0, 0)"),
    m("attend16", "keys are not waited for", r"dl_copy_wait<0>\(\);",
      "", -2),
    m("attend16", "values are not waited for", r"dl_copy_wait<0>\(\);",
      "", -1),
    m("attend16", "no barrier behind the keys", BARRIER + r"(?=load_v)"),
    m("attend16", "no barrier behind the values", BARRIER + r"(?=if \(key0)"),
    m("attend16", "no barrier behind the queries", BARRIER + r"(?=u32 x)"),
    m("attend16", "columns of values beyond the last",
      r"&& col < 24", "&& col < 28"),
    m("attend16", "exponentials in another order",
      r"s\[2 \* j \+ i / 2\]\[i % 2 \* 2", "s[2 * j + i % 2][i / 2 * 2",
      None),
    m("attend16", "pairs the other way", r'"f"\(y\), "f"\(x\)',
      '"f"(x), "f"(y)'),
    m("attend16", "values are not turned", r"x4\.trans", "x4"),
    m("attend16", "values of another key", r"lane % 16 \* row \+ lane / 16",
      "lane % 8 * row + lane / 16", -1),
    m("attend16", "keys of another tile", r"lane / 16 \* 8 \+ lane % 8",
      "lane % 8"),
    m("attend16", "powers of another base", r"1\.44269504f", "1.4f"),
    m("attend32", "exponentials in another order", r"i % 2 \* 2 \+ i / 2",
      "i", -1),
    m("attend32", "values in another order", r"lane % 4 \* 2\)",
      "lane % 4)"),
    *guards("f16", 50, 70), *tiles("f16"),
    *guards("f32", 50, 70), *tiles("f32"),
    *tiles("wide"), *tiles("integers"),
    *stages("stages"), *stages("hopper"), *boxes("boxes"),
    # Blocks that take more than one tile.
    m("stages", "no barrier behind the last step",
      BARRIER + "(?=" + RESULTS + ")"),
    m("stages", "fragments are not swizzled", r"\(chunk \^ row % 8\)",
      "chunk"),
    m("turned", "a is not turned", r"dl_matrices_turned\(a,",
      "dl_matrices(a,"),
    m("turned", "b is not turned", r"dl_matrices_turned\(b,",
      "dl_matrices(b,"),
    m("turned", "eight rows of a twice", r"lane / 8 % 2 \* 8", "0"),
    m("turned", "eight steps of a twice", r"k \* 2 \+ lane / 16 \* 8",
      "k * 2"),
    m("turned", "eight steps of b twice", r"k \* 2 \+ lane % 16",
      "k * 2 + lane % 8"),
    m("turned", "columns are not swizzled", r" \^ step % 8;", ";"),
    m("turned", "rows of another column", r"row % 64 / 8 \^ k",
      "row % 32 / 8 ^ k"),
    m("turned", "no row guard of a", r"\(row[^;?]*>= 0\)?", "true"),
    m("turned90", "a is not turned", "<1, 1>", "<0, 1>", -1),
    m("turned90", "b is not turned", "<1, 1>", "<1, 0>", -1),
    m("turned90", "descriptor of another k", r"k \* 2048", "k * 1024"),
    m("turned90", "64 rows twice", "512ull << 16", "0ull << 16"),
    m("turned90", "eight steps twice", "64ull << 32(?=.*;\n}\n\n// -)",
      "0ull << 32"),
    m("turned90", "a box over another one", r" \+ 4096, map_b", ", map_b",
      -1),
    m("turned90", "a box of the same rows",
      r"\(int\)\(i\d+ \* 128 \+ 64\)", "0", -1),
    m("hopper", "descriptor of another k", r"\+ k \* 32;", "+ k * 64;"),
    m("hopper", "descriptor of other rows", r"64ull << 32", "32ull << 32"),
    m("hopper", "descriptor without swizzle", r" \| 1ull << 62", ""),
    m("hopper", "sums are not waited for",
      r"dl_wgmma_commit\(\);\s*dl_wgmma_wait<0>\(\);",
      "dl_wgmma_commit();"),
    m("hopper", "one tile of a for all",
      r"shared_a \+ dl_thread\(\) / 128 \* \d+", "shared_a"),
    m("hopper", "rows of results", r"dl_thread\(\) / 32 \* 16",
      "dl_thread() / 32 * 8"),
    m("f16", "a fragment eight rows off", r"lane % 16 \* row",
      "lane % 8 * row"),
    m("f16", "a fragment of another k", r"lane / 16 \* 4", "0"),
    m("f16", "two fragments swapped",
      r"\{%0, %1, %2, %3\}, \[%4\]", "{%0, %2, %1, %3}, [%4]"),
    m("f16", "b's second half is its first", r"lane / 8 % 2 \* 4", "0"),
    m("f16", "mma: a swapped", r"\{%4, %5, %6, %7\}", "{%4, %6, %5, %7}"),
    m("f16", "mma: b swapped", r"\{%8, %9\}", "{%9, %8}"),
    m("f16", "mma: d swapped", r"\{%0, %1, %2, %3\}, \{%4",
      "{%2, %3, %0, %1}, {%4"),
    m("f16", "mma of bf16", r'(DL_MMA\(f16, .*)f16\.f16', r"\1bf16.bf16"),
    m("f16", "rows of results", r"e / 2 \* 8", "e % 2 * 8"),
    m("f16", "columns of results", r"\* 2 \+ e % 2", "* 2 + 1 - e % 2"),
    m("f16", "pairs at all places", r" && e % 2\)", ")"),
    m("f16", "pairs in the other order", r"pair\[e % 2\]",
      "pair[1 - e % 2]"),
    m("f16", "half of the products", r"k < 16; k \+= 8", "k < 8; k += 8"),
    m("f16", "warps on one tile", r"const int warp_n = [^;]*",
      "const int warp_n = 0"),
    m("f16", "results are cut", r"cvt\.rn\.f16", "cvt.rz.f16"),
    m("bf16", "mma of f16", r'(DL_MMA\(bf16, .*)bf16\.bf16', r"\1f16.f16"),
    m("bf16", "no barrier behind the shares", BARRIER + r"(?=if \(k0)"),
    m("turing", "halves of a swapped",
      r'"r"\(a\[2 \* i\]\), "r"\(a\[2 \* i \+ 1\]\)',
      '"r"(a[2 * i + 1]), "r"(a[2 * i])'),
    m("turing", "b's first half twice", r'"r"\(b\[i\]\)', '"r"(b[0])'),
    m("f32", "one k too few", r"for \(int k = 0; k < 16", "for (int k = 0; "
      "k < 15"),
    m("f32", "squares overlap", r"ty \* 4 \+ r / 4", "ty * 3 + r / 4"),
    m("f32", "a for b", r"fmaf\(a\[r\], b\[c\]", "fmaf(a[r], a[c]"),
    m("f64", "one k too few", r"for \(int k = 0; k < 16", "for (int k = 0; "
      "k < 15"),
    m("f64", "no barrier behind the products",
      BARRIER + r"(?=\}\s*" + RESULTS + ")"),
    m("wide", "the second square", r"c / 4 \* 64", "c / 4 * 60"),
    m("tf32x3", "a's rest is left out",
      r"dl_mma_tf32\(d, a_lo, b_hi\);"),
    m("tf32x3", "b's rest is left out",
      r"dl_mma_tf32\(d, a_hi, b_lo\);"),
    m("window", "no guard of the first row", r"\+ -1\) >= 0 && ",
      "+ 99) >= 0 && "),
    m("window", "pad of one too many", r"\+ -1\) >= 0 && ", "+ -2) >= 0 && "),
    m("window", "no guard of the last row", r"\+ 19\) >= 0 && ",
      "+ 20) >= 0 && "),
    m("window", "no guard of the last column", r"\+ 23\) >= 0 && ",
      "+ 24) >= 0 && "),
    m("window", "begins one further", r"\+ -24\)\]", "+ -23)]"),
    m("window", "no guard of the last place",
      r"\(row \* -1 \+ i0 \* -32 \+ 873\) >= 0", "true"),
    m("border", "nothing is written around",
      r"if \(!there[^;]*;\s*else\s*(dl_copy16)", r"\1"),
    m("border", "another number around", r"uint4\{0x", "uint4{1 + 0x"),
    m("border", "no guard of the first line", r"\+ -1\) >= 0 && ",
      "+ 99) >= 0 && "),
    m("border", "no guard of the last line", r"\+ 13\) >= 0 && ",
      "+ 14) >= 0 && "),
    m("border", "channels of the next tap",
      r"\(int\)\(\(u32\)\(k\) % \(u32\)\(32\)\)",
      "(int)((u32)(k + 16) % (u32)(32))"),
    m("integers", "signs of a", r"s32\.u8\.s8\.s32", "s32.s8.s8.s32"),
    m("integers", "no k guard of b", r"if \(k < \d+\)", "if (true)", 1),
    m("soft", "half of the warp", r"int d = 16", "int d = 8", 1),
    m("soft", "every other distance", r"d /= 2\)", "d /= 4)", 1),
    m("soft", "half of the lanes", r"(?<=float x, int lanes\)\n\{\n\t"
      r"return __shfl_xor_sync\()0xffffffffu", "0xffffu"),
    m("soft", "no barrier behind the parts", BARRIER + r"(?=v\d+ = part)"),
    m("soft", "no barrier behind the other parts",
      BARRIER + r"(?=v\d+ = part)", "", 1),
    m("soft", "a warp is left out", r"w < 4", "w < 3", 1),
    m("soft", "a warp twice", r"int w = 1", "int w = 0", 1),
    m("soft", "elements twice", r"\(j \* 128", "(j * 127", None),
    m("soft", "a part of the row for all", r"row0\[j\]\[v\]", "row0[0][v]",
      None),
    m("soft", "beyond the row", r"if \(i1 < 1000\)", "if (true)"),
    m("soft", "a neighbour's exponential", r"row1\[j\]\[v\](?=;)",
      "row1[j][v ^ 1]"),
    m("soft", "rows left out", r"p \+= dl_blocks\(\)",
      "p += dl_blocks() + 1"),
    m("soft", "a barrier for some", r"(part0\[dl_thread[^;]*;)(\s*\})\s*"
      r"dl_barrier\(\);", r"\1 dl_barrier();\2"),
    # Blocks that take more than one row.
    m("peaks", "no barrier before the parts", BARRIER + "(?=if)"),
    m("peaks", "no barrier behind the parts", BARRIER + r"(?=v\d+ = part)"),
    m("peaks", "half of the warp", r"int d = 16", "int d = 8"),
    m("peaks", "elements left out", r"i1 \+= 512", "i1 += 516"),
    m("peaks", "maximum from zero", r"float v0 = dl_f32\(0xff800000\)",
      "float v0 = 0"),
    m("few", "half of the warp", r"int d = 16", "int d = 8"),
    m("few", "a neighbour twice", r"(= i\d+) \+ v;", r"\1 + v / 2 * 2;"),
    m("few", "what is left is left out", r"\+ dl_thread\(\) % 32;",
      "+ 1 + dl_thread() % 32;"),
    m("few", "warps on one row", r"dl_thread\(\) / 32; p",
      "dl_thread() / 64; p"),
    m("flat", "one point too many", r"p < \(int\)points",
      "p <= (int)points"),
    m("flat", "points left out", r"(p \+= \(int\)dl_blocks\(\)) \* 128",
      r"\1 * 256"),
    m("flat", "blocks with gaps", r"(p = \(int\)dl_block\(\)) \* 128",
      r"\1 * 129"),
    m("flat", "rows of another length", r"q /= \(u32\)129", "q /= (u32)128"),
    m("elements", "nothing of what is left", r"p < \(int\)all", "p < 0"),
    m("elements", "too little of what is left", r"\(int\)points \* 4 \+",
      "1 + (int)points * 4 +"),
    m("elements", "too much of what is left", r"p < \(int\)all",
      "p <= (int)all"),
    m("elements", "vectors that overlap", r"first = p \* 4", "first = p * 3"),
    m("columns", "a neighbour's maximum", r"dl_max\(v0\[v\]",
      "dl_max(v0[v / 2 * 2]"),
    m("columns", "a row less", r"< 5;", "< 4;"),
    m("columns", "always the first row", r"i\d+ \* 110592 \+ first",
      "first"),
    m("gather", "indices from the end", r"x \+= extent", "x += 0"),
    m("outside", "no status", r"atomicMax\(status, code\)", ""),
    m("outside", "no check of indices", r"if \(\(u64\)x < \(u64\)extent\)",
      ""),
    m("outside", "one index too many", r"\(u64\)x < \(u64\)extent",
      "(u64)x <= (u64)extent"),
    m("narrow", "numbers are cut", r"cvt\.rn\.bf16\.f32", "cvt.rz.bf16.f32"),
    m("narrow75", "halves go up", r"bits \+ 0x7fff \+ \(bits >> 16 & 1\)",
      "bits + 0x8000"),
    m("narrow75", "numbers are cut", r"bits \+ 0x7fff \+ \(bits >> 16 & 1\)",
      "bits"),
    m("narrow75", "NaN of few bits", "return 0x7fff;",
      "return (u16)(bits >> 16);"),
]


def mutated(text, mutant):
    found = list(re.finditer(mutant.old, text))
    which = mutant.which or 0
    expect(-len(found) <= which < len(found), f"\"{mutant.old}\" is in the "
           f"kernels {len(found)} times")
    if mutant.which is None:
        return re.sub(mutant.old, mutant.new, text)
    at = found[which]
    new = mutant.new(at) if callable(mutant.new) else \
        at.expand(mutant.new)
    return text[:at.start()] + new + text[at.end():]


def control(rig, subject):
    """The text as it is passes in each way."""
    subject.prepare(rig)
    bad = [f"{order} {blocks}: {why}" for (order, blocks), why in
           zip(WAYS, subject.caught(rig, subject.text, subject.name)) if why]
    expect(not bad, "; ".join(bad))
    return f"{len(kernels(subject.text)[1])} kernels"


def kill(rig, mutant):
    subject = SUBJECTS[mutant.subject]
    subject.prepare(rig)
    text = mutated(subject.text, mutant)
    found = [why for why in subject.caught(
        rig, text, f"{mutant.subject} {mutant.name}") if why]
    expect(found, "SURVIVES")
    kinds = collections.Counter(found)
    return ", ".join(f"{why} {n}/{len(WAYS)}" for why, n in kinds.items())


def cases(rig, full):
    slow = () if full else ("wide", "f64", "hopper")
    for name, subject in SUBJECTS.items():
        if name not in slow:
            yield "none-" + name, lambda s=subject: control(rig, s)
    for mutant in MUTANTS:
        if mutant.subject not in slow:
            yield f"{mutant.subject}: {mutant.name}", \
                lambda x=mutant: kill(rig, x)
