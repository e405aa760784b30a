# SPDX-License-Identifier: Apache-2.0
"""How often lanes of a warp ask one bank of shared memory for several words,
kernel by kernel, as the stand-in driver counts it (emulator/banks.c)."""
import collections
import os

import numpy as np

import contractions
import networks
from rig import as_call, expect, outputs

# Passes over those without a conflict: of what is read from shared memory and
# copied to it on the side, and of what registers are stored by.
Bound = collections.namedtuple("Bound", "reads stores")
FREE = Bound(1, 1)
READS = ("ld", "ldmatrix", "wgmma", "cp")

# A product's factors, as Einsum has them, and their sizes.  Rows of the right
# one lie along k in "along"; in "across" they lie along n.
ALONG, ACROSS = "bik,bjk->bij", "bik,bkj->bij"
SMALL, LARGE = (3, 136, 136, 136), (40, 256, 256, 64)
ODD = (3, 129, 131, 65)


def product(kind, equation, sizes):
    d = contractions.Deck(kind, 9)
    b, i, j, k = sizes
    shapes = [[dict(b=b, i=i, j=j, k=k)[x] for x in side]
              for side in equation.split("->")[0].split(",")]
    d.floats("Einsum", shapes, equation=equation)
    return d


def window(kind):
    d = contractions.Deck(kind, 9)
    d.floats("Conv", [(2, 16, 15, 15), (64, 16, 3, 3)], pads=[1] * 4)
    return d


def integers(const):
    d = contractions.Deck(None, 3)
    a = d.rng.integers(0, 256, (136, 136)).astype(np.uint8)
    b = d.rng.integers(-128, 128, (136, 136)).astype(np.int8)
    d.node("MatMulInteger", [d.give(a), d.give(b, const)],
           contractions.wrapped(a.astype(np.int64) @ b), None,
           "MatMulInteger")
    return d


def rows(op, wanted):
    d = contractions.Deck("f32", 4)
    x = d.rng.standard_normal((64, 1000)).astype(np.float32)
    want = wanted(x.astype(np.float64))
    d.node(op, [d.give(x)], want.astype(np.float32),
           (1e-5 * np.abs(want) + 1e-6, want), op,
           **({"axis": -1} if op == "Softmax" else {"axes": [1]}))
    return d


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def counts(path):
    """{(kernel, opcode): (passes at best, passes)} of a file."""
    found = {}
    with open(path) as f:
        for line in f:
            kernel, _, op, _, least, passes = line.split()
            held = found.setdefault((kernel, op), [0, 0])
            held[0] += int(least)
            held[1] += int(passes)
    return found


def conflicts(rig, name, deck, arch, options, bound, must):
    """What a model's kernels do; `must` is an opcode that has to be there."""
    path = rig.path(f"banks_{name}")
    lib = rig.library(deck.model(), "of_banks_" + name.replace("-", "_"),
                      arch, options)
    answers, said = rig.calls(
        lib, [as_call(deck.feeds, deck.wanted)], DLCC_EMU_BANKS=path)
    why = deck.check(0, deck.wanted, outputs(answers[0], deck.wanted, said))
    expect(not why, why)
    found = counts(path)
    os.remove(path)
    expect(any(op.split(".")[0] == must for _, op in found),
           f"no {must}: {sorted(op for _, op in found)}")
    worst = {}
    for (kernel, op), (least, passes) in sorted(found.items()):
        stem = op.split(".")[0]
        ratio = passes / least
        most = bound.reads if stem in READS else bound.stores
        expect(ratio <= most, f"{kernel}: {op} takes {ratio:.2f} times the "
               f"passes of one without conflicts, at most {most} is right")
        worst[stem] = max(worst.get(stem, 0), ratio)
    return ", ".join(f"{op} {ratio:.2f}" for op, ratio in worst.items())


def families():
    """(name, deck, architecture, options, bound, what has to be there).

    Reads are free of conflicts, but for f64, whose 16 bytes per lane cover
    twice the banks.  So are copies on the side.  What goes by way of
    registers conflicts where it is turned."""
    for kind, fma in (("f32", Bound(1, 2)), ("f64", Bound(1.5, 4))):
        for form, equation, sizes in (
                ("along", ALONG, SMALL), ("across", ACROSS, SMALL),
                ("large", ACROSS, LARGE), ("odd", ACROSS, ODD)):
            yield f"{kind}-{form}", product(kind, equation, sizes), "sm_80", \
                [], fma, "ld"
    for kind in ("f16", "bf16", "tf32", "tf32x3"):
        options = ["--fp32=" + kind] if kind.startswith("tf32") else []
        yield f"{kind}-along", product(kind, ALONG, SMALL), "sm_80", \
            options, FREE, "cp"
        for form, sizes, stores in (("across", SMALL, 4), ("odd", ODD, 4)):
            yield f"{kind}-{form}", product(kind, ACROSS, sizes), "sm_80", \
                options, Bound(1, stores), "ldmatrix"
        # Half floats are turned by ldmatrix.
        yield f"{kind}-large", product(kind, ACROSS, LARGE), "sm_80", \
            options, Bound(1, 16) if options else FREE, \
            "ldmatrix" if options else "cp"
    yield "f16-sm_75", product("f16", ACROSS, SMALL), "sm_75", [], \
        Bound(1, 4), "ldmatrix"
    for kind in ("f16", "bf16"):
        for form, equation in (("along", ALONG), ("across", ACROSS)):
            yield f"wgmma-{kind}-{form}", \
                product(kind, equation, (36, 136, 144, 136)), "sm_90a", [], \
                FREE, "wgmma"
    yield "window-f32", window("f32"), "sm_80", [], Bound(1, 2), "ld"
    yield "window-f16", window("f16"), "sm_80", [], Bound(1, 4), "ldmatrix"
    yield "integers", integers(False), "sm_80", [], Bound(1, 4), "ldmatrix"
    yield "integers-const", integers(True), "sm_80", [], FREE, "ldmatrix"
    yield "softmax", rows("Softmax", softmax), "sm_80", [], FREE, "ld"


SHORT = ("f32-large", "f64-across", "f16-along", "f16-large", "tf32-odd",
         "wgmma-f16-across", "window-f16", "integers", "softmax")


def network(rig, name, arch):
    """All kernels of a network: what they read does not conflict."""
    path, sets = networks.stored(name, "newer")
    banks = rig.path(f"banks_{name}_{arch}")
    lib = rig.library(path, f"of_banks_{name}_{arch}", arch,
                      ["--precision=fp16"])
    feeds, wanted = sets[0]
    rig.calls(lib, [as_call(feeds, wanted)], DLCC_EMU_BANKS=banks,
              DLCC_EMU_RACES="0")
    found = counts(banks)
    os.remove(banks)
    expect(found, "no kernel uses shared memory")
    for (kernel, op), (least, passes) in found.items():
        expect(op.split(".")[0] not in READS or passes == least,
               f"{kernel}: {op} {passes / least:.2f}")
    least, passes = (sum(n) for n in zip(*found.values()))
    return f"{passes / least:.2f} of the passes without conflicts"


def cases(rig, full):
    for name, *row in families():
        if full or name in SHORT:
            yield name, lambda n=name, r=row: conflicts(rig, n, *r)
    for name in networks.models.NAMES if full else ("minilm_l6",):
        yield "network-" + name, lambda n=name: network(rig, n, "sm_90a")
