# SPDX-License-Identifier: Apache-2.0
"""Tensors that lie channels-last: convolutions whose factors are copied 16
bytes at a time, what is between them, and transposes, against numpy, ONNX
Runtime and what NVRTC makes of the kernels."""
import re

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

import contractions
import facts
import nvrtc
from rig import error_over_rms, expect, kernels, make_model, tensor

COPIES = "cp.async.cg.shared.global"
BOUNDS = {np.float32: 1e-5, np.float16: 1e-2}


# ---- windows, against numpy in f64

def windows(d):
    """Channels that make vectors, in each number of dims; weights that are
    constants or not; then channels that do not, and few."""
    rows = [
        ([(2, 32, 13, 11), (48, 32, 3, 3), (48,)], dict(pads=[1, 1, 1, 1])),
        ([(1, 64, 15, 9), (33, 64, 3, 3)],
         dict(strides=[2, 1], dilations=[1, 2], pads=[0, 2, 1, 3])),
        ([(3, 16, 41), (56, 16, 5), (56,)],
         dict(strides=[2], dilations=[2], pads=[3, 1])),
        ([(1, 16, 6, 5, 7), (40, 16, 3, 2, 3)], dict(pads=[1, 0, 1] * 2)),
        ([(2, 48, 9, 9), (260, 48, 1, 1), (260,)], {}),
        ([(2, 20, 12, 12), (40, 20, 3, 3)], dict(pads=[1] * 4)),
        ([(2, 3, 21, 23), (24, 3, 7, 7), (24,)],
         dict(strides=[2, 2], pads=[3] * 4)),
        ([(1, 48, 12, 12), (48, 16, 3, 3)], dict(group=3, pads=[1] * 4)),
    ]
    for i, (shapes, attrs) in enumerate(rows):
        for const in ({1, 2}, ()) if i < 2 else ({1, 2},):
            d.floats("Conv", shapes, const=const, **attrs)
    d.floats("ConvTranspose", [(1, 32, 7, 9), (32, 24, 3, 3), (24,)],
             const={1, 2}, strides=[2, 2], pads=[1, 0, 1, 1])


def bytes_of_windows(d, most=3):
    """Windows whose border is the zero point of the input, not 0."""
    for (xs, ws), attrs in (
            (((2, 32, 13, 11), (40, 32, 3, 3)), dict(pads=[1, 1, 1, 1])),
            (((1, 48, 15, 9), (33, 48, 3, 3)),
             dict(strides=[2, 1], pads=[0, 2, 1, 1])),
            (((3, 64, 12), (48, 64, 5)), dict(pads=[2, 2])))[:most]:
        x = d.rng.integers(0, 256, xs).astype(np.uint8)
        w = d.rng.integers(-128, 128, ws).astype(np.int8)
        zx, zy = np.uint8(d.rng.integers(1, 256)), np.uint8(100)
        sums = contractions.conv(x.astype(np.int64) - zx, w.astype(np.int64),
                                 **attrs)
        names = [d.give(x)]
        for a in (np.float32(0.5), zx, w, np.float32(0.25), np.int8(0),
                  np.float32(256), zy):
            names.append(d.give(np.asarray(a), True))
        d.node("QLinearConv", names, contractions.quantized(
            sums, 2.0**-11, int(zy), np.uint8), None, f"QLinearConv {xs}",
            **attrs)


# ---- networks, against ONNX Runtime

