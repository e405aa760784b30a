# SPDX-License-Identifier: Apache-2.0
"""Small models and two sets of inputs for each.

A maker's name is the model's.  What it returns: the model, a function from a
random generator to inputs, and how far off results may be in units of the last
place (0: to the bit), options for dlcc, what the text of the kernels has to
have, and the architecture.
"""
import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

F32, F16, BF16, F64 = (TensorProto.FLOAT, TensorProto.FLOAT16,
                       TensorProto.BFLOAT16, TensorProto.DOUBLE)
NP = helper.tensor_dtype_to_np_dtype


class Case:
    def __init__(self, model, feeds, ulp=0, options=(), has=(),
                 arch="sm_80", env=None):
        self.model, self.feeds, self.ulp = model, feeds, ulp
        self.env = env or {}
        self.options, self.has, self.arch = list(options), has, arch


def node(op, ins, outs, **attrs):
    return helper.make_node(op, ins.split(), outs.split(), **attrs)


def model(nodes, ins, outs, consts=()):
    """ins, outs: name -> (type, shape); consts: name -> array."""
    def values(d):
        return [helper.make_tensor_value_info(n, t, s)
                for n, (t, s) in d.items()]
    graph = helper.make_graph(
        nodes, "g", values(ins), values(outs),
        [helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(a.dtype),
                            a.shape, a.tobytes(), raw=True)
         for n, a in dict(consts).items()])
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 21)])


def random(rng, dtype, shape):
    dtype = NP(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, True)
    return rng.normal(size=shape).astype(dtype)


def feeder(ins):
    return lambda rng: {n: random(rng, t, s) for n, (t, s) in ins.items()}


# ---- element by element ----------------------------------------------

def chain(dtype, shape=(37, 53)):
    """Operations that round once, and those that choose."""
    ins = {"a": (dtype, shape), "b": (dtype, shape[-1:])}
    nodes = [node("Add", "a b", "s"), node("Mul", "s a", "m"),
             node("Div", "m b", "d"), node("Abs", "d", "p"),
             node("Sqrt", "p", "q"), node("Sub", "q s", "t"),
             node("Max", "t b", "u"), node("Min", "u m", "v"),
             node("Floor", "v", "w"), node("Neg", "w", "x"),
             node("Less", "a b", "c"), node("Where", "c x d", "y")]

    def feeds(rng):
        f = feeder(ins)(rng)
        f["a"].reshape(-1)[:4] = [0, -0.0, np.inf, np.nan]
        f["b"][7] = 0
        return f
    return Case(model(nodes, ins, {"y": (dtype, shape), "v": (dtype, shape)}),
                feeds)


def chain_f32():
    return chain(F32)


def chain_f64():
    return chain(F64)


def chain_f16():
    return chain(F16)


def chain_bf16():
    return chain(BF16)


def wide():
    """So many that threads take four points at once."""
    shape = (1024, 256)
    ins = {"a": (F32, shape), "b": (F16, shape)}
    nodes = [node("Cast", "b", "c", to=F32), node("Mul", "a c", "d"),
             node("Cast", "d", "y", to=F16)]
    return Case(model(nodes, ins, {"y": (F16, shape)}), feeder(ins),
                has=["all0[4]"])


def integers():
    shape, ins, outs, nodes = (7, 45), {}, {}, []
    for t in (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16,
              TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32,
              TensorProto.INT64, TensorProto.UINT64):
        k = str(t)
        ins.update({"a" + k: (t, shape), "b" + k: (t, shape)})
        outs["y" + k] = (t, shape)
        chain = ["Add a b s", "Mul s a m", "Div m b d", "Sub d s t",
                 "Mod t b u", "Max u a v", "BitwiseXor v m w",
                 "BitwiseNot w y"]
        for line in chain:
            op, *names = line.split()
            nodes.append(node(op, " ".join(n + k for n in names[:-1]),
                              names[-1] + k))

    def feeds(rng):
        return {n: np.where(a == 0, 3, a).astype(a.dtype) if n[0] == "b"
                else a for n, a in feeder(ins)(rng).items()}
    return Case(model(nodes, ins, outs), feeds)


