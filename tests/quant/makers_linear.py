# SPDX-License-Identifier: Apache-2.0
"""The quantized operators of ONNX's own domain."""
import numpy as np

from model import Q8, Skip, maker, requantized


@maker
def dynamic_quantize(m):
    x = m.float(m.dims(m.integer(0, 4)), m.pick((0.01, 1, 300)))
    how = m.pick(("plain", "plain", "positive", "zeros", "nan"))
    if how == "positive":
        x = np.abs(x) + np.float32(1)
    elif how == "zeros":
        x = np.zeros_like(x)
    elif how == "nan" and x.ndim:
        x[m.numbers.random(x.shape) < 0.2] = np.nan
    m.call("DynamicQuantizeLinear", [m.input(x)],
           [np.uint8, np.float32, np.uint8])
    if how != "nan" or not np.isnan(x).any():
        return
    # What it does to the range in ONNX Runtime depends on where it is.
    f, known = np.float32, np.where(np.isnan(x), np.float32(0), x)
    low, high = min(f(0), known.min()), max(f(0), known.max())
    scale = f(1) if low == high else f(f(high - low) / f(255))
    zero = np.rint(np.clip(-low / scale, 0, 255))
    y = np.clip(np.rint(known / scale) + zero, 0, 255)
    m.want = [np.where(np.isnan(x), 0, y).astype(np.uint8), np.array(scale),
              np.array(zero, np.uint8)]


def product_shapes(m):
    """Two shapes for MatMul."""
    rows, k, cols = m.integer(1, 17), m.integer(1, 70), m.integer(1, 35)
    a, b = [rows, k], [k, cols]
    how = m.integer(0, 5)
    if how == 1:
        a = [*m.dims(m.integer(1, 2), 3), *a]
    elif how == 2:
        lead = m.dims(2, 3)
        a, b = [*lead, *a], [lead[1], *b]
    elif how == 3:
        a, b = [2, 1, *a], [1, 3, *b]
    elif how == 4:
        a = [k]
    elif how == 5:
        b = [k]
    return a, b


def weights(m, array):
    return m.constant(array) if m.maybe(0.7) else m.input(array)


@maker
def matmul_integer(m):
    """Per row or with batches of zero points ONNX Runtime has no kernel."""
    (sa, sb), (ta, tb) = product_shapes(m), (m.pick(Q8), m.pick(Q8))
    a, b = m.whole(ta, sa), m.whole(tb, sb)
    shape_a = shape_b = ()
    if len(sa) > 1:
        shape_a = m.pick(((), (1,), (sa[-2],), (*sa[:-1], 1)))
    if len(sb) > 1:
        shape_b = m.pick(((), (1,), (sb[-1],), (*sb[:-2], 1, sb[-1])))
    za, zb = m.whole(ta, shape_a), m.whole(tb, shape_b)
    names = [m.input(a), weights(m, b)]
    if m.maybe(0.8):
        names.append(m.number(za))
        if m.maybe(0.8):
            names.append(m.number(zb))
        else:
            zb = np.zeros((), tb)
    else:
        za, zb = np.zeros((), ta), np.zeros((), tb)
    m.call("MatMulInteger", names, [np.int32])
    wide_a = za[:, None] if za.ndim == 1 and za.size > 1 else za
    m.want = [np.matmul(a.astype(np.int64) - wide_a.astype(np.int64),
                        b.astype(np.int64) - zb.astype(np.int64)
                        ).astype(np.int32)]


@maker
def matmul_integer_peer(m):
    (sa, sb), (ta, tb) = product_shapes(m), (m.pick(Q8), m.pick(Q8))
    names = [m.input(m.whole(ta, sa)), weights(m, m.whole(tb, sb))]
    if m.maybe(0.8):
        names.append(m.number(m.whole(ta)))
        if m.maybe(0.8):
            cols = () if len(sb) != 2 else m.pick(((), (sb[-1],)))
            names.append(m.constant(m.whole(tb, cols)))
    m.call("MatMulInteger", names, [np.int32])


@maker
def matmul_long_sum(m):
    """More terms than 32 bits hold at full range: the sum wraps."""
    k = 66304
    a = np.full((2, k), 255, np.uint8)
    b = np.full((k, 3), m.pick((127, -128)), np.int8)
    m.symbolic = False
    m.call("MatMulInteger", [m.input(a), m.input(b)], [np.int32])
    m.want = [(a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)]


def linear_matmul(m, rows):
    (sa, sb) = product_shapes(m)
    ta, tb = m.pick((*Q8, np.uint8)), m.pick(Q8)
    if ta == np.int8:
        tb = ta
    ty = ta
    cols = (sb[-1],) if len(sb) == 2 and m.maybe() else ()
    a, b = m.whole(ta, sa), m.whole(tb, sb)
    row = (sa[-2],) if rows and len(sa) > 1 else ()
    s_a, z_a = m.scale(row), m.whole(ta, row)
    s_b, z_b = m.scale(cols), m.whole(tb, cols)
    if m.maybe():
        z_b = np.zeros_like(z_b)
    y_row = row if m.maybe() else ()
    s_y = m.scale(y_row, 0.5, 5) * np.float32(np.sqrt(sb[0]))
    z_y = m.whole(ty, y_row)
    m.call("QLinearMatMul",
           [m.input(a), m.number(s_a), m.number(z_a), weights(m, b),
            m.constant(s_b), m.constant(z_b), m.number(s_y),
            m.number(z_y)], [ty])
    if not rows:
        return
    total = np.matmul(
        a.astype(np.int64) - np.reshape(z_a, (*row, 1) if row else ())
        .astype(np.int64), b.astype(np.int64) - z_b.astype(np.int64))
    if len(sa) == 1 or len(sb) == 1:
        raise Skip
    down = (lambda v: v[:, None] if v.ndim else v)
    m.want = [requantized(total, down(s_a), s_b, down(s_y), down(z_y), ty)]


