# SPDX-License-Identifier: Apache-2.0
"""PyTorch's forms of the generated networks, where a Python has PyTorch: they
have to give the stored results, or dlcc would be measured against something
else."""
import os
import subprocess

import networks
import timing
from rig import HERE, expect


def numbers(python):
    folders = [networks.models.generated(name, style, "small")
               for name in networks.models.NAMES
               for style in ("older", "newer")]
    done = subprocess.run(
        [python, os.path.join(HERE, "torch_numbers.py"), *folders],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    expect(done.returncode == 0, done.stdout[-500:] + done.stderr[-500:])
    return done.stdout.strip()


def cases(rig, full):
    python = timing.with_torch()
    if python:
        yield "numbers", lambda: numbers(python)
    else:
        print("skipped: no Python with PyTorch (DLCC_TORCH)")
