# SPDX-License-Identifier: Apache-2.0
"""Instructions of arithmetic and bits against numpy."""
from fractions import Fraction

import numpy as np

import one

EDGES = {
    32: [0, 1, 2, 3, 5, 7, 31, 32, 33, 63, 64, 127, 128, 255, 256, 32767,
         32768, 65535, 65536, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001,
         0xfffffffe, 0xffffffff],
    64: [0, 1, 2, 3, 7, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
         0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff],
    16: [0, 1, 2, 7, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535],
}
FLOATS = [0.0, -0.0, 1.0, -1.0, 1.5, 0.1, -2.75, 3e38, -3e38, 1e-40, -1e-44,
          1e-38, np.inf, -np.inf, np.nan, 65504.0, 7.0, 1e10, 0.5]


def pairs(bits, kind):
    rng = np.random.default_rng(bits)
    u = np.dtype(f"u{bits // 8}")
    e = np.array(EDGES[bits], u)
    a, b = (x.ravel() for x in np.meshgrid(e, e))
    r = rng.integers(0, 1 << 62, 600).astype(np.uint64)
    a = np.concatenate([a, (r[:300] * 5).astype(u)])
    b = np.concatenate([b, (r[300:] * 3).astype(u)])
    return a.view(f"{kind}{bits // 8}"), b.view(f"{kind}{bits // 8}")


def floats(t):
    rng = np.random.default_rng(3)
    e = np.array(FLOATS, t)
    a, b = (x.ravel() for x in np.meshgrid(e, e))
    r = np.concatenate([a, rng.normal(size=500).astype(t)])
    return r, np.concatenate([b, rng.normal(size=500).astype(t) * 100])


def same(env, name, got, want):
    want = np.asarray(want)
    ok = got == want
    if got.dtype.kind == "f":
        ok |= np.isnan(got) & np.isnan(want)
        ok &= (np.signbit(got) == np.signbit(want)) | np.isnan(got)
    bad = np.flatnonzero(~ok)
    env.check(name, not len(bad), "" if not len(bad) else
              f"{len(bad)} differ, {bad[0]}: {got[bad[0]]} {want[bad[0]]}")


def divide(a, b):
    """C's division; by zero gives all ones, the least by -1 itself."""
    x, y = a.astype(object), b.astype(object)
    q = [-1 if not v else abs(u) // abs(v) * (1 if (u < 0) == (v < 0) else -1)
         for u, v in zip(x, y)]
    bits = 8 * a.itemsize
    return np.array([v & ((1 << bits) - 1) for v in q],
                    f"u{a.itemsize}").view(a.dtype)


def remainder(a, b):
    x, y = a.astype(object), b.astype(object)
    bits = 8 * a.itemsize
    r = [u if not v else abs(u) % abs(v) * (-1 if u < 0 else 1)
         for u, v in zip(x, y)]
    return np.array([v & ((1 << bits) - 1) for v in r],
                    f"u{a.itemsize}").view(a.dtype)


