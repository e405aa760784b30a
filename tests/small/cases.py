# SPDX-License-Identifier: Apache-2.0
"""Models with inputs and the outputs that numpy and ml_dtypes compute."""
import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

import objects

F32, F16, BF16 = np.float32, np.float16, ml_dtypes.bfloat16
FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz,
          ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]
E8M0, F4 = ml_dtypes.float8_e8m0fnu, ml_dtypes.float4_e2m1fn
SMALL = [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2]
RANGE = {np.int8: (-128, 127), np.uint8: (0, 255), np.int16: (-32768, 32767),
         np.uint16: (0, 65535), SMALL[0]: (-8, 7), SMALL[1]: (0, 15),
         SMALL[2]: (-2, 1), SMALL[3]: (0, 3)}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 3e9, -3e9, 3e38, -3e38, 1e-45,
           -1e-45, 1e-40, 2.0 ** 24 + 2, 2.0 ** 31, -2.0 ** 31]


class Case:
    def __init__(self, name, nodes, feeds, want, free=None):
        """free: of each input and output, which axis may be cut."""
        self.name, self.feeds, self.want = name, feeds, want
        self.free, self.nodes = free, nodes
        self.parts = [name] * len(want)

        def info(name, a, k):
            dims = [f"n{k}_{i}" for i in range(a.ndim)]
            return helper.make_tensor_value_info(name, code(a.dtype), dims)
        graph = helper.make_graph(
            nodes, "g", [info(n, a, k) for k, (n, a) in
                         enumerate(feeds.items())],
            [info(f"y{k}" if len(want) > 1 else "y", a, 100 + k)
             for k, a in enumerate(want)])
        self.model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 25)],
            ir_version=13)
        if free is None:
            self.part = None

    def part(self, step):
        def cut(a, axis):
            return a if axis is None else \
                a[(slice(None),) * axis + (slice(0, None, step),)]
        n = len(self.feeds)
        part = Case.__new__(Case)
        part.feeds = {k: cut(a, axis) for (k, a), axis in
                      zip(self.feeds.items(), self.free)}
        part.want = [cut(a, axis) for a, axis in
                     zip(self.want, self.free[n:])]
        return part


def joined(cases):
    """One model of several, as each costs a process or two."""
    nodes, feeds, want, parts, free = [], {}, [], [], ([], [])
    for k, case in enumerate(cases):
        names = {o.name: f"y{len(want) + i}"
                 for i, o in enumerate(case.model.graph.output)}
        for node in case.nodes:
            for values in (node.input, node.output):
                values[:] = [names.get(v, f"m{k}{v}") for v in values]
            nodes.append(node)
        feeds.update((f"m{k}{n}", a) for n, a in case.feeds.items())
        want += case.want
        parts += case.parts
        free[0].extend(case.free[:len(case.feeds)])
        free[1].extend(case.free[len(case.feeds):])
    case = Case(" | ".join(c.name for c in cases), nodes, feeds, want,
                free[0] + free[1])
    case.parts = parts
    return case


def in_groups(cases, size=8):
    """Those of free shapes and without constants together."""
    some = []
    for case in cases:
        if not case.part or case.model.graph.initializer:
            yield case
            continue
        some.append(case)
        if len(some) == size:
            yield joined(some)
            some = []
    if some:
        yield joined(some)