def bools():
    shape, b = (5, 77), TensorProto.BOOL
    ins = {"a": (b, shape), "b": (b, shape), "x": (F32, shape)}
    nodes = [node("And", "a b", "c"), node("Xor", "c a", "d"),
             node("Not", "d", "e"), node("Or", "e b", "y"),
             node("Sign", "x", "s"), node("Where", "y x s", "z"),
             node("Cast", "y", "i", to=TensorProto.INT8)]
    return Case(model(nodes, ins, {"y": (b, shape), "z": (F32, shape),
                                   "i": (TensorProto.INT8, shape)}),
                feeder(ins))


def casts():
    """Through every type and back, with what does not fit."""
    shape, nodes, outs = (13, 29), [], {}
    ins = {"x": (F32, shape), "d": (F64, shape), "l": (TensorProto.INT64,
                                                      shape)}
    types = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16,
             TensorProto.INT32, TensorProto.INT64, F16, BF16,
             TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2,
             TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2FNUZ)
    for t in types:
        for x in ins:
            nodes += [node("Cast", x, f"{x}{t}", to=t),
                      node("Cast", f"{x}{t}", f"{x}{t}f", to=F32)]
            outs[f"{x}{t}f"] = (F32, shape)

    def feeds(rng):
        f = feeder(ins)(rng)
        for n in "xd":
            f[n] *= (10.0 ** rng.integers(-6, 9, shape)).astype(f[n].dtype)
            f[n].reshape(-1)[:5] = [0, -0.0, np.inf, -np.inf, np.nan]
        f["l"] >>= rng.integers(0, 60, shape)
        return f
    return Case(model(nodes, ins, outs), feeds)


def packed():
    shape = (9, 31)
    ins = {"x": (F32, shape)}
    nodes, outs = [], {"p": (TensorProto.INT4, shape)}
    for t in (TensorProto.INT4, TensorProto.UINT4):
        nodes += [node("Cast", "x", f"c{t}", to=t),
                  node("Cast", f"c{t}", f"y{t}", to=F32)]
        outs[f"y{t}"] = (F32, shape)
    nodes.append(node("Identity", f"c{TensorProto.INT4}", "p"))

    def feeds(rng):
        return {"x": rng.uniform(-7, 7, shape).astype("f4")}
    return Case(model(nodes, ins, outs), feeds, has=["dl_packed_"])


def functions():
    """Which the two take from other libraries."""
    shape, nodes, outs = (11, 40), [], {}
    ins = {"x": (F32, shape), "d": (F64, shape)}
    for x, t in (("x", F32), ("d", F64)):
        nodes.append(node("Abs", x, x + "abs"))
        for op in ("Exp", "Tanh", "Erf", "Sin", "Cos", "Atan", "Sigmoid"):
            nodes.append(node(op, x, x + op))
            outs[x + op] = (t, shape)
        for op in ("Log", "Sqrt"):
            nodes.append(node(op, x + "abs", x + op))
            outs[x + op] = (t, shape)
        nodes.append(node("Pow", f"{x}abs {x}", x + "Pow"))
        outs[x + "Pow"] = (t, shape)
    return Case(model(nodes, ins, outs), feeder(ins), ulp=4)


# ---- folds -----------------------------------------------------------

def softmax():
    ins = {"x": (F32, (6, 700)), "h": (F16, (5, 33))}
    nodes = [node("Softmax", "x", "y", axis=-1),
             node("Softmax", "h", "z", axis=0)]
    return Case(model(nodes, ins, {"y": (F32, (6, 700)),
                                   "z": (F16, (5, 33))}), feeder(ins), ulp=4,
                has=["dl_shuffle_xor", "dl_barrier"])


def layer_norm():
    ins = {"x": (F32, (9, 515)), "s": (F32, (515,)), "b": (F32, (515,))}
    nodes = [node("LayerNormalization", "x s b", "y", axis=-1)]
    return Case(model(nodes, ins, {"y": (F32, (9, 515))}), feeder(ins),
                ulp=4, has=["dl_shuffle_xor"])