def wrap(values, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    return np.array([int(v) & ((1 << bits) - 1) for v in values],
                    f"u{bits // 8}").view(dtype)


def integers(env):
    for bits in (16, 32, 64):
        for kind in "ui":
            a, b = pairs(bits, kind)
            t = f"{'s' if kind == 'i' else 'u'}{bits}"
            x, y = a.astype(object), b.astype(object)
            ops = {
                f"add.{t}": x + y, f"sub.{t}": x - y,
                f"mul.lo.{t}": x * y,
                f"mul.hi.{t}": [p >> bits for p in x * y],
                f"min.{t}": np.minimum(a, b), f"max.{t}": np.maximum(a, b),
                f"div.{t}": divide(a, b), f"rem.{t}": remainder(a, b),
            }
            for op, want in ops.items():
                same(env, op, one.run(env, op, a.dtype, a, b),
                     wrap(want, a.dtype))
            if bits < 64:
                wide = np.dtype(f"{kind}{bits // 4}")
                same(env, f"mul.wide.{t}",
                     one.run(env, f"mul.wide.{t}", wide, a, b),
                     wrap(x * y, wide))
                c = b.astype(wide)
                same(env, f"mad.wide.{t}",
                     one.run(env, f"mad.wide.{t}", wide, a, b, c),
                     wrap(x * y + c.astype(object), wide))
            if bits > 16 or kind == "i":
                op = f"mad.lo.{t}"
                same(env, op, one.run(env, op, a.dtype, a, b, b),
                     wrap(x * y + y, a.dtype))
    a, b = pairs(32, "i")
    x, y = a.astype(object), b.astype(object)
    same(env, "add.sat.s32", one.run(env, "add.sat.s32", a.dtype, a, b),
         np.clip(x + y, -2**31, 2**31 - 1).astype("i4"))
    same(env, "abs.s32", one.run(env, "abs.s32", a.dtype, a),
         wrap(abs(x), "i4"))
    same(env, "sad.s32", one.run(env, "sad.s32", a.dtype, a, b, a),
         wrap(abs(x - y) + x, "i4"))


def bits_ops(env):
    for bits in (32, 64):
        a, b = pairs(bits, "u")
        n = (b % 80).astype("u4")
        x, s = a.astype(object), n.astype(object)
        signed = a.view(f"i{bits // 8}").astype(object)
        t = a.dtype
        ops = {
            f"shl.b{bits}": (x << s, n),
            f"shr.u{bits}": (x >> s, n), f"shr.s{bits}": (signed >> s, n),
            f"and.b{bits}": (a & b, b), f"or.b{bits}": (a | b, b),
            f"xor.b{bits}": (a ^ b, b),
        }
        for op, (want, second) in ops.items():
            same(env, op, one.run(env, op, t, a, second), wrap(want, t))
        text = [f"{v:0{bits}b}" for v in x]
        same(env, f"popc.b{bits}", one.run(env, f"popc.b{bits}", "u4", a),
             np.array([v.count("1") for v in text], "u4"))
        same(env, f"clz.b{bits}", one.run(env, f"clz.b{bits}", "u4", a),
             np.array([bits - v.bit_length() for v in x], "u4"))
        same(env, f"brev.b{bits}", one.run(env, f"brev.b{bits}", t, a),
             np.array([int(v[::-1], 2) for v in text], t))
        pos, length = (b % 70).astype("u4"), (a % 67).astype("u4")
        want = [v >> int(p) & ((1 << int(k)) - 1)
                for v, p, k in zip(x, pos, length)]
        same(env, f"bfe.u{bits}",
             one.run(env, f"bfe.u{bits}", t, a, pos, length), wrap(want, t))
        m = 0xffffffff if bits == 32 else 2**64 - 1
        want = [int(v) if p >= bits else
                (int(v) & ~((1 << int(k)) - 1 << int(p)) |
                 (int(u) & ((1 << int(k)) - 1)) << int(p)) & m
                for u, v, p, k in zip(x, b, pos, length)]
        op = "bfi.b%d {d}, {a}, {b}, {c}, 7;" % bits
        want = [(int(v) & ~(127 << int(p)) | (int(u) & 127) << int(p)) & m
                if p < bits else int(v) for u, v, p in zip(x, b, pos)]
        same(env, f"bfi.b{bits}", one.run(env, op, t, a, b, pos),
             np.array(want, t))
    a, b = pairs(32, "u")
    c = (b * 7 % 71).astype("u4")
    both = b.astype(object) << 32 | a.astype(object)
    k = c.astype(object)
    same(env, "shf.l.wrap", one.run(env, "shf.l.wrap.b32", "u4", a, b, c),
         wrap((both << (k & 31)) >> 32, "u4"))
    same(env, "shf.r.clamp", one.run(env, "shf.r.clamp.b32", "u4", a, b, c),
         wrap(both >> np.minimum(k, 32), "u4"))
    for lut in (0xe8, 0x96, 0x1b):
        want = np.zeros_like(a)
        for i in range(8):
            if lut >> i & 1:
                want |= (a if i & 4 else ~a) & (b if i & 2 else ~b) & (
                    c if i & 1 else ~c)
        same(env, f"lop3 {lut:x}", one.run(env, "lop3.b32", "u4", a, b, c,
                                           tail=f", {lut}"), want)
    data = np.stack([both >> 8 * i & 255 for i in range(8)], 1)
    want = np.zeros(len(a), object)
    for i in range(4):
        sel = a >> 4 * i & 15
        byte = data[np.arange(len(a)), (sel & 7).astype(int)]
        byte = [(255 if v & 128 else 0) if s & 8 else v
                for v, s in zip(byte, sel)]
        want |= np.array(byte, object) << 8 * i
    same(env, "prmt", one.run(env, "prmt.b32", "u4", a, b, a),
         want.astype("u4"))


def float_ops(env):
    with np.errstate(all="ignore"):
        for t, n in (("f4", 32), ("f8", 64)):
            a, b = floats(t)
            ops = {"add": a + b, "sub": a - b, "mul": a * b,
                   "div.rn": a / b}
            for op, want in ops.items():
                op = f"{op}.f{n}"
                same(env, op, one.run(env, op, t, a, b), want)
            want = np.where(np.isnan(a), b, np.where(np.isnan(b), a,
                                                     np.minimum(a, b)))
            ok = (a != b) | (a != 0)
            same(env, f"min.f{n}", one.run(env, f"min.f{n}", t, a, b)[ok],
                 want[ok])
            same(env, f"sqrt.f{n}", one.run(env, f"sqrt.rn.f{n}", t, a),
                 np.sqrt(a))
            same(env, f"rcp.f{n}", one.run(env, f"rcp.rn.f{n}", t, a),
                 (1 / a).astype(t))
        zero = np.array([0.0, -0.0], "f4"), np.array([-0.0, 0.0], "f4")
        env.check("min of zeros", all(np.signbit(
            one.run(env, "min.f32", "f4", *zero))))
        env.check("max of zeros", not any(np.signbit(
            one.run(env, "max.f32", "f4", *zero))))
        a, b = floats("f4")
        wide = a.astype("f8") * b.astype("f8")
        same(env, "fma.f32", one.run(env, "fma.rn.f32", "f4", a, b,
                                     np.zeros_like(a)),
             (wide + 0.0).astype("f4"))
        tiny = abs(a) < np.float32(2.0)**-126
        flushed = np.where(tiny, np.copysign(np.float32(0), a), a)
        same(env, "add.ftz.f32",
             one.run(env, "add.ftz.f32", "f4", a, np.zeros_like(a)),
             flushed + np.float32(0))
        got = one.run(env, "add.rz.f32", "f4", a, b)
        up = one.run(env, "add.rp.f32", "f4", a, b)
        down = one.run(env, "add.rm.f32", "f4", a, b)
        exact = a.astype("f8") + b.astype("f8")
        fine = np.isfinite(exact) & (abs(exact) < 3e38)
        env.check("add rounds up and down", np.all(
            (down <= exact)[fine] & (exact <= up)[fine] &
            (abs(got) <= abs(exact))[fine]))
        for op, fn in (("ex2.approx", np.exp2), ("lg2.approx", np.log2),
                       ("sin.approx", np.sin), ("cos.approx", np.cos),
                       ("tanh.approx", np.tanh),
                       ("rsqrt.approx", lambda v: 1 / np.sqrt(v))):
            x = np.linspace(-8, 8, 999).astype("f4")
            got = one.run(env, f"{op}.f32", "f4", x)
            want = fn(x.astype("f8"))
            err = abs(got - want) / np.maximum(abs(want), 1e-6)
            env.check(op, np.all((err < 1e-6) | (np.isnan(got) &
                                                 np.isnan(want)) |
                                 (got == want)))


def halves(env):
    rng = np.random.default_rng(5)
    a = np.concatenate([np.arange(65536), rng.integers(0, 65536, 65536)])
    a = a.astype("u2").view("f2")
    b = rng.permutation(a)
    c = rng.permutation(a)
    with np.errstate(all="ignore"):
        for op, want in (("add.f16", a + b), ("sub.f16", a - b),
                         ("mul.f16", a * b)):
            same(env, op, one.run(env, op, "f2", a, b), want)
        wide = (a.astype("g") * b.astype("g") + c.astype("g")).astype("f2")
        got = one.run(env, "fma.rn.f16", "f2", a, b, c)
        # numpy rounds to double between: there the nearer one is right.
        for i in np.flatnonzero((got != wide) & np.isfinite(got)):
            exact = (Fraction(float(a[i])) * Fraction(float(b[i])) +
                     Fraction(float(c[i])))
            if (abs(Fraction(float(got[i])) - exact) <
                    abs(Fraction(float(wide[i])) - exact)):
                wide[i] = got[i]
        same(env, "fma.rn.f16", got, wide)
        x, y = (v.view("u2").astype("u4").reshape(-1, 2) for v in (a, b))
        pair = [v[:, 1] << 16 | v[:, 0] for v in (x, y)]
        got = one.run(env, "add.f16x2", "u4", *pair)
        same(env, "add.f16x2", got.view("f2"), a + b)
        same(env, "neg.f16", one.run(env, "neg.f16", "f2", a).view("u2"),
             (-a).view("u2"))
        try:
            import ml_dtypes
        except ImportError:
            return
        p, q, r = (v.view("u2").view(ml_dtypes.bfloat16) for v in (a, b, c))
        for op, want in (("add.rn.bf16", p + q), ("mul.rn.bf16", p * q)):
            got = one.run(env, op, "u2", a, b).view(ml_dtypes.bfloat16)
            same(env, op, got.astype("f4"), want.astype("f4"))


def compares(env):
    table = {"eq": np.equal, "ne": np.not_equal, "lt": np.less,
             "le": np.less_equal, "gt": np.greater,
             "ge": np.greater_equal}
    body = "setp.%s.%s %%q, {a}, {b}; selp.b32 {d}, 1, 0, %%q;"
    for t, (a, b) in (("s32", pairs(32, "i")), ("u32", pairs(32, "u")),
                      ("s16", pairs(16, "i")), ("u64", pairs(64, "u")),
                      ("s64", pairs(64, "i")), ("f32", floats("f4")),
                      ("f64", floats("f8"))):
        nan = np.isnan(a) | np.isnan(b) if t[0] == "f" else False
        for name, fn in table.items():
            want = fn(a, b) & ~nan if t[0] == "f" else fn(a, b)
            same(env, f"setp.{name}.{t}",
                 one.run(env, body % (name, t), "u4", a, b), want)
            if t[0] == "f":
                same(env, f"setp.{name}u.{t}",
                     one.run(env, body % (name + "u", t), "u4", a, b),
                     fn(a, b) | nan)
        if t[0] == "f":
            same(env, f"setp.num.{t}",
                 one.run(env, body % ("num", t), "u4", a, b), ~nan)
    a, b = pairs(32, "i")
    body = ("setp.gt.s32 %q, {a}, 5; setp.lt.and.s32 %p1|%q, {a}, {b}, !%q;"
            "selp.b32 {d}, 1, 0, %p1; selp.b32 %t1, 2, 0, %q;"
            "or.b32 {d}, {d}, %t1;")
    same(env, "setp p|q with and", one.run(env, body, "u4", a, b),
         ((a < b) & (a <= 5)) + 2 * (~(a < b) & (a <= 5)))


TESTS = [integers, bits_ops, float_ops, halves, compares]