def code(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def short(dtype):
    return np.dtype(dtype).name


def is_float(dtype):
    return np.dtype(dtype).kind == "f" or dtype in (BF16, E8M0, F4, *FLOAT8)


def bits(a):
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")


def difference(case, got):
    for part, want, have in zip(case.parts, case.want, got, strict=True):
        if want.dtype != have.dtype or want.shape != have.shape:
            return f"{part}: is {have.dtype}{have.shape}, not " \
                f"{want.dtype}{want.shape}"
        mask = 15 if want.dtype.name.endswith("int4") else \
            3 if want.dtype.name.endswith("int2") else -1
        same = (bits(want) & np.uint64(mask & 2 ** 64 - 1)) == \
            (bits(have) & np.uint64(mask & 2 ** 64 - 1))
        if is_float(want.dtype.type):
            same |= np.isnan(want.astype(F32)) & np.isnan(have.astype(F32))
        if not same.all():
            at = np.unravel_index(np.argmin(same), same.shape)
            return f"{part}: {np.count_nonzero(~same)} of {same.size} " \
                f"differ, {list(map(int, at))}: {have[at]}, not {want[at]}"
    return None


# ---- references -----------------------------------------------------------

def to_float(x, to, saturate=True):
    """RNE to a float of 8 or 4 bits, with ONNX's meaning of saturate."""
    if to == F4:
        y = x.astype(to)
        return np.where(np.isnan(x), np.zeros_like(y), y)
    if saturate:
        top = float(ml_dtypes.finfo(to).max)
        x = np.clip(x.astype(np.float64), -top, top)
    return x.astype(F32).astype(to)


def quantize(x, s, zero, to, precision=None, saturate=True):
    p = precision or s.dtype
    with np.errstate(all="ignore"):
        q = x.astype(p) / s.astype(p)
        if is_float(to):
            return to_float(q, to, saturate)
        low, high = RANGE[to]
        r = np.rint(q.astype(np.float64)) + zero.astype(np.float64)
        r = np.where(np.isnan(r), low, np.clip(r, low, high))
        return r.astype(np.int64).astype(to)


def dequantize(x, s, zero, to):
    with np.errstate(all="ignore"):
        d = x.astype(F32) if is_float(x.dtype.type) else \
            (x.astype(np.int64) - zero.astype(np.int64)).astype(F32)
        return (d * s.astype(to).astype(F32)).astype(to)


def to_power(x, mode, saturate):
    """The exponents of f8e8m0 by frexp(), in whole numbers."""
    with np.errstate(all="ignore"):
        x = x.astype(np.float64)
    m, e = np.frexp(np.abs(x))  # m in [0.5, 1)
    step = {"up": m > 0.5, "down": 0, "nearest": m >= 0.75}[mode]
    k = e - 1 + step + 127
    k = np.maximum(k, 0) if mode == "up" else \
        np.minimum(k, 254) if mode == "down" else k
    if saturate:
        k = np.clip(np.where(np.isinf(x), 254, k), 0, 254)
        k = np.where(x == 0, 0, k)
    bad = np.isnan(x) | (k < 0) | (k > 254) | \
        ((x == 0) | np.isinf(x) if not saturate else False)
    return np.where(bad, 255, k).astype(np.uint8).view(E8M0)


# ---- quantization ---------------------------------------------------------

def every_zero(to):
    """QuantizeLinear for all zero points: halves, thirds and specials."""
    low, high = RANGE[to]
    zero = np.arange(low, high + 1).astype(to)
    half = np.arange(-2 * (high - low) - 3, 2 * (high - low) + 4) / 2
    x = np.concatenate([half, half + 2.0 ** -12, half - 2.0 ** -12,
                        half / 3, SPECIAL]).astype(F32)
    x = np.repeat(x[None], zero.size, 0)
    s = np.where(np.arange(zero.size) % 3 == 1, 0.3, 1).astype(F32)
    y = quantize(x, s[:, None], zero[:, None], to)
    return Case(f"quantize {short(to)} every zero point",
                [helper.make_node("QuantizeLinear", "xsz", ["y"], axis=0)],
                {"x": x, "s": s, "z": zero}, [y], [1, None, None, 1])


def every_value(of, to):
    """DequantizeLinear of all values for all zero points."""
    low, high = RANGE[of]
    x = np.arange(low, high + 1).astype(of)
    s = (np.arange(x.size) * 0.013 + 1e-3).astype(to)
    s[:1] = 1e-40 if to != F16 else 6e-8
    grid = np.repeat(x[None], x.size, 0)
    y = dequantize(grid, s[:, None], x[:, None], to)
    return Case(f"dequantize {short(of)} {short(to)} every zero point",
                [helper.make_node("DequantizeLinear", "xsz", ["y"], axis=0)],
                {"x": grid, "s": s, "z": x}, [y], [1, None, None, 1])


def every_half(half, to, saturate=1):
    """QuantizeLinear of all half floats for scales of all kinds."""
    x = np.arange(65536).astype(np.uint16).view(half)
    s = np.array([1, 0.1, 6e-8, 0, -2, np.nan]).astype(half)
    grid = np.repeat(x[None], s.size, 0)
    zero = np.zeros(s.shape, to)
    if to in RANGE:
        zero[::2] = RANGE[to][1] // 2
    y = quantize(grid, s[:, None], zero[:, None], to, None, saturate)
    return Case(f"quantize {short(half)} {short(to)} {saturate}",
                [helper.make_node("QuantizeLinear", "xsz", ["y"], axis=0,
                                  saturate=saturate)],
                {"x": grid, "s": s, "z": zero}, [y], [1, None, None, 1])


def with_precision(of, scale, precision, to):
    rng = np.random.default_rng(7)
    x = (rng.standard_normal(20000) * 50).astype(of)
    s = np.array(0.37).astype(scale)
    zero = np.array(1).astype(to)
    y = quantize(x, s, zero, to, precision)
    return Case(f"quantize {short(of)}/{short(scale)} in {short(precision)}",
                [helper.make_node("QuantizeLinear", "xsz", ["y"],
                                  precision=code(precision))],
                {"x": x, "s": s, "z": zero}, [y], [0, None, None, 0])


def big_integers():
    x = np.array([2 ** 24 + 1, -2 ** 24 - 1, 2 ** 31 - 1, -2 ** 31, 3, 5, 0,
                  33554435], np.int32)
    x = np.repeat(x, 9)
    s, zero = F32(131072.0), np.int16(3)
    return Case("quantize int32", [
        helper.make_node("QuantizeLinear", "xsz", ["y"])],
        {"x": x, "s": np.array(s), "z": np.array(zero)},
        [quantize(x.astype(F32), np.array(s), np.array(zero), np.int16)],
        [0, None, None, 0])


def blocked(to):
    """Blocks of 3 along an axis of 32 and rows of an odd length."""
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((5, 32, 7)) * 9).astype(F32)
    s = rng.uniform(0.1, 2, (5, 11, 7)).astype(F32)
    low, high = RANGE[to]
    zero = rng.integers(low, high + 1, s.shape).astype(to)

    def wide(a):
        return np.repeat(a, 3, axis=1)[:, :32]
    q = quantize(x, wide(s), wide(zero), to)
    d = dequantize(q, wide(s), wide(zero), F32)
    nodes = [helper.make_node("QuantizeLinear", "xsz", ["y0"], axis=1,
                              block_size=3),
             helper.make_node("DequantizeLinear", ["y0", "s", "z"], ["y1"],
                              axis=-2, block_size=3)]
    return Case(f"blocks {short(to)}", nodes, {"x": x, "s": s, "z": zero},
                [q, d], [0] * 5)