def reductions():
    shape, ins = (6, 5, 260), {}
    nodes, outs, consts = [], {}, {}
    for t, ops in ((F32, "Mean Max"), (F16, "Mean Sum"),
                   (TensorProto.INT32, "Sum Min")):
        ins[f"x{t}"] = (t, shape)
        for op in ops.split():
            op = "Reduce" + op
            for axes in ((0,), (1,), (2,), (0, 2)):
                name = f"{op}{t}_" + "".join(map(str, axes))
                at = "axes" + "".join(map(str, axes))
                consts[at] = np.array(axes)
                nodes.append(node(op, f"x{t} {at}", name, keepdims=0))
                outs[name] = (t, [d for i, d in enumerate(shape)
                                  if i not in axes])
    nodes.append(node("ArgMax", f"x{F32}", "arg", axis=2, keepdims=0))
    outs["arg"] = (TensorProto.INT64, shape[:2])
    return Case(model(nodes, ins, outs, consts), feeder(ins),
                has=["dl_shuffle_xor"])


# ---- products --------------------------------------------------------

def gemm(dtype, m, n, k, **more):
    ins = {"a": (dtype, (m, k)), "b": (dtype, (n, k)), "c": (dtype, (n,))}
    nodes = [node("Gemm", "a b c", "y", transB=1)]
    return Case(model(nodes, ins, {"y": (dtype, (m, n))}), feeder(ins),
                **more)


def matmul(dtype, m, n, k, **more):
    ins = {"a": (dtype, (m, k)), "b": (dtype, (k, n))}
    nodes = [node("MatMul", "a b", "y")]
    return Case(model(nodes, ins, {"y": (dtype, (m, n))}), feeder(ins),
                **more)


REGISTERS = ["reg_a[", "dl_barrier"]
STAGES = ["dl_copy16", "dl_fragment_a_swizzled"]


def gemm_f32():
    return gemm(F32, 128, 128, 64, has=REGISTERS)


def gemm_f32_ragged():
    return gemm(F32, 70, 90, 51, has=REGISTERS)


def gemm_f64():
    return gemm(F64, 66, 70, 65, has=REGISTERS)


def matmul_i32():
    return matmul(TensorProto.INT32, 65, 67, 70, has=REGISTERS)


def matmul_f16_ragged():
    return matmul(F16, 130, 75, 91, has=[*REGISTERS, "dl_mma_f16"])


def gemm_f16_staged():
    return gemm(F16, 96, 72, 520, has=[*STAGES, "dl_mma_f16"])


def gemm_bf16_staged():
    return gemm(BF16, 70, 50, 456, has=[*STAGES, "dl_mma_bf16"])


BOXES = ("dl_copy_box(all_a", "dl_phases_wait", "dl_wgmma_")


def turned(dtype, sizes, equation, shapes, has, **more):
    """Factors whose neighbours are not those in k."""
    size = dict(zip("bijk", sizes))
    a, b = ((dtype, tuple(size[x] for x in of)) for of in shapes)
    y = dtype, tuple(size[x] for x in "bij")
    ins = {"a": a, "b": b}
    return Case(model([node("Einsum", "a b", "y", equation=equation)], ins,
                      {"y": y}), feeder(ins), has=[*has, "_turned(b"], **more)


def turned_f16():
    return turned(F16, (10, 136, 136, 72), "bki,bkj->bij", ("bki", "bkj"),
                  ["dl_copy16", "dl_mma_f16", "_turned(a"])


def turned_bf16():
    """Tiles of 128."""
    return turned(BF16, (40, 72, 136, 72), "bik,bkj->bij", ("bik", "bkj"),
                  [*STAGES, "dl_mma_bf16"])


def turned_hopper():
    return turned(F16, (20, 136, 136, 72), "bki,bkj->bij", ("bki", "bkj"),
                  [*BOXES, "<1, 1>"], arch="sm_90a")