@maker
def qlinear_matmul(m):
    linear_matmul(m, False)


@maker
def qlinear_matmul_rows(m):
    linear_matmul(m, True)


def conv_shapes(m):
    """Shapes of image and weight, and attributes."""
    n = m.pick((1, 2, 2, 2, 3))
    group = m.pick((1, 1, 1, 2, 4))
    per = m.integer(1, 6) if m.maybe(0.8) else 1
    outs = group * m.integer(1, 6)
    kernel = [m.integer(1, 3) for _ in range(n)]
    dilations = [m.pick((1, 1, 2)) for _ in range(n)]
    strides = [m.pick((1, 1, 2)) for _ in range(n)]
    size = [m.integer(d * (k - 1) + 1, 12)
            for k, d in zip(kernel, dilations)]
    more = {"group": group, "strides": strides, "dilations": dilations}
    if m.maybe():
        more["kernel_shape"] = kernel
    how = m.pick(("none", "pads", "pads", "SAME_UPPER", "SAME_LOWER",
                  "VALID"))
    if how == "pads":
        more["pads"] = [m.integer(0, k) for k in (*kernel, *kernel)]
    elif how != "none":
        more["auto_pad"] = how
        if how.startswith("SAME"):
            more["dilations"] = [1] * n
    return [m.integer(1, 2), group * per, *size], [outs, per, *kernel], more


@maker
def conv_integer(m):
    x, w, more = conv_shapes(m)
    m.symbolic = m.symbolic and "auto_pad" not in more
    names = [m.input(m.whole(np.uint8, x)),
             weights(m, m.whole(np.uint8, w))]
    if m.maybe(0.8):
        names.append(m.number(m.whole(np.uint8)))
        if m.maybe():
            names.append(m.constant(m.whole(np.uint8)))
    m.call("ConvInteger", names, [np.int32], **more)


@maker
def qlinear_conv(m):
    x, w, more = conv_shapes(m)
    tx, tw = m.pick((*Q8, np.uint8)), m.pick(Q8)
    if tx == np.int8:
        tw = tx
    m.symbolic = m.symbolic and "auto_pad" not in more
    per = (w[0],) if m.maybe() else ()
    zero_w = m.whole(tw, ()) if m.maybe() else np.zeros((), tw)
    if per:
        # ONNX Runtime wants these equal.
        zero_w = np.full(per, zero_w, tw)
    bias = [m.constant(m.whole(np.int32, w[0], -20000, 20000))]
    s_y = m.scale((), 0.5, 5)
    m.call("QLinearConv",
           [m.input(m.whole(tx, x)), m.number(m.scale()),
            m.number(m.whole(tx)), m.constant(m.whole(tw, w)),
            m.constant(m.scale(per)), m.constant(zero_w), m.number(s_y),
            m.number(m.whole(tx)), *(bias if m.maybe() else [])], [tx],
           **more)


def windows(x, zero, w, more):
    """The integer sums of a convolution, of int64 operands."""
    n = x.ndim - 2
    kernel, strides = w.shape[2:], more["strides"]
    dilations, group = more["dilations"], more["group"]
    pads = more.get("pads", [0] * 2 * n)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])],
               constant_values=zero) - zero
    out = [(x.shape[2 + i] - dilations[i] * (kernel[i] - 1) - 1) //
           strides[i] + 1 for i in range(n)]
    x = x.reshape(x.shape[0], group, -1, *x.shape[2:])
    w = w.reshape(group, -1, *w.shape[1:])
    total = 0
    for at in np.ndindex(*kernel):
        cut = tuple(slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s
                    in zip(at, dilations, out, strides))
        tap = x[(slice(None), slice(None), slice(None), *cut)]
        total = total + np.einsum("bgc...,gmc->bgm...", tap,
                                  w[(Ellipsis, *at)])
    return total.reshape(x.shape[0], -1, *out)


def numpy_conv(m):
    """Any signs, a zero point for each channel: the peer has neither."""
    x, w, more = conv_shapes(m)
    more.pop("auto_pad", None)
    m.symbolic = m.maybe(0.3)
    tx, tw = m.pick(Q8), m.pick(Q8)
    image, weight = m.whole(tx, x), m.whole(tw, w)
    zx, zw = m.whole(tx), m.whole(tw, w[0])
    wide = weight.astype(np.int64) - \
        zw.astype(np.int64).reshape(-1, *[1] * (len(w) - 1))
    total = windows(image.astype(np.int64), int(zx), wide, more)
    return (image, zx, weight, zw), total, more


@maker
def conv_integer_zeros(m):
    (x, zx, w, zw), total, more = numpy_conv(m)
    m.call("ConvInteger", [m.input(x), weights(m, w), m.number(zx),
                           m.number(zw)], [np.int32], **more)
    m.want = [total.astype(np.int32)]


@maker
def qlinear_conv_zeros(m):
    (x, zx, w, zw), total, more = numpy_conv(m)
    ty = m.pick(Q8)
    bias = m.whole(np.int32, w.shape[0], -20000, 20000)
    sx, sw, sy = m.scale(), m.scale(w.shape[0]), m.scale((), 0.5, 5)
    zy = m.whole(ty)
    m.call("QLinearConv",
           [m.input(x), m.number(sx), m.number(zx), weights(m, w),
            m.number(sw), m.number(zw), m.number(sy), m.number(zy),
            m.constant(bias)], [ty], **more)
    down = (lambda v: v.reshape(-1, *[1] * (x.ndim - 2)))
    m.want = [requantized(total + down(bias), sx, down(sw), sy, zy, ty)]