def not_contracted():
    """A product and a sum stay two roundings, whatever is fused."""
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (64, 33)).astype(np.int8)
    b = rng.standard_normal(x.shape).astype(F32)
    s = np.array(0.1, F32)
    zero = np.array(7, np.int8)
    y = dequantize(x, s, zero, F32) + b
    return Case("dequantize and add", [
        helper.make_node("DequantizeLinear", "xsz", ["d"]),
        helper.make_node("Add", "db", ["y"])],
        {"x": x, "s": s, "z": zero, "b": b}, [y], [0, None, None, 0, 0])


# ---- casts ----------------------------------------------------------------

def codes(of):
    n = 2 ** {"4": 4, "2": 2}.get(short(of)[-1], 8) if of in SMALL else \
        16 if of == F4 else 256
    raw = np.arange(n).astype(np.uint8)
    return raw.view(of) if n == 256 or of == F4 else \
        np.array([int(v) for v in raw]).astype(np.int64).astype(of)


def between(to):
    """All numbers of a type, and what is half way and just beside it."""
    v = codes(to).astype(np.float64)
    v = np.sort(v[np.isfinite(v)])
    v = np.concatenate([v, [v[0] * 1.5 - v[1] / 2, v[-1] * 1.5 - v[-2] / 2]])
    v = np.sort(v)
    mid = ((v[1:] + v[:-1]) / 2).astype(F32)
    some = np.concatenate([v.astype(F32), mid, SPECIAL]).astype(F32)
    x = np.concatenate([some, np.nextafter(some, F32(np.inf)),
                        np.nextafter(some, F32(-np.inf))])
    return x[np.isnan(x) | (x >= 0)] if to == E8M0 else x


def cast_node(to, **attrs):
    return [helper.make_node("Cast", ["x"], ["y"], to=code(to), **attrs)]


def cast_narrow(of, to, saturate):
    x = between(to) if of == F32 else np.arange(65536).astype(
        np.uint16).view(of)
    with np.errstate(all="ignore"):
        y = to_float(x, to, saturate)
    return Case(f"cast {short(of)} {short(to)} {saturate}",
                cast_node(to, saturate=saturate), {"x": x}, [y], [0, 0])


def cast_power(mode, saturate, of):
    x = between(E8M0) if of == F32 else np.arange(32768).astype(
        np.uint16).view(of)
    return Case(f"cast {short(of)} e8m0 {mode} {saturate}",
                cast_node(E8M0, round_mode=mode, saturate=saturate),
                {"x": x}, [to_power(x, mode, saturate)], [0, 0])


def cast_back(of, to):
    x = np.tile(codes(of), 5)
    with np.errstate(all="ignore"):
        if is_float(of) and to in FLOAT8:
            y = to_float(x.astype(F32), to)
        else:
            y = x.astype(F32).astype(to) if is_float(of) else \
                x.astype(np.int64).astype(to)
    return Case(f"cast {short(of)} {short(to)}", cast_node(to), {"x": x}, [y],
                [0, 0])


def cast_integers(to):
    x = np.arange(-300, 300).astype(np.int32)
    return Case(f"cast int32 {short(to)}", cast_node(to), {"x": x},
                [x.astype(np.int64).astype(to)], [0, 0])


# ---- moves ----------------------------------------------------------------