def turned_hopper_copies():
    return turned(F16, (10, 136, 136, 72), "bik,bkj->bij", ("bik", "bkj"),
                  ["dl_copy16", "<0, 1>"], arch="sm_90a",
                  env={"DLCC_EMU_MAPS": "0"})


def hopper(dtype, batch, sizes, k, has=BOXES, **more):
    """Products that dlcc takes for so many that tiles are large, 64 by 64 or,
    for a batch of one for each multiprocessor, 128 by 128: it guesses that
    m and n are 128."""
    calls = iter(sizes)
    ins = {"a": (dtype, (batch, "m", k)), "b": (dtype, (batch, "n", k))}
    out = TensorProto.INT32 if dtype == TensorProto.INT8 else dtype
    nodes = [node("Transpose", "b", "t", perm=[0, 2, 1]),
             node("MatMulInteger" if out != dtype else "MatMul", "a t", "y")]

    def feeds(rng):
        m, n = next(calls)
        return {"a": random(rng, dtype, (batch, m, k)),
                "b": random(rng, dtype, (batch, n, k))}
    return Case(model(nodes, ins, {"y": (out, (batch, "m", "n"))}), feeds,
                has=has, arch="sm_90a", **more)


def hopper_f16():
    return hopper(F16, 132, [(70, 20), (3, 5)], 72)


def hopper_bf16():
    """The ring goes round twice, and each block has two tiles."""
    return hopper(BF16, 33, [(70, 9), (5, 3)], 1160,
                  env={"DLCC_EMU_BLOCKS": "33"})


def hopper_copies():
    """Without maps of tensors."""
    return hopper(F16, 132, [(70, 20), (3, 5)], 328,
                  [*STAGES, "dl_wgmma_"], env={"DLCC_EMU_MAPS": "0"})


def hopper_i8():
    return hopper(TensorProto.INT8, 33, [(9, 10), (1, 65)], 912)


def bytes_staged():
    """int8 and uint8, both ways."""
    m, n, k = 70, 40, 912
    i8, u8 = TensorProto.INT8, TensorProto.UINT8
    ins = {"a": (u8, (m, k)), "b": (i8, (m, k))}
    consts = {"w": random(np.random.default_rng(5), i8, (k, n))}
    nodes = [node("MatMulInteger", "a w", "y"),
             node("MatMulInteger", "b w", "v")]
    return Case(model(nodes, ins, {"y": (TensorProto.INT32, (m, n)),
                                   "v": (TensorProto.INT32, (m, n))},
                      consts), feeder(ins),
                has=[*STAGES, "dl_mma_u8_i8", "dl_mma_i8_i8"])


def bytes_ragged():
    m, n, k = 33, 45, 77
    u8 = TensorProto.UINT8
    ins = {"a": (u8, (m, k)), "b": (u8, (k, n))}
    consts = {"za": np.array(120, "u1"), "zb": np.array(131, "u1")}
    nodes = [node("MatMulInteger", "a b za zb", "y")]
    return Case(model(nodes, ins, {"y": (TensorProto.INT32, (m, n))}, consts),
                feeder(ins))


def tf32():
    return gemm(F32, 40, 68, 260, options=["--fp32=tf32"],
                has=[*STAGES, "dl_mma_tf32("])


def tf32x3():
    return gemm(F32, 40, 36, 228, options=["--fp32=tf32x3"],
                has=[*STAGES, "dl_mma_tf32x3("])


def tf32_ragged():
    return matmul(F32, 65, 67, 45, options=["--fp32=tf32"],
                  has=[*REGISTERS, "dl_mma_tf32("])


def conv():
    """Groups, pads and strides; half floats beside it."""
    ins = {"x": (F32, (2, 8, 17, 19)), "w": (F32, (12, 4, 3, 3)),
           "h": (F16, (1, 24, 15, 16)), "v": (F16, (40, 24, 3, 3))}
    nodes = [node("Conv", "x w", "y", group=2, pads=[1, 2, 0, 1],
                  strides=[2, 1]),
             node("Conv", "h v", "z", pads=[1, 1, 1, 1])]
    return Case(model(nodes, ins, {"y": (F32, (2, 12, 8, 20)),
                                   "z": (F16, (1, 40, 15, 16))}),
                feeder(ins))


