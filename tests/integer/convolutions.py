# SPDX-License-Identifier: Apache-2.0
"""Convolutions of integers."""
import numpy as np

from deck import SIGNS, Cases, wrapped
from makers_linear import windows
from model import requantized

# Image, weights, and attributes that are not the default.
FORMS = (
    ("1x1", (1, 24, 5, 7), (18, 24, 1, 1), {}),
    ("3x3, pads", (1, 16, 7, 6), (20, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    ("3x3, uneven pads", (2, 8, 6, 7), (17, 8, 3, 3),
     {"pads": [0, 2, 1, 0]}),
    ("stride 2", (1, 12, 9, 8), (16, 12, 3, 3),
     {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("dilation", (1, 10, 9, 9), (9, 10, 3, 3),
     {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    ("groups", (1, 16, 6, 6), (24, 8, 3, 3),
     {"pads": [1, 1, 1, 1], "group": 2}),
    ("small groups", (1, 12, 5, 5), (20, 3, 1, 1), {"group": 4}),
    ("depthwise", (1, 9, 8, 7), (9, 1, 3, 3),
     {"pads": [1, 1, 1, 1], "group": 9}),
    ("depthwise, stride 2", (1, 20, 9, 9), (20, 1, 3, 3),
     {"pads": [1, 0, 1, 1], "group": 20, "strides": [2, 2]}),
    ("twice the depth", (1, 6, 7, 7), (12, 1, 3, 3), {"group": 6}),
    ("3 channels", (1, 3, 12, 11), (16, 3, 3, 3),
     {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("1 channel, 5x5", (1, 1, 9, 9), (6, 1, 5, 5), {"pads": [2, 2, 2, 2]}),
    ("a line", (2, 7, 19), (10, 7, 5), {"pads": [2, 1]}),
    ("a volume", (1, 4, 4, 5, 4), (6, 4, 2, 3, 2),
     {"pads": [0, 1, 1, 1, 1, 0]}),
)
# Dims that a symbolic model does not know: images, and their lines.
OPEN = {3: (0, 2), 4: (0, 2), 5: (0,)}
ZEROS = ("none", "scalar", "scalar", "low", "high")


def completed(shape, more):
    n = len(shape) - 2
    return {"group": 1, "strides": [1] * n, "dilations": [1] * n,
            "pads": [0] * 2 * n, **more}


def column(v, n):
    """One number for each output channel."""
    return np.reshape(v, (-1, *[1] * n)) if np.ndim(v) else v


def operands(m, shape, weight, signs, zeros, per_channel, how="random"):
    """Two arrays and their zero points, as numbers and as arrays."""
    tx, tw = signs
    x, w = m.numbers_of(tx, shape), m.numbers_of(tw, weight, how)
    zx, given_x = m.zero_of(tx, zeros[0], 0)
    zw, given_w = m.zero_of(tw, "each" if per_channel else zeros[1],
                            weight[0])
    return x, w, zx, given_x, zw, given_w


def plain(full):
    """ConvInteger."""
    for i in range(len(SIGNS) + 2):
        m = Cases(600 + i, symbolic=i == 1)
        za, zb = m.deck(ZEROS), m.deck(ZEROS)
        is_constant = m.deck((True, True, False))
        for k, (said, shape, weight, more) in enumerate(FORMS):
            more, signs = completed(shape, more), SIGNS[(i + k) % 4]
            x, w, zx, given_x, zw, given_w = operands(
                m, shape, weight, signs, (za(), zb()), m.maybe(0.2),
                "random" if i < len(SIGNS) else "near")
            names = [m.input(x, OPEN[len(shape)]), m.given(w, is_constant())]
            if given_x is not None or given_w is not None:
                names.append(m.number(given_x if given_x is not None
                                      else np.zeros((), signs[0])))
            if given_w is not None:
                names.append(m.number(given_w))
            m.call("ConvInteger", names, [np.int32], **more)
            n = len(shape) - 2
            total = windows(x.astype(np.int64), int(zx), w.astype(np.int64)
                            - np.reshape(zw, (-1, *[1] * (n + 1))), more)
            m.case(f"{said}: {signs[0].__name__} {signs[1].__name__}",
                   wrapped(total))
        yield f"conv_{i}", m


def requantized_forms(full):
    """QLinearConv, and the same between Q and DQ."""
    for i in range(8 if full else 3):
        m = Cases(700 + i, symbolic=i == 2)
        is_qdq = m.wrong_by_one = i == 2 or i > 5
        signs, ty = m.deck(SIGNS), m.deck((np.uint8, np.int8))
        for said, shape, weight, more in FORMS:
            requantized_form(m, said, shape, weight,
                             completed(shape, more), signs(), ty(), is_qdq)
        yield ("conv_qdq_%d" if is_qdq else "qlinear_conv_%d") % i, m


def requantized_form(m, said, shape, weight, more, signs, ty, is_qdq):
    n = len(shape) - 2
    per = m.maybe()
    x, w, zx, _, zw, _ = operands(m, shape, weight, signs,
                                  ("scalar", "scalar"), per)
    zx, zw, zy = zx.astype(signs[0]), zw.astype(signs[1]), m.whole(ty)
    sx, sw = m.scale(), m.scale(weight[0] if per else ())
    depth = np.prod(weight[1:])
    sy = (m.scale((), 0.5, 5) * np.float32(8 * np.sqrt(depth))).astype(
        np.float32)
    bias = m.whole(np.int32, weight[0], -20000, 20000)
    total = windows(x.astype(np.int64), int(zx), w.astype(np.int64) -
                    np.reshape(zw.astype(np.int64), (-1, *[1] * (n + 1))),
                    more) + column(bias.astype(np.int64), n)
    parts = [m.constant(v) for v in (sx, zx, w, sw, zw, sy, zy, bias)]
    image = m.input(x, OPEN[len(shape)])
    if is_qdq:
        a = m.inner("DequantizeLinear", [image, *parts[:2]])
        b = m.inner("DequantizeLinear", parts[2:5], axis=0)
        sb = m.constant(np.broadcast_to((sx * sw).astype(np.float32),
                                        weight[0]).copy())
        c = m.inner("DequantizeLinear", [parts[7], sb], axis=0)
        y = m.inner("Conv", [a, b, c], **more)
        m.call("QuantizeLinear", [y, *parts[5:7]], [ty])
    else:
        m.call("QLinearConv", [image, *parts], [ty], **more)
    m.case(f"{said}: {signs[0].__name__} {signs[1].__name__}",
           requantized(total, sx, column(sw, n), sy, zy, ty))


# Channels, image, windows, and attributes that are not the default: rows of
# one block and of several, with and without a last one that is shorter.
DEPTHWISE = (
    (40, (5, 19), (3, 3), {"pads": [1, 1, 1, 1]}),
    (33, (9, 16), (5, 5), {"pads": [2, 2, 2, 2]}),
    (16, (12, 35), (3, 3), {"pads": [0, 1, 1, 1], "strides": [2, 2]}),
    (70, (7, 7), (3, 3), {"pads": [1, 1, 1, 1]}),
    (24, (8, 9), (7, 7), {"pads": [3, 3, 3, 3]}),
    (20, (6, 30), (3, 3), {"pads": [2, 3, 2, 3], "dilations": [2, 3]}),
    (17, (9, 21), (3, 2), {"strides": [1, 2]}),
    (9, (4, 3), (3, 5), {"pads": [1, 4, 1, 4]}),
    (64, (1, 40), (1, 4), {"pads": [0, 3, 0, 0]}),
)


def quantized_step(m, x, tensor, sx, zx, weight, more, ty):
    """A QLinearConv of x, whose name is `tensor`: what it gives, its name,
    scale and zero point.  The results fill their type."""
    tw = m.deck_w()
    w, zw = m.numbers_of(tw, weight), m.whole(tw)
    sw = m.scale(weight[0])
    bias = m.whole(np.int32, weight[0], -2000, 2000)
    total = windows(x.astype(np.int64), int(zx), w.astype(np.int64) -
                    int(zw), more) + column(bias.astype(np.int64), 2)
    real, info = total * (float(sx) * column(sw, 2)), np.iinfo(ty)
    sy = np.float32(np.std(real) / 50)
    zy = np.clip(np.rint((int(info.min) + int(info.max)) / 2 -
                         np.mean(real) / sy), info.min, info.max).astype(ty)
    zws = np.full(weight[0], zw, tw)
    name = m.inner("QLinearConv", [
        tensor, *[m.constant(v) for v in (sx, zx, w, sw, zws, sy, zy, bias)]],
        **more)
    return requantized(total, sx, column(sw, 2), sy, zy, ty), name, sy, zy


def depthwise(full):
    """Between two 1x1 convolutions, which choose the order of memory."""
    for i in range(4 if full else 2):
        m = Cases(900 + i)
        signs, ty = m.deck(SIGNS), m.deck((np.uint8, np.int8))
        m.deck_w = m.deck((np.int8, np.int8, np.uint8))
        for channels, image, window, more in DEPTHWISE:
            tx = signs()[0]
            x, zx, sx = m.numbers_of(tx, (2, 12, *image)), m.whole(tx), \
                m.scale()
            y, tensor = x, m.input(x)
            steps = (((channels, 12, 1, 1), {}),
                     ((channels, 1, *window), {"group": channels, **more}),
                     ((5, channels, 1, 1), {}))
            for weight, attributes in steps:
                y, tensor, sx, zx = quantized_step(
                    m, y, tensor, sx, zx, weight,
                    completed(weight, attributes), ty())
            m.call("Identity", [tensor], [y.dtype.type])
            m.case(f"{channels} channels, {window}, {more}", y)
        yield f"depthwise_{i}", m


# Channels on both sides of where a sum of 3x3 windows could leave 26 and 30
# bits, which is when pass winograd has to leave it alone.
LIMITS = ((np.uint8, np.int8, (114, 116, 1826, 1830)),
          (np.int8, np.int8, (226, 228)), (np.uint8, np.uint8, (56, 58, 60)))


def at_limits(full):
    """ConvInteger with 3x3 windows and operands at the ends of their types."""
    m = Cases(800)
    m.is_short, m.evaluated = True, False
    more = completed((1, 1, 6, 5), {"pads": [1, 1, 1, 0]})
    for tx, tw, depths in LIMITS:
        for depth in depths:
            for how in ("high", "low", "ends"):
                x = m.numbers_of(tx, (1, depth, 6, 5),
                                 "high" if tx == np.uint8 else how)
                w = m.numbers_of(tw, (9, depth, 3, 3), how)
                zx = m.whole(tx)
                # Where the bound is met, and a column of the other sign.
                w[3] = m.numbers_of(tw, w[3].shape, "ends")
                names = [m.input(x), m.constant(w), m.number(zx)]
                m.call("ConvInteger", names, [np.int32], **more)
                m.case(f"{depth} channels, {how}: {tx.__name__} "
                       f"{tw.__name__}",
                       wrapped(windows(x.astype(np.int64), int(zx),
                                       w.astype(np.int64), more)))
    yield "windows", m


def models(full):
    yield from plain(full)
    yield from at_limits(full)
    yield from requantized_forms(full)
    yield from depthwise(full)
