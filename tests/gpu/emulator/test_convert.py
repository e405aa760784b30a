# SPDX-License-Identifier: Apache-2.0
"""Conversions against numpy and exact arithmetic."""
import math

import numpy as np

import one
from test_arith import EDGES, same

INTS = {"u8": "u1", "s8": "i1", "u16": "u2", "s16": "i2", "u32": "u4",
        "s32": "i4", "u64": "u8", "s64": "i8"}


def bits_of(name):
    return int(name[1:])


def edges(name):
    e = EDGES[64] + EDGES[32] + EDGES[16]
    mask = (1 << bits_of(name)) - 1
    return np.array([v & mask for v in e], f"u{bits_of(name) // 8}").view(
        INTS[name])


def narrow(values, name):
    mask = (1 << bits_of(name)) - 1
    return np.array([int(v) & mask for v in values],
                    f"u{bits_of(name) // 8}").view(INTS[name])


def clamp(values, name):
    t = np.iinfo(INTS[name])
    return np.array([min(max(int(v), t.min), t.max) for v in values],
                    INTS[name])


def integers(env):
    for src in INTS:
        a = edges(src)
        for dst in INTS:
            same(env, f"cvt.{dst}.{src}",
                 one.run(env, f"cvt.{dst}.{src}", INTS[dst], a),
                 narrow(a, dst))
            same(env, f"cvt.sat.{dst}.{src}",
                 one.run(env, f"cvt.sat.{dst}.{src}", INTS[dst], a),
                 clamp(a, dst))


def to_int(x, mode):
    return {"rni": round, "rzi": math.trunc, "rmi": math.floor,
            "rpi": math.ceil}[mode](x)


def from_floats(env):
    rng = np.random.default_rng(9)
    for n, t in ((32, "f4"), (64, "f8"), (16, "f2")):
        with np.errstate(over="ignore"):
            a = np.concatenate([
                rng.normal(size=400) * 10.0 ** rng.integers(-2, 21, 400),
                [0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 2.0**31,
                 -2.0**31, 2.0**32, 2.0**63, 2.0**64, -2.0**63, np.inf,
                 -np.inf]]).astype(t)
        for dst in INTS:
            if bits_of(dst) == 8 and n == 16:
                continue
            for mode in ("rni", "rzi", "rmi", "rpi"):
                want = [x if math.isinf(x) else to_int(float(x), mode)
                        for x in a]
                info = np.iinfo(INTS[dst])
                want = [info.max if x == math.inf else
                        info.min if x == -math.inf else x for x in want]
                same(env, f"cvt.{mode}.{dst}.f{n}",
                     one.run(env, f"cvt.{mode}.{dst}.f{n}", INTS[dst], a),
                     clamp(want, dst))
    nan = np.array([np.nan], "f4")
    same(env, "cvt.rzi.s32.f32 of nan",
         one.run(env, "cvt.rzi.s32.f32", "i4", nan), [0])


def to_floats(env):
    for src in INTS:
        a = edges(src)
        for n, t in ((32, "f4"), (64, "f8")):
            # Through exact integers, since numpy may round twice.
            want = [np.float64(int(v)) if n == 64 else
                    np.float32(round_f32(int(v))) for v in a]
            same(env, f"cvt.rn.f{n}.{src}",
                 one.run(env, f"cvt.rn.f{n}.{src}", t, a),
                 np.array(want, t))


def round_f32(v):
    """An integer to 24 bits, ties to even."""
    if v < 0:
        return -round_f32(-v)
    shift = max(v.bit_length() - 24, 0)
    q, r = v >> shift, v & ((1 << shift) - 1)
    half = 1 << shift >> 1
    if shift and (r > half or (r == half and q & 1)):
        q += 1
    return q << shift


def halves(env):
    h = np.arange(65536, dtype="u2").view("f2")
    same(env, "cvt.f32.f16", one.run(env, "cvt.f32.f16", "f4", h),
         h.astype("f4"))
    same(env, "cvt.f64.f16", one.run(env, "cvt.f64.f16", "f8", h),
         h.astype("f8"))
    b = np.arange(65536, dtype="u2")
    same(env, "cvt.f32.bf16", one.run(env, "cvt.f32.bf16", "f4", b),
         (b.astype("u4") << 16).view("f4"))
    # All halves, the points between them and a little to either side.
    with np.errstate(all="ignore"):
        x = h.astype("f4")
        finite = np.sort(x[np.isfinite(x)])
        mid = (finite[1:] + finite[:-1]) / 2
        near = np.concatenate([finite, mid, np.nextafter(mid, np.inf),
                               np.nextafter(mid, -np.inf),
                               np.array([65519.9, 65520, 1e6, np.inf,
                                         -np.inf, np.nan], "f4")])
        near = near.astype("f4")
        want = near.astype("f2")
        same(env, "cvt.rn.f16.f32", one.run(env, "cvt.rn.f16.f32", "f2",
                                            near), want)
        same(env, "cvt.rn.f16.f64", one.run(env, "cvt.rn.f16.f64", "f2",
                                            near.astype("f8")), want)
        down = one.run(env, "cvt.rm.f16.f32", "f2", near)
        up = one.run(env, "cvt.rp.f16.f32", "f2", near)
        toward = one.run(env, "cvt.rz.f16.f32", "f2", near)
        ok = np.isfinite(near)
        env.check("cvt.rm/rp/rz.f16.f32", np.all(
            (down.astype("f4") <= near)[ok] & (near <= up.astype("f4"))[ok] &
            (abs(toward.astype("f4")) <= abs(near))[ok]))
        pair = one.run(env, "cvt.rn.f16x2.f32", "u4", near, near[::-1])
        same(env, "cvt.rn.f16x2.f32", (pair >> 16).astype("u2").view("f2"),
             want)
        same(env, "cvt.rn.f16x2.f32, low",
             (pair & 65535).astype("u2").view("f2"), want[::-1])
    u = near.view("u4").astype("u8")
    bf = ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype("u2")
    got = one.run(env, "cvt.rn.bf16.f32", "u2", near)
    num = ~np.isnan(near)
    same(env, "cvt.rn.bf16.f32", got[num], bf[num])
    tf = one.run(env, "cvt.rna.tf32.f32", "u4", near)
    want = ((near.view("u4").astype("u8") + 0x1000) & 0xffffe000).astype("u4")
    ok = np.isfinite(near)
    same(env, "cvt.rna.tf32.f32", tf[ok], want[ok])
    f8(env, near)


def f8(env, near):
    try:
        import ml_dtypes
    except ImportError:
        return
    near = near[np.isfinite(near)]
    for name, t in (("e4m3x2", ml_dtypes.float8_e4m3fn),
                    ("e5m2x2", ml_dtypes.float8_e5m2)):
        top = float(ml_dtypes.finfo(t).max)
        want = np.clip(near, -top, top).astype(t).view("u1")
        got = one.run(env, f"cvt.rn.satfinite.{name}.f32", "u2", near, near)
        same(env, f"cvt.rn.satfinite.{name}.f32", got >> 8, want)
        raw = np.arange(256, dtype="u2")
        got = one.run(env, f"cvt.rn.f16x2.{name}", "u4", raw)
        same(env, f"cvt.rn.f16x2.{name}",
             (got & 65535).astype("u2").view("f2"),
             raw.astype("u1").view(t).astype("f2"))


TESTS = [integers, from_floats, to_floats, halves]
