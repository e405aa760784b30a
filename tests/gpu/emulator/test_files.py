# SPDX-License-Identifier: Apache-2.0
"""Kernels written by hand in PTX, for machines without NVRTC."""
import ctypes
import os

import numpy as np

from test_block import each_order

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, name), "rb") as f:
        return f.read()


def total(env):
    d = env.driver
    f = d.function(d.load(read("sum.ptx")), "sum")
    a = np.random.default_rng(0).integers(-99, 99, 1000).astype("f4")

    def test(order):
        for n in (1, 127, 128, 1000):
            out = np.zeros(1, "f4")
            d.launch(f, (1,), (128,), (a, out, ctypes.c_uint(n)))
            env.check(f"sum of {n}, {order}", out[0] == a[:n].sum())
    each_order(env, test)
    text = read("sum.ptx").replace(b"bar.sync 0;", b"")
    f = d.function(d.load(text), "sum")
    env.fails("sum without its barrier", 719, "race on shared memory",
              lambda: d.launch(f, (1,), (128,), (a, np.zeros(1, "f4"),
                                                 ctypes.c_uint(1000))))


def tile(env):
    d = env.driver
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=s).astype("f2") for s in ((16, 16), (16, 8)))
    out = np.zeros((16, 8), "f4")
    f = d.function(d.load(read("tile.ptx")), "tile")
    d.launch(f, (1,), (32,), (a.view("u2"), b.view("u2"), out))
    env.close("tile", out, a.astype("f8") @ b.astype("f8"), 1e-6)
    text = read("tile.ptx").replace(b"cp.async.wait_group 0;", b"")
    f = d.function(d.load(text), "tile")
    env.fails("tile without its wait", 719, "copy under way",
              lambda: d.launch(f, (1,), (32,), (a.view("u2"), b.view("u2"),
                                                out)))


TESTS = [total, tile]
