# SPDX-License-Identifier: Apache-2.0
"""The operators of com.microsoft that quantized files hold."""
import numpy as np

from makers_linear import conv_shapes, product_shapes, weights
from model import MICROSOFT, Q8, maker, requantized


def scaled(m, t, **more):
    """Names of a scale and a zero point."""
    return [m.number(m.scale(**more)), m.number(m.whole(t))]


def sure(m, t, **more):
    """The same as constants."""
    return [m.constant(m.scale(**more)), m.constant(m.whole(t))]


def spread(m):
    """Two shapes that broadcast."""
    shape = m.dims(m.integer(0, 4), 7)
    shapes = []
    for _ in range(2):
        keep = m.pick((0.5, 1, 1))
        s = [d if m.maybe(keep) else 1 for d in shape]
        shapes.append(s[m.integer(0, len(s)) if m.maybe(0.2) else 0:])
    return shapes


def binary(m, op):
    t = m.pick(Q8)
    (a, b) = spread(m)
    if m.symbolic and a != b:
        m.symbolic = False
    m.call(op, [m.input(m.whole(t, a)), *scaled(m, t),
                (m.input if m.maybe() else m.constant)(m.whole(t, b)),
                *scaled(m, t), *scaled(m, t, low=0.05, high=0.5)], [t],
           MICROSOFT)


@maker
def qlinear_add(m):
    binary(m, "QLinearAdd")


@maker
def qlinear_mul(m):
    binary(m, "QLinearMul")


@maker
def qlinear_sigmoid(m):
    t = m.pick(Q8)
    m.call("QLinearSigmoid",
           [m.input(m.whole(t, m.dims(m.integer(0, 3)))), *scaled(m, t),
            *scaled(m, t, low=0.003, high=0.01)], [t], MICROSOFT)


@maker
def qlinear_leaky_relu(m):
    t = m.pick(Q8)
    more = {"alpha": m.random.uniform(0, 2)} if m.maybe() else {}
    m.call("QLinearLeakyRelu",
           [m.input(m.whole(t, m.dims(m.integer(0, 3)))), *scaled(m, t),
            *scaled(m, t)], [t], MICROSOFT, **more)


@maker
def qlinear_softmax(m):
    t = m.pick(Q8)
    # In a row of one element it lets 256 wrap to 0.
    shape = [d + 1 for d in m.dims(m.integer(1, 4))]
    zero = np.array(np.iinfo(t).min, t)
    m.ties = 0.02           # it sums a table of rounded exponentials
    m.call("QLinearSoftmax",
           [m.input(m.whole(t, shape)), *sure(m, t),
            m.constant(np.float32(1 / 256)), m.constant(zero)], [t],
           MICROSOFT, axis=m.integer(-len(shape), len(shape) - 1),
           opset=m.pick((11, 13)))


@maker
def qlinear_concat(m):
    t = m.pick(Q8)
    shape = m.dims(m.integer(1, 4), 6)
    axis = m.integer(0, len(shape) - 1)
    names = sure(m, t)
    for _ in range(m.integer(1, 4)):
        shape[axis] = m.integer(1, 9)
        names += [m.input(m.whole(t, shape)), *sure(m, t)]
    m.call("QLinearConcat", names, [t], MICROSOFT,
           axis=axis - (len(shape) if m.maybe() else 0))


@maker
def qlinear_where(m):
    t = m.pick(Q8)
    a, b = spread(m)
    m.symbolic = False
    when = m.whole(np.int8, b if m.maybe() else a) < 20
    m.call("QLinearWhere",
           [m.input(when), m.input(m.whole(t, a)), *sure(m, t),
            m.input(m.whole(t, b)), *sure(m, t), *sure(m, t)], [t],
           MICROSOFT)


