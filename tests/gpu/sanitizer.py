# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's compute-sanitizer over calls of small models on a GPU."""
import os
import shutil

import contractions
from rig import as_call, expect, outputs

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin")
FOUND = 86              # what it exits with when it found something


def find():
    """Its path, or None."""
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(PLACES))


def copies(d):
    d.floats("Gemm", [(33, 136), (70, 136)], transB=1)


def turned(d):
    d.floats("MatMul", [(33, 65), (65, 31)])


def window(d):
    d.floats("Conv", [(2, 5, 9, 11), (33, 5, 3, 3), (33,)], pads=[1] * 4)


def chain(d):
    """Rows by the block, behind a product."""
    d.floats("MatMul", [(5, 40), (40, 300)])
    d.nodes[-1].output[0] = "h"
    w, exact = d.wanted[-1].astype("f8"), d.bounds[-1][1]
    e = [x - x.max(1, keepdims=True) for x in (w, exact)]
    e = [2.71828182845904523536 ** x for x in e]
    e = [x / x.sum(1, keepdims=True) for x in e]
    d.nodes.append(contractions.helper.make_node("Softmax", ["h"], ["y0"]))
    d.wanted[-1], d.bounds[-1] = e[0].astype("f4"), (1e-4 * e[1], e[1])


# (name, what is multiplied, of which floats, architecture)
MODELS = (("copies-f16", copies, "f16", "sm_80"),
          ("copies-tf32", copies, "tf32", "sm_80"),
          ("turned-f16", turned, "f16", "sm_80"),
          ("turned-f32", turned, "f32", "sm_80"),
          ("window-f16", window, "f16", "sm_80"),
          ("rows", chain, "f32", "sm_80"),
          ("copies-f16-sm_90a", copies, "f16", "sm_90a"))


def checked(rig, path, tool, name, make, kind, arch):
    """Two calls in one session: one that captures, one that replays."""
    d = contractions.Deck(kind, 6)
    make(d)
    prefix = f"{tool}_{name}".replace("-", "_")
    options = ["--fp32=tf32"] if kind == "tf32" else []
    lib = rig.library(d.model(), prefix, arch, options)
    log = rig.path(prefix + ".log")
    under = (path, "--tool=" + tool, f"--error-exitcode={FOUND}",
             "--log-file=" + log)
    answers, said = rig.calls(lib, [as_call(d.feeds, d.wanted)] * 2, under,
                              log)
    for answer in answers:
        why = d.check(0, d.wanted, outputs(answer, d.wanted, said))
        expect(not why, why)


def cases(rig, full):
    path = find()
    if not path:
        print("skipped: compute-sanitizer is not found on PATH, nor in "
              + " or ".join(PLACES))
        return
    for name, make, kind, arch in MODELS:
        for tool in TOOLS if rig.runs(arch) else ():
            yield f"{tool}-{name}", lambda t=tool, r=(name, make, kind, arch): \
                checked(rig, path, t, *r)
