# SPDX-License-Identifier: Apache-2.0
"""Ops over images of one to three dims, for random graphs."""
import numpy as np

from graphs import MOST_ELEMENTS


def image(g, rank=None):
    """A value as batch, channels and spatial dims."""
    rank = rank or g.pick((3, 4, 4, 4, 5))
    x = g.value(lambda v: v.rank == rank and min(v.shape[2:]) > 1)
    if x is not None:
        return x
    dims = g.shape(rank - 2, 600)
    batch, channels = g.dim(2), g.dim(17)
    if batch * channels * np.prod(dims) > MOST_ELEMENTS:
        channels = 2
    return g.input(g.float, (batch, channels, *dims))


def window(g, x, dilate=True):
    """Attributes of a window over the spatial dims and the sizes it makes,
    or None where it does not fit."""
    n = x.rank - 2
    kernel = [g.pick((1, 2, 3, 3, 5, 7)) for _ in range(n)]
    stride = [g.pick((1, 1, 2, 3)) for _ in range(n)]
    dilation = [g.pick((1, 1, 1, 2)) if dilate else 1 for _ in range(n)]
    if dilate and g.maybe(0.3):
        kernel, stride, dilation = [3] * n, [1] * n, [1] * n
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    begin = [g.random.randrange(0, (k + 1) // 2 + 1) for k in kernel]
    end = [g.random.randrange(0, (k + 1) // 2 + 1) for k in kernel]
    if not dilate:
        begin = [min(b, k - 1) for b, k in zip(begin, kernel)]
        end = [min(e, k - 1) for e, k in zip(end, kernel)]
    out = []
    for d, b, e, r, s in zip(x.shape[2:], begin, end, reach, stride):
        if d + b + e < r:
            return None
        out.append((d + b + e - r) // s + 1)
    attributes = {"kernel_shape": kernel, "strides": stride,
                  "pads": begin + end}
    if dilate:
        attributes["dilations"] = dilation
    return attributes, out


def conv(g):
    if not g.single:
        return
    x = image(g)
    fit = window(g, x)
    if fit is None:
        return
    attributes, out = fit
    channels = x.shape[1]
    group = g.pick(d for d in (1, 1, 1, 2, 2, 3, 4, 5, 8, channels)
                   if channels % d == 0)
    made = group * g.dim(33 if group < 4 else 17 if group < channels else 2)
    if x.shape[0] * made * np.prod(out) > MOST_ELEMENTS:
        return
    each = channels // group
    fan = each * np.prod(attributes["kernel_shape"])
    w = g.weight((made, each, *attributes["kernel_shape"]), fan ** -0.5)
    b = [g.weight((made,))] if g.maybe(0.7) else []
    z = g.call("Conv", [x, w, *b], (x.shape[0], made, *out), group=group,
               **attributes)
    if g.maybe(0.6):
        z = g.call(g.pick(("Relu", "Sigmoid", "HardSwish")), [z], z.shape)
    if g.maybe(0.3):
        g.call("Add", [z, g.input(g.float, z.shape)], z.shape)


def conv_transpose(g):
    if not g.single:
        return
    x = image(g)
    n = x.rank - 2
    kernel = [g.pick((1, 2, 3, 4)) for _ in range(n)]
    stride = [g.pick((1, 2, 3)) for _ in range(n)]
    pads = [g.random.randrange(0, (k + 1) // 2) for k in kernel] * 2
    extra = [g.random.randrange(0, s) for s in stride]
    out = [(d - 1) * s + k - 2 * p + e for d, s, k, p, e in
           zip(x.shape[2:], stride, kernel, pads, extra)]
    channels = x.shape[1]
    group = g.pick(d for d in (1, 2, 4, channels) if channels % d == 0)
    each = g.dim(5)
    if min(out) < 1 or x.shape[0] * group * each * np.prod(out) > \
            MOST_ELEMENTS:
        return
    w = g.weight((channels, each, *kernel), (channels // group) ** -0.5)
    g.call("ConvTranspose", [x, w], (x.shape[0], group * each, *out),
           group=group, strides=stride, pads=pads, output_padding=extra,
           kernel_shape=kernel)


def pool(g):
    x = image(g)
    if g.maybe(0.2) and g.single:
        g.call(g.pick(("GlobalAveragePool", "GlobalMaxPool")), [x],
               (*x.shape[:2], *[1] * (x.rank - 2)))
        return
    fit = window(g, x, False)
    if fit is None:
        return
    attributes, out = fit
    if g.maybe() and g.single:
        g.call("AveragePool", [x], (*x.shape[:2], *out),
               count_include_pad=int(g.maybe()), **attributes)
    else:
        g.call("MaxPool", [x], (*x.shape[:2], *out), **attributes)


def blocks(g):
    x = g.value(lambda v: v.rank == 4)
    if x is None:
        return
    n, c, h, w = x.shape
    if h % 2 == 0 and w % 2 == 0:
        g.call("SpaceToDepth", [x], (n, c * 4, h // 2, w // 2), blocksize=2)
    elif c % 4 == 0:
        g.call("DepthToSpace", [x], (n, c // 4, h * 2, w * 2), blocksize=2,
               mode=g.pick(("DCR", "CRD")))


def resize(g):
    if not g.single:
        return
    x = image(g, 4)
    scale = g.pick((2.0, 3.0, 0.5))
    out = [int(d * scale) for d in x.shape[2:]]
    if x.shape[0] * x.shape[1] * np.prod(out) > MOST_ELEMENTS:
        return
    # Where a size is rounded, ONNX and its runtime scale differently.
    if any(d * scale % 1 for d in x.shape[2:]):
        return
    how = g.pick((("nearest", "asymmetric", "floor"),
                  ("linear", "half_pixel", "round_prefer_floor"),
                  ("linear", "align_corners", "round_prefer_floor")))
    scales = g.constant(np.array([1, 1, scale, scale], np.float32))
    g.call("Resize", [x, None, scales], (*x.shape[:2], *out), mode=how[0],
           coordinate_transformation_mode=how[1], nearest_mode=how[2])