@maker
def qlinear_average_pool(m):
    t = m.pick(Q8)
    n = m.pick((1, 2, 2, 3))
    kernel = [m.integer(1, 4) for _ in range(n)]
    size = [m.integer(k, 13) for k in kernel]
    more = {"kernel_shape": kernel,
            "strides": [m.integer(1, 3) for _ in kernel],
            "count_include_pad": m.integer(0, 1)}
    how = m.pick(("none", "pads", "pads", "SAME_UPPER", "SAME_LOWER"))
    if how == "pads":
        more["pads"] = [m.integer(0, k - 1) for k in (*kernel, *kernel)]
        more["ceil_mode"] = m.integer(0, 1)
    elif how != "none":
        more["auto_pad"] = how
        m.symbolic = False
    shape = [m.integer(1, 2), m.integer(1, 40), *size]
    if m.maybe():
        more["channels_last"] = 1
        shape = [shape[0], *size, shape[1]]
    m.call("QLinearAveragePool",
           [m.input(m.whole(t, shape)), *scaled(m, t), *scaled(m, t)], [t],
           MICROSOFT, **more)


@maker
def qlinear_global_average_pool(m):
    t = m.pick(Q8)
    m.call("QLinearGlobalAveragePool",
           [m.input(m.whole(t, m.dims(m.integer(3, 5), 12))),
            *scaled(m, t), *scaled(m, t)], [t], MICROSOFT,
           channels_last=m.integer(0, 1))


@maker
def qgemm(m):
    ta = m.pick(Q8)
    tb = ta if ta == np.int8 else m.pick(Q8)
    rows, k, cols = m.integer(1, 17), m.integer(1, 70), m.integer(1, 35)
    trans_a, trans_b = m.integer(0, 1), m.integer(0, 1)
    per = (cols,) if m.maybe() else ()
    zero_b = np.full(per, m.whole(tb), tb)
    bias = None
    if m.maybe():
        shape = m.pick(((cols,), (rows, cols), (1, cols), (rows, 1), (1,),
                        ()))
        bias = m.constant(m.whole(np.int32, shape, -30000, 30000))
    ends, out = [], np.float32
    if m.maybe(0.7):
        ends = [m.constant(m.scale((), 0.5, 5)), m.constant(m.whole(ta))]
        out = ta
    else:
        m.rtol = 1e-6
    more = {"alpha": m.pick((0.5, 1.25))} if m.maybe() else {}
    m.call("QGemm",
           [m.input(m.whole(ta, (k, rows) if trans_a else (rows, k))),
            *scaled(m, ta),
            weights(m, m.whole(tb, (cols, k) if trans_b else (k, cols))),
            m.constant(m.scale(per)), m.constant(zero_b), bias, *ends],
           [out], MICROSOFT, transA=trans_a, transB=trans_b, **more)


@maker
def qlinear_conv_last(m):
    x, w, more = conv_shapes(m)
    t = m.pick(Q8)
    m.symbolic = m.symbolic and "auto_pad" not in more
    last = m.maybe(0.8)
    if last:
        x = [x[0], *x[2:], x[1]]
    per = (w[0],) if m.maybe() else ()
    m.call("QLinearConv",
           [m.input(m.whole(t, x)), *sure(m, t), m.constant(m.whole(t, w)),
            m.constant(m.scale(per)), m.constant(np.zeros(per, t)),
            *sure(m, t, low=0.5, high=5)], [t], MICROSOFT,
           channels_last=int(last), **more)


@maker
def matmul_integer_to_float(m):
    sa, sb = product_shapes(m)
    if len(sa) < 2 or len(sb) < 2:
        sa, sb = [3, 20], [20, 5]
    ta = m.pick(Q8)
    tb = ta if ta == np.int8 else m.pick(Q8)
    cols = m.pick(((), (sb[-1],))) if len(sb) == 2 else ()
    names = [m.input(m.whole(ta, sa)), weights(m, m.whole(tb, sb)),
             m.number(m.scale()), m.constant(m.scale(cols)),
             m.number(m.whole(ta)) if m.maybe() else None,
             m.constant(m.whole(tb, cols)) if m.maybe() else None]
    if m.maybe():
        names.append(m.constant(m.float(sb[-1])))
    m.rtol, m.atol = 1e-5, 1e-4
    m.call("MatMulIntegerToFloat", names, [np.float32], MICROSOFT)