def moves(of):
    """Packed elements where no dim is a multiple of a byte's."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 16, (3, 5, 19)).astype(np.uint8)
    x = a.view(F4) if of == F4 else a.astype(np.int64).astype(of)
    i = np.array([4, 0, 3], np.int64)
    nodes = [
        helper.make_node("Transpose", ["x"], ["y0"], perm=[2, 0, 1]),
        helper.make_node("Concat", ["x", "x"], ["y1"], axis=2),
        helper.make_node("Gather", ["x", "i"], ["y2"], axis=1),
        helper.make_node("Identity", ["x"], ["y3"]),
        helper.make_node("Split", ["x"], ["y4", "y5"], axis=2, num_outputs=2),
        helper.make_node("Flatten", ["x"], ["y6"]),
        helper.make_node("Slice", ["x", "from", "to", "ax", "step"], ["y7"]),
        helper.make_node("Pad", ["x", "pads"], ["y8"], mode="reflect"),
        helper.make_node("Tile", ["x", "times"], ["y9"]),
    ]
    want = [x.transpose(2, 0, 1), np.concatenate([x, x], 2), x[:, i],
            x, x[:, :, :10], x[:, :, 10:], x.reshape(3, 95),
            x[:, ::2, 17::-3], np.pad(x, [(1, 0), (0, 2), (3, 1)], "reflect"),
            np.tile(x, (2, 1, 3))]
    lists = {"from": [0, 17], "to": [5, -99], "ax": [1, 2], "step": [2, -3],
             "pads": [1, 0, 3, 0, 2, 1], "times": [2, 1, 3]}
    case = Case(f"moves {short(of)}", nodes, {"x": x, "i": i},
                [np.ascontiguousarray(w) for w in want],
                [None] * (2 + len(want)))
    for name, values in lists.items():
        case.model.graph.initializer.append(
            numpy_helper.from_array(np.array(values, np.int64), name))
    return case


def constants(of):
    """The three places where a file can have its elements."""
    rng = np.random.default_rng(2)
    a = rng.integers(0, 16 if of in (F4, *SMALL) else 256, (3, 7))
    a = a.astype(np.uint8)
    x = a.astype(np.int64).astype(of) if of in SMALL else a.view(of)
    y = np.ascontiguousarray(x.T)
    nodes = [helper.make_node("Concat", ["x", n], [f"y{k}"], axis=0)
             for k, n in enumerate(["raw", "list"])]
    both = np.concatenate([x, x])
    case = Case(f"constants {short(of)}", nodes, {"x": x}, [both, both])
    case.model.graph.initializer.append(
        numpy_helper.from_array(x, "raw"))
    entry = TensorProto(name="list", data_type=code(of), dims=x.shape)
    entry.int32_data.extend(objects.to_bytes(x))
    case.model.graph.initializer.append(entry)
    case.model.graph.node.append(helper.make_node(
        "Constant", [], ["y2"], value=numpy_helper.from_array(y)))
    case.model.graph.output.append(helper.make_tensor_value_info(
        "y2", code(of), y.shape))
    case.want.append(y)
    case.parts.append(case.name)
    return case


def all_cases():
    for to in (np.int8, np.uint8, *SMALL):
        yield every_zero(to)
        yield every_value(to, F32)
    for to in (np.int8, np.uint8):
        yield every_value(to, F16)
        yield every_value(to, BF16)
    for to in (np.int8, np.uint8, np.int16, np.uint16, *SMALL, *FLOAT8, F4):
        yield every_half(F16, to)
    for to in (np.int8, np.uint16, SMALL[0], *FLOAT8):
        yield every_half(BF16, to, 0 if to in FLOAT8 else 1)
    for of, scale, precision in ((F32, F16, F16), (F16, F32, F32),
                                 (F32, F32, BF16), (BF16, F16, F32)):
        yield with_precision(of, scale, precision, np.int8)
    yield big_integers()
    for to in (np.uint8, SMALL[0], SMALL[3]):
        yield blocked(to)
    yield not_contracted()
    for to in (*FLOAT8, F4):
        for saturate in (0, 1):
            for of in (F32, F16, BF16):
                yield cast_narrow(of, to, saturate)
    for mode in ("up", "down", "nearest"):
        for saturate in (0, 1):
            yield cast_power(mode, saturate, F32)
        yield cast_power(mode, 1, BF16)
    for of in (*FLOAT8, E8M0, F4, *SMALL):
        for to in (F32, F16, np.int32 if of in SMALL else BF16):
            yield cast_back(of, to)
    yield cast_back(FLOAT8[0], FLOAT8[3])
    yield cast_back(FLOAT8[2], FLOAT8[1])
    for to in SMALL:
        yield cast_integers(to)
    for of in (F4, *SMALL):
        yield moves(of)
    for of in (*FLOAT8, E8M0, F4, *SMALL):
        yield constants(of)