# ---- the rest --------------------------------------------------------

def gather():
    """Inputs of the second call are out of range."""
    ins = {"x": (F32, (10, 33)), "i": (TensorProto.INT64, (21,))}
    calls = iter((10, 14))
    nodes = [node("Gather", "x i", "y", axis=0)]

    def feeds(rng):
        n = next(calls)
        return {"x": random(rng, F32, (10, 33)),
                "i": rng.integers(-10, n, 21)}
    return Case(model(nodes, ins, {"y": (F32, (21, 33))}), feeds,
                has=["dl_index"])


def symbolic():
    """Kernels whose extents are arguments; each call has others."""
    calls = iter((35, 70))
    ins = {"a": (F16, ("n", 264)), "b": (F16, (100, 264))}
    nodes = [node("Gemm", "a b", "y", transB=1),
             node("Softmax", "y", "z", axis=-1)]

    def feeds(rng):
        return {"a": random(rng, F16, (next(calls), 264)),
                "b": random(rng, F16, (100, 264))}
    return Case(model(nodes, ins, {"y": (F16, ("n", 100)),
                                   "z": (F16, ("n", 100))}), feeds, ulp=4)


def attention(dtype, depth, width, **more):
    """Two steps of keys and more; heads of sizes that nothing divides."""
    ins = {"q": (dtype, (2, 40, depth)), "k": (dtype, (2, depth, 70)),
           "v": (dtype, (2, 70, width)), "m": (dtype, (40, 70))}
    nodes = [node("MatMul", "q k", "a"), node("Add", "a m", "b"),
             node("Softmax", "b", "c", axis=-1), node("MatMul", "c v", "y")]

    def feeds(rng):
        # Sums of positive numbers, whose last bits say what exp's do.
        made = feeder(ins)(rng)
        return {**made, "v": np.abs(made["v"])}
    return Case(model(nodes, ins, {"y": (dtype, (2, 40, width))}), feeds,
                has=["most["], **more)


def attention_f32():
    return attention(F32, 21, 40, ulp=16)


def attention_f16():
    return attention(F16, 24, 40, ulp=4)


def attention_bf16():
    return attention(BF16, 21, 13, ulp=4)


def attention_tf32():
    return attention(F32, 21, 40, ulp=16, options=["--fp32=tf32x3"])


def serial():
    """On one thread; and what the host has to wait for."""
    ins = {"x": (F32, (4, 40)), "i": (TensorProto.INT64, (2, 40)),
           "u": (F32, (2, 40))}
    nodes = [node("ScatterElements", "x i u", "y", axis=0, reduction="add"),
             node("CumSum", "x axis", "z")]

    def feeds(rng):
        return {"x": random(rng, F32, (4, 40)),
                "i": rng.integers(-4, 4, (2, 40)),
                "u": random(rng, F32, (2, 40))}
    return Case(model(nodes, ins, {"y": (F32, (4, 40)), "z": (F32, (4, 40))},
                      {"axis": np.array(1)}), feeds)


ALL = [chain_f32, chain_f64, chain_f16, chain_bf16, wide, integers, bools,
       casts, packed, functions, softmax, layer_norm, reductions, gemm_f32,
       gemm_f32_ragged, gemm_f64, matmul_i32, matmul_f16_ragged,
       gemm_f16_staged, gemm_bf16_staged, bytes_staged, turned_f16,
       turned_bf16, turned_hopper, turned_hopper_copies, hopper_f16,
       hopper_copies, hopper_bf16, hopper_i8, bytes_ragged, tf32, tf32x3,
       tf32_ragged, conv, gather, symbolic, attention_f32, attention_f16,
       attention_bf16, attention_tf32, serial]