@maker
def dynamic_quantize_matmul(m):
    rows, k, cols = m.integer(1, 17), m.integer(1, 70), m.integer(1, 35)
    lead = m.dims(m.integer(0, 1), 3)
    tb = m.pick(Q8)
    per = m.pick(((), (cols,)))
    names = [m.input(m.float([*lead, rows, k])),
             weights(m, m.whole(tb, (k, cols))), m.constant(m.scale(per)),
             m.constant(m.whole(tb, per)) if m.maybe() else None]
    if m.maybe():
        names.append(m.constant(m.float(cols)))
    m.rtol, m.atol = 1e-5, 1e-3
    m.call("DynamicQuantizeMatMul", names, [np.float32], MICROSOFT)


@maker
def quantize_linear(m):
    """Those of com.microsoft, 16 bits too."""
    t = m.pick((*Q8, np.uint16, np.int16))
    shape = m.dims(m.integer(1, 4))
    axis = m.integer(0, len(shape) - 1)
    per = (shape[axis],) if m.maybe() else ()
    more = {"axis": axis} if per else {}
    if per:
        m.symbolic = False
    x = m.input(m.float(shape, 3))
    scale, zero = m.constant(m.scale(per)), m.constant(m.whole(t, per))
    y, = m.call("QuantizeLinear", [x, scale, zero], [t], MICROSOFT, **more)
    m.call("DequantizeLinear", [y, scale, zero], [np.float32], MICROSOFT,
           **more)


def packed(numbers, bits):
    """Along the last axis, the first number in the low bits."""
    flags = (numbers[..., None] >> np.arange(bits)) & 1
    flags = flags.reshape(*numbers.shape[:-1], -1).astype(np.uint8)
    return np.packbits(flags, axis=-1, bitorder="little")