class Net:
    def __init__(self, dtype, seed):
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, *shape, scale=None):
        a = self.rng.standard_normal(shape)
        a = a / np.sqrt(np.prod(shape[1:])) if scale is None else a * scale
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(a.astype(self.dtype),
                                                    name))
        return name

    def numbers(self, values, dtype=np.int64):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(
            np.array(values, dtype), name))
        return name

    def node(self, op, *names, **attrs):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [out], **attrs))
        return out

    def conv(self, x, c, m, k=3, group=1, **attrs):
        attrs = {"pads": [k // 2] * 4, **attrs}
        return self.node("Conv", x, self.weight(m, c // group, k, k),
                         self.weight(m, scale=0.1), group=group, **attrs)


def between(n, x):
    """All that keeps the layout: a stem, a pool, sums, parts side by side,
    depthwise windows, gates of channels, a shuffle, resizing; then means and
    a product."""
    stem = n.node("Relu", n.conv(x, 3, 24, 5, strides=[2, 2]))
    p = n.node("MaxPool", stem, kernel_shape=[3, 3], strides=[2, 2],
               pads=[1] * 4)
    a = n.node("Relu", n.conv(p, 24, 32))
    b = n.node("Relu", n.node("Add", n.conv(a, 32, 24), p))
    two = n.node("Concat", b, a, axis=1)
    deep = n.node("Clip", n.conv(two, 56, 56, group=56),
                  n.numbers(0, n.dtype), n.numbers(6, n.dtype))
    mean = n.node("GlobalAveragePool", deep)
    gate = n.node("Sigmoid", n.conv(mean, 56, 56, 1))
    e = n.conv(n.node("Mul", deep, gate), 56, 32, 1)
    apart = n.node("Reshape", e, n.numbers([0, 4, 8, 8, 8]))
    apart = n.node("Transpose", apart, perm=[0, 2, 1, 3, 4])
    e = n.node("Reshape", apart, n.numbers([0, 32, 8, 8]))
    f = n.node("AveragePool", e, kernel_shape=[2, 2], strides=[2, 2])
    up = n.node("Resize", f, "", n.numbers([1, 1, 2, 2], np.float32),
                mode="nearest")
    g = n.node("Relu", n.conv(n.node("Add", up, e), 32, 64))
    means = n.node("Flatten", n.node("GlobalAveragePool", g))
    return n.node("Gemm", means, n.weight(10, 64), n.weight(10, scale=0.1),
                  transB=1)


def row_major(n, x):
    """Readers that go along rows: a softmax of lines, a product over all of
    an image; and a result that is given out."""
    a = n.node("Relu", n.conv(x, 3, 16))
    b = n.conv(a, 16, 16)
    lines = n.conv(n.node("Softmax", b, axis=-1), 16, 16)
    flat = n.node("Flatten", n.node("MaxPool", lines, kernel_shape=[4, 4],
                                    strides=[4, 4]))
    return n.node("Gemm", flat, n.weight(20, 16 * 64), n.weight(20),
                  transB=1), lines


def few_tiles(n, x):
    """Sums that are cut in parts, whose results lie as those of the whole."""
    a = n.node("Relu", n.conv(x, 3, 160, strides=[4, 4]))
    b = n.node("Relu", n.conv(a, 160, 192))
    return n.conv(n.node("Add", n.conv(b, 192, 160), a), 160, 32)


def network(rig, make, dtype, arch="sm_80", options=(), size=32, batch=2):
    n = Net(dtype, 11)
    outs = make(n, "x")
    outs = outs if isinstance(outs, tuple) else (outs,)
    kind = np.dtype(dtype).name
    model = make_model(n.nodes, [tensor("x", dtype, (batch, 3, size, size))],
                       [tensor(o, dtype, None) for o in outs], n.weights)
    feeds = {"x": n.rng.standard_normal((batch, 3, size, size)).astype(dtype)}
    run = onnxruntime.InferenceSession(model.SerializeToString(),
                                       providers=["CPUExecutionProvider"])
    wanted = run.run(None, feeds)
    name = "_".join([make.__name__, kind, arch, *(
        re.sub(r"\W", "", o) for o in options)])
    lib = rig.library(model, name, arch, options)
    bound = 1e-2 if options else BOUNDS[dtype]
    errors = []

    def check(_, want, got):
        errors.append(error_over_rms(want, got))
        return not errors[-1] <= bound and f"error {errors[-1]:.1e}"

    rig.all_ways(lib, [(feeds, wanted)], check, ("forward", "random:3"))
    return f"error {max(errors):.1e} of the rms"


def sizes(rig):
    """Batches and images that change from call to call."""
    rng = np.random.default_rng(3)
    w = [numpy_helper.from_array(
        (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32),
        f"w{i}") for i, s in enumerate(((24, 3, 3, 3), (32, 24, 3, 3),
                                        (24, 32, 1, 1)))]
    model = make_model(
        [helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4,
                          strides=[2, 2]),
         helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4),
         helper.make_node("Relu", ["c"], ["d"]),
         helper.make_node("Conv", ["d", "w2"], ["e"]),
         helper.make_node("Add", ["e", "b"], ["y"])],
        [tensor("x", np.float32, ["N", 3, "H", "W"])],
        [tensor("y", np.float32, ["N", 24, "h", "w"])], w)
    run = onnxruntime.InferenceSession(model.SerializeToString(),
                                       providers=["CPUExecutionProvider"])
    sets = []
    for shape in ((1, 3, 16, 16), (2, 3, 9, 21), (3, 3, 1, 5), (1, 3, 33, 8)):
        feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
        sets.append((feeds, run.run(None, feeds)))
    text = rig.cuda(model, "sizes_of_images")
    expect("uint4" in text, "no vectors of channels")
    lib = rig.library(model, "sizes_of_images")
    rig.all_ways(lib, sets, lambda _, w, g: not error_over_rms(w, g) <= 1e-5
                 and f"error {error_over_rms(w, g):.1e}", ("random:3",))
    return f"{len(sets)} sizes"


# ---- what the kernels are made of

def fed_by_copies(rig, kind, arch):
    """Each window of a chain is fed by copies of 16 bytes and multiplied by
    tensor cores, and by wgmma where that is."""
    dtype = np.float16 if kind == "f16" else np.float32
    n = Net(dtype, 2)
    x = n.node("Relu", n.conv("x", 64, 128))
    n.conv(n.node("Relu", n.conv(x, 128, 128)), 128, 64, 1)
    model = make_model(
        n.nodes, [tensor("x", dtype, (8, 64, 64, 64))],
        [tensor(n.nodes[-1].output[0], dtype, (8, 64, 64, 64))], n.weights)
    options = ["--fp32=tf32"] if kind == "tf32" else []
    text = rig.cuda(model, f"fed_{kind}_{arch}", arch, options)
    bodies = kernels(text)[1]
    tiles = [k for k, body in bodies.items() if "dl_mma" in body]
    expect(len(tiles) == 3, f"{len(tiles)} tiles")
    wgmma = arch == "sm_90a" and kind == "f16"
    elf, log = facts.cubin(text, arch)
    facts.clean(log, len(bodies))
    ptx = nvrtc.compile(nvrtc.load(), text, arch.replace("sm", "compute"),
                        ("--std=c++17",)).decode()
    code = dict(zip(re.findall(r"\.entry (k\d+)", ptx),
                    re.split(r"\.entry k\d+", ptx)[1:]))
    for k in tiles:
        expect(COPIES in code[k], f"{k} has no copies")
        expect(("wgmma.mma_async" if wgmma else "mma.sync") in code[k],
               f"{k} is not on tensor cores")
    return f"{len(bodies)} kernels"


def transposes(rig):
    """Large enough for threads with a vector each: bits stay as they are."""
    rng = np.random.default_rng(4)
    shapes = [("NHWC", np.float32, (1, 48, 80, 80), (0, 2, 3, 1)),
              ("NCHW", np.float16, (1, 80, 72, 56), (0, 3, 1, 2)),
              ("matrix", np.int8, (528, 544), (1, 0)),
              ("odd", np.float16, (3, 300, 332), (0, 2, 1))]
    nodes, inputs, results, feeds, wanted = [], [], [], {}, []
    for i, (_, dtype, shape, perm) in enumerate(shapes):
        a = rng.integers(-100, 100, shape).astype(dtype)
        want = np.ascontiguousarray(a.transpose(perm))
        nodes.append(helper.make_node("Transpose", [f"x{i}"], [f"y{i}"],
                                      perm=perm))
        inputs.append(tensor(f"x{i}", dtype, shape))
        results.append(tensor(f"y{i}", dtype, want.shape))
        feeds[f"x{i}"] = a
        wanted.append(want)
    model = make_model(nodes, inputs, results)
    text = rig.cuda(model, "transposes")
    expect(len(re.findall(r"\*\((?:uint4|uint2) \*\)\(b1", text)) ==
           len(shapes), "stores that are no vectors")
    lib = rig.library(model, "transposes")
    rig.all_ways(lib, [(feeds, wanted)], lambda _, w, g: any(
        a.tobytes() != b.tobytes() for a, b in zip(w, g)) and "other bits",
        ("random:3",))
    return f"{len(shapes)} shapes"


def cases(rig, full):
    kinds = [("f16", "sm_80"), ("f32", "sm_80")]
    if full:
        kinds += [("bf16", "sm_80"), ("tf32", "sm_80"), ("f16", "sm_75"),
                  ("f16", "sm_90a")]
    for kind, arch in kinds:
        yield f"windows-{kind}-{arch}", lambda k=kind, a=arch: \
            contractions.static(rig, k, windows, 21, a)
    yield "bytes", lambda: contractions.whole(rig, "windows_of_bytes",
                                              bytes_of_windows)
    for make in (between, row_major, few_tiles):
        for dtype in (np.float32, np.float16):
            yield f"{make.__name__}-{np.dtype(dtype).name}", \
                lambda m=make, t=dtype: network(rig, m, t)
    yield "between-fp16", lambda: network(rig, between, np.float32,
                                          options=("--precision=fp16",))
    if full:
        yield "between-float16-sm_90a", \
            lambda: network(rig, between, np.float16, "sm_90a")
    yield "sizes", lambda: sizes(rig)
    for kind, arch in (("f16", "sm_80"), ("f16", "sm_90a"), ("tf32", "sm_80"),
                       ("f16", "sm_120")):
        yield f"fed-{kind}-{arch}", \
            lambda k=kind, a=arch: fed_by_copies(rig, k, a)
    yield "transposes", lambda: transposes(rig)