def nbits(m, bits):
    """Operands of MatMulNBits and the weights that they mean."""
    block = m.pick((16, 32, 64))
    k, n = m.integer(1, 150), m.integer(1, 40)
    if m.maybe(0.3):
        k = block * m.integer(1, 3)
    blocks = -(-k // block)
    q = m.whole(np.uint8, (n, blocks, block), 0, 2 ** bits - 1)
    scales = m.float((n, blocks), 0.1)
    zero = np.full((n, blocks), 2.0 ** (bits - 1), np.float32)
    names = [m.constant(packed(q, bits)), m.constant(scales)]
    how = m.pick(("none", "packed", "float"))
    if how == "packed":
        z = m.whole(np.uint8, (n, blocks), 0, 2 ** bits - 1)
        zero = z.astype(np.float32)
        names.append(m.constant(packed(z, bits)))
    elif how == "float":
        zero = m.float((n, blocks), 3)
        names.append(m.constant(zero))
    else:
        names.append(None)
    group = np.repeat(np.arange(blocks), block)[:k]
    # With packed zero points the peer reads another block's.
    if (how == "none" or bits != 4) and m.maybe(0.3):
        group = m.whole(np.int32, k, 0, blocks - 1)
        names.append(m.constant(group.astype(np.int32)))
    else:
        names.append(None)
    flat = q.reshape(n, -1)[:, :k].astype(np.float32)
    w = (flat - zero[:, group]) * scales[:, group]
    more = {"K": k, "N": n, "bits": bits, "block_size": block}
    return names, w, more


def matmul_nbits(m, bits):
    names, w, more = nbits(m, bits)
    a = m.float([*m.dims(m.integer(0, 2), 4), m.integer(1, 9), w.shape[1]])
    bias = np.zeros(w.shape[0], np.float32)
    if m.maybe(0.3):
        bias = m.float(w.shape[0])
        names.append(m.constant(bias))
    m.rtol, m.atol = 1e-4, 1e-4
    m.call("MatMulNBits", [m.input(a), *names], [np.float32], MICROSOFT,
           **more)
    return [a @ w.T + bias]


@maker
def matmul_4bits_peer(m):
    matmul_nbits(m, 4)


@maker
def matmul_nbits_any(m):
    """Of any width, against numpy: the peer has kernels for some."""
    m.want = matmul_nbits(m, m.pick((2, 3, 5, 6, 7, 8)))


@maker
def matmul_bnb4(m):
    block, kind = m.pick((16, 32, 64)), m.integer(0, 1)
    k, n = m.integer(1, 90), m.integer(1, 30)
    if n * k % 2:
        n += 1
    m.rtol, m.atol = 1e-4, 1e-4
    m.call("MatMulBnb4",
           [m.input(m.float([*m.dims(m.integer(0, 2), 4), m.integer(1, 9),
                             k])),
            m.constant(m.whole(np.uint8, n * k // 2)),
            m.constant(np.abs(m.float(-(-n * k // block))))], [np.float32],
           MICROSOFT, K=k, N=n, block_size=block, quant_type=kind)


@maker
def gather_block_quantized(m):
    bits, block = m.pick((4, 8)), m.pick((16, 32))
    rows, width = m.integer(1, 20), 2 * m.integer(4, 40)
    blocks = -(-width // block)
    q = m.whole(np.uint8, (rows, width), 0, 2 ** bits - 1)
    index = m.whole(np.int64, m.dims(m.integer(0, 2), 5), 0, rows - 1)
    names = [m.constant(packed(q, bits)), m.input(index),
             m.constant(m.float((rows, blocks)))]
    if m.maybe():
        names.append(m.constant(packed(
            m.whole(np.uint8, (rows, blocks), 0, 2 ** bits - 1), bits)))
    m.call("GatherBlockQuantized", names, [np.float32], MICROSOFT,
           gather_axis=0, quantize_axis=1, block_size=block, bits=bits)


# ---- attention and what surrounds it

def masks(m, batch, length, past):
    """The names of a mask of some form, or of none."""
    total = length + past
    how = m.pick(("none", "ones", "rows", "ends", "both"))
    if how == "none":
        return None
    # Of one dim its length says what it holds.
    if m.symbolic and how not in ("ones", "rows"):
        return None
    if how in ("ones", "rows"):
        shape = (batch, total) if how == "ones" else (batch, length, total)
        array = m.whole(np.int32, shape, 0, 1)
        array[..., 0] = 1
    else:
        array = m.whole(np.int32, batch, 1, total)
        if how == "both":
            array = np.concatenate([array, np.zeros(batch, np.int32)])
    return m.input(array.astype(np.int32), False)


def heads(m):
    batch, length, count = m.integer(1, 3), m.integer(1, 9), m.integer(1, 4)
    size = m.integer(1, 3) * 4
    past = m.integer(1, 5) if m.maybe(0.4) else 0
    m.rtol, m.atol = 1e-4, 1e-4
    return batch, length, count, size, past, m.integer(1, 24)


@maker
def attention(m):
    batch, length, count, size, past, width = heads(m)
    hidden = count * size
    names = [m.input(m.float((batch, length, width))),
             m.constant(m.float((width, 3 * hidden), 0.3)),
             m.constant(m.float(3 * hidden)),
             masks(m, batch, length, past)]
    names.append(m.input(m.float((2, batch, count, past, size)))
                 if past else None)
    if not past and m.maybe(0.3):
        names.append(m.input(m.float((batch, count, length,
                                      length + past))))
    more = {"scale": 0.3} if m.maybe(0.3) else {}
    outs = [np.float32] * (1 + (past > 0 or m.maybe(0.3)))
    m.call("Attention", names, outs, MICROSOFT, num_heads=count,
           unidirectional=m.integer(0, 1), **more)


@maker
def qattention(m):
    batch, length, count, size, past, width = heads(m)
    hidden = count * size
    per = m.pick(((), (3 * hidden,)))
    t = m.pick(Q8)
    names = [m.input(m.whole(np.uint8, (batch, length, width))),
             m.constant(m.whole(t, (width, 3 * hidden))),
             m.constant(m.float(3 * hidden)), m.constant(m.scale()),
             m.constant(m.scale(per, 0.001, 0.01)),
             masks(m, batch, length, past), m.constant(m.whole(np.uint8)),
             m.constant(m.whole(t, per, 0, 30))]
    if past:
        names.append(m.input(m.float((2, batch, count, past, size))))
    outs = [np.float32] * (1 + (past > 0))
    m.rtol, m.atol = 1e-3, 1e-3
    m.call("QAttention", names, outs, MICROSOFT, num_heads=count,
           unidirectional=m.integer(0, 1))


def embedding(m, make):
    """Operands up to the mask, of tables that make() makes."""
    batch, length, width = m.integer(1, 3), m.integer(1, 9), m.integer(4, 40)
    m.symbolic = m.maybe(0.3)
    ids = [m.input(m.whole(np.int32, (batch, length), 0, 9))]
    segment = m.maybe(0.7)
    ids.append(m.input(m.whole(np.int32, (batch, length), 0, 1))
               if segment else None)
    tables = [make((10, width)), make((length + 2, width)),
              make((2, width)) if segment else None, make((width,)),
              make((width,))]
    mask = m.input(m.whole(np.int32, (batch, length), 0, 1)) \
        if m.maybe() else None
    m.rtol, m.atol = 1e-4, 1e-4
    return [*ids, *tables, mask], (batch, length), segment


@maker
def embed_layer_normalization(m):
    names, shape, _ = embedding(m, lambda s: m.constant(m.float(s)))
    if m.maybe(0.3):
        names.append(m.input(m.whole(np.int32, shape, 0, shape[1])))
    outs = [np.float32, np.int32] + [np.float32] * m.integer(0, 1)
    m.call("EmbedLayerNormalization", names, outs, MICROSOFT, epsilon=1e-5)


@maker
def qembed_layer_normalization(m):
    t = m.pick(Q8)
    names, _, segment = embedding(m, lambda s: m.constant(m.whole(t, s)))
    for make in (m.scale, lambda: m.whole(t)):
        for k in range(5):
            absent = k == 2 and not segment
            names.append(None if absent else m.constant(make()))
    m.call("QEmbedLayerNormalization", names, [np.float32, np.int32],
           MICROSOFT, epsilon=1e-5)


@maker
def skip_layer_normalization(m):
    batch, length, width = m.integer(1, 3), m.integer(1, 9), m.integer(4, 70)
    vector = (lambda: m.constant(m.float(width)))
    skip = m.pick(((batch, length, width), (1, length, width),
                   (length, width)))
    names = [m.input(m.float((batch, length, width))),
             m.input(m.float(skip)), vector(),
             vector() if m.maybe() else None, vector() if m.maybe() else None]
    outs = [np.float32, None, None, np.float32] if m.maybe() else [np.float32]
    m.rtol, m.atol = 1e-4, 1e-5
    op = "SkipLayerNormalization"
    if m.maybe(0.4):
        op = "SkipSimplifiedLayerNormalization"
        del names[3]
    m.call(op, names, outs, MICROSOFT, epsilon=1e-5)


@maker
def layer_normalization_early(m):
    """In opsets that do not have it."""
    m.opset = 12
    shape = m.dims(3)
    op = m.pick(("LayerNormalization", "SimplifiedLayerNormalization"))
    m.rtol, m.atol = 1e-4, 1e-5
    names = [m.input(m.float(shape)), m.constant(m.float(shape[-1]))]
    if op == "LayerNormalization" and m.maybe():
        names.append(m.constant(m.float(shape[-1])))
    statistics = 2 if op == "LayerNormalization" else 1
    m.call(op, names, [np.float32] * (1 + m.pick((0, statistics))), axis=-1,
           epsilon=1e-5)


@maker
def dynamic_quantize_lstm(m):
    """A state that is nearly a tie may differ by a step."""
    t = m.pick(Q8)
    m.symbolic = m.maybe(0.3)
    steps, batch = m.integer(1, 6), m.integer(1, 3)
    inputs, hidden = m.integer(2, 20), m.integer(1, 12)
    way = m.pick(("forward", "reverse", "bidirectional"))
    dirs = 1 + (way == "bidirectional")
    zero = 0 if t == np.int8 else 128
    per = m.pick(((dirs,), (dirs, 4 * hidden)))
    scale = (lambda: m.constant(m.scale(per, 0.001, 0.004) / 4))
    zeros = (lambda: m.constant(np.full(per, zero, t)))
    names = [m.input(m.float((steps, batch, inputs))),
             m.constant(m.whole(t, (dirs, inputs, 4 * hidden))),
             m.constant(m.whole(t, (dirs, hidden, 4 * hidden))),
             m.constant(m.float((dirs, 8 * hidden), 0.3))
             if m.maybe() else None, None,
             m.input(m.float((dirs, batch, hidden), 0.5))
             if m.maybe() else None, None, None,
             scale(), zeros(), scale(), zeros()]
    m.rtol, m.atol = 0, 1e-3
    m.call("DynamicQuantizeLSTM", names, [np.float32] * 3, MICROSOFT,
           hidden_size=hidden, direction=way)


# ---- what the optimizer fuses

@maker
def fused_matmul(m):
    rows, k, cols = m.dims(3)
    batch = m.dims(m.integer(1, 2), 3)
    m.rtol, m.atol = 1e-4, 1e-4

    def operand(last, kept):
        swap, move = m.integer(0, 1), m.integer(0, 1)
        shape = [*batch, *((last, kept) if swap else (kept, last))]
        if move:
            shape = [shape[-2], *shape[:-2], shape[-1]]
        return m.float(shape), swap, move

    (a, ta, ma), (b, tb, mb) = operand(k, rows), operand(cols, k)
    m.call("FusedMatMul", [m.input(a), m.input(b)], [np.float32], MICROSOFT,
           alpha=m.pick((1.0, 0.5)), transA=ta, transB=tb, transBatchA=ma,
           transBatchB=mb)


@maker
def fused_conv(m):
    x, w, more = conv_shapes(m)
    # Floats over symbolic volumes may compile for minutes.
    m.symbolic = m.symbolic and "auto_pad" not in more and len(x) < 5
    act = m.pick((("Relu",), ("Tanh",), ("Sigmoid",), ("LeakyRelu", 0.2),
                  ("Clip", -0.5, 0.5), ("HardSigmoid", 0.3, 0.4)))
    m.rtol, m.atol = 1e-3, 1e-4
    if len(act) > 1:
        more["activation_params"] = act[1:]
    m.call("FusedConv", [m.input(m.float(x)), m.constant(m.float(w)),
                         m.constant(m.float(w[0]))], [np.float32],
           MICROSOFT, activation=act[0], **more)


@maker
def gelus(m):
    shape = m.dims(m.integer(1, 3))
    m.rtol, m.atol = 1e-4, 1e-5
    op = m.pick(("Gelu", "FastGelu", "BiasGelu", "QuickGelu"))
    names = [m.input(m.float(shape, 2))]
    if op == "BiasGelu" or (op == "FastGelu" and m.maybe()):
        names.append(m.constant(m.float(shape[-1])))
    m.call(op, names, [np.float32], MICROSOFT)
