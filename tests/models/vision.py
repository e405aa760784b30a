# SPDX-License-Identifier: Apache-2.0
"""ResNet-50, MobileNetV2, EfficientNet-B0 and ViT-B/16."""
import numpy as np
from onnx import numpy_helper

from graph import FLOAT, Graph


def conv(g, x, n_in, n_out, kernel, stride=1, groups=1, act=None, gain=1.0,
         folded=None):
    """A convolution and its batch normalization, which newer exports have
    folded into the weights."""
    fan = n_in // groups * kernel * kernel
    w = g.normal(n_out, n_in // groups, kernel, kernel,
                 scale=(2 / fan) ** 0.5 * gain)
    pad = kernel // 2
    attrs = dict(dilations=[1, 1], group=groups, kernel_shape=[kernel] * 2,
                 pads=[pad] * 4, strides=[stride] * 2)
    if folded is None:
        folded = not g.older
    if folded:
        y = g.op("Conv", x, w, g.normal(n_out, scale=0.1), **attrs)
    else:
        y = g.op("Conv", x, w, **attrs)
        scale = g.normal(n_out, scale=0.1, mean=1)
        bias = g.normal(n_out, scale=0.1)
        mean = g.normal(n_out, scale=0.1)
        var = g.weight(g.rng.uniform(0.5, 1.5, n_out).astype(np.float32))
        y = g.op("BatchNormalization", y, scale, bias, mean, var,
                 epsilon=1e-5, momentum=0.9)
    return act(g, y) if act else y


def relu(g, x):
    return g.op("Relu", x)


def relu6(g, x):
    return g.op("Clip", x, g.const(0), g.const(6))


def silu(g, x):
    return g.op("Mul", x, g.op("Sigmoid", x))


def head(g, x, width, classes):
    """Global average, flatten, linear."""
    if g.older:
        x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    else:
        x = g.reduce_mean(x, 2, 3, keepdims=0)
    w = g.normal(classes, width, scale=width ** -0.5)
    y = g.op("Gemm", x, w, g.normal(classes, scale=0.1), alpha=1.0, beta=1.0,
             transB=1)
    g.output(y, "logits", FLOAT, [BATCH[g.style], classes])


# Older exports come with a dynamic batch, newer ones as they were traced.
BATCH = {"older": "batch_size", "newer": 1}


def image(g, size):
    return g.input("pixel_values", FLOAT, [BATCH[g.style], 3, size, size])


def feeds(size, style):
    """Inputs for one or two runs."""
    rng = np.random.default_rng(1)
    batches = (1, 3) if style == "older" and size < 128 else (1,)
    return [{"pixel_values": rng.standard_normal((n, 3, size, size),
                                                 dtype=np.float32)}
            for n in batches]


def bottleneck(g, x, n_in, width, stride):
    n_out = 4 * width
    y = conv(g, x, n_in, width, 1, act=relu)
    y = conv(g, y, width, width, 3, stride, act=relu)
    y = conv(g, y, width, n_out, 1, gain=0.4)
    if stride != 1 or n_in != n_out:
        x = conv(g, x, n_in, n_out, 1, stride)
    return relu(g, g.op("Add", y, x)), n_out


def resnet50(style, small):
    size, base = (64, 16) if small else (224, 64)
    depths = (1, 2, 1, 1) if small else (3, 4, 6, 3)
    g = Graph("resnet50", style, 12 if style == "older" else 18)
    x = conv(g, image(g, size), 3, base, 7, 2, act=relu)
    x = g.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2],
             ceil_mode=0)
    width = base
    for stage, depth in enumerate(depths):
        for k in range(depth):
            stride = 2 if stage and not k else 1
            x, width = bottleneck(g, x, width, base << stage, stride)
    head(g, x, width, 10 if small else 1000)
    return g.model(), feeds(size, style)


def mobilenetv2(style, small):
    size, scale = (64, 0.5) if small else (224, 1.0)
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
            (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    if small:
        rows = [(e, c, min(n, 2), s) for e, c, n, s in rows[:5]]
    g = Graph("mobilenetv2", style, 11 if style == "older" else 20)
    n_in = int(32 * scale)
    x = conv(g, image(g, size), 3, n_in, 3, 2, act=relu6)
    for expand, channels, depth, stride in rows:
        n_out = int(channels * scale)
        for k in range(depth):
            s, hidden = (1 if k else stride), n_in * expand
            y = x
            if expand != 1:
                y = conv(g, y, n_in, hidden, 1, act=relu6)
            y = conv(g, y, hidden, hidden, 3, s, groups=hidden, act=relu6)
            y = conv(g, y, hidden, n_out, 1)
            x = g.op("Add", x, y) if s == 1 and n_in == n_out else y
            n_in = n_out
    last = 128 if small else 1280
    head(g, conv(g, x, n_in, last, 1, act=relu6), last,
         10 if small else 1000)
    return g.model(), feeds(size, style)


def squeeze_excite(g, x, channels, reduced):
    y = g.op("GlobalAveragePool", x) if g.older else \
        g.reduce_mean(x, 2, 3)
    y = conv(g, y, channels, reduced, 1, act=silu, folded=True)
    y = conv(g, y, reduced, channels, 1, folded=True)
    return g.op("Mul", g.op("Sigmoid", y), x)


def efficientnet_b0(style, small):
    size, scale = (64, 0.5) if small else (224, 1.0)
    rows = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3)]
    if small:
        rows = [(e, c, min(n, 2), s, k) for e, c, n, s, k in rows[:4]]
    g = Graph("efficientnet_b0", style, 13 if style == "older" else 20)
    n_in = int(32 * scale)
    x = conv(g, image(g, size), 3, n_in, 3, 2, act=silu)
    for expand, channels, depth, stride, kernel in rows:
        n_out = int(channels * scale)
        for k in range(depth):
            s, hidden = (1 if k else stride), n_in * expand
            y = x
            if expand != 1:
                y = conv(g, y, n_in, hidden, 1, act=silu)
            y = conv(g, y, hidden, hidden, kernel, s, groups=hidden,
                     act=silu)
            y = squeeze_excite(g, y, hidden, max(1, n_in // 4))
            # The gates and SiLU shrink what goes through.
            y = conv(g, y, hidden, n_out, 1, gain=1.4)
            x = g.op("Add", x, y) if s == 1 and n_in == n_out else y
            n_in = n_out
    last = 128 if small else 1280
    head(g, conv(g, x, n_in, last, 1, act=silu), last, 10 if small else 1000)
    return g.model(), feeds(size, style)


def vit_b16(style, small):
    size, layers, heads, width = (64, 2, 4, 16) if small else \
        (224, 12, 12, 64)
    n = heads * width
    count = (size // 16) ** 2
    g = Graph("vit_b16", style, 14 if style == "older" else 20)
    pixels = image(g, size)
    x = g.op("Conv", pixels, g.normal(n, 3, 16, 16, scale=768 ** -0.5),
             g.normal(n, scale=0.1), kernel_shape=[16, 16], strides=[16, 16],
             dilations=[1, 1], group=1, pads=[0] * 4)
    batch = g.dim(pixels, 0)
    x = g.op("Transpose", g.reshape(x, batch, n, count), perm=[0, 2, 1])
    shape = g.op("Concat", g.unsqueeze(batch, 0), g.ints(-1), g.ints(-1),
                 axis=0)
    if g.older:
        # The tracing exporter writes expand(-1) as a Where over Equal.
        ones = g.op("ConstantOfShape", g.ints(3),
                    value=numpy_helper.from_array(np.ones(1, np.int64)))
        minus = g.op("Mul", ones, g.const(-1, np.int64))
        shape = g.op("Where", g.op("Equal", shape, minus), ones, shape)
    else:
        shape = g.op("Concat", g.unsqueeze(batch, 0), g.ints(1, n), axis=0)
    token = g.op("Expand", g.normal(1, 1, n, scale=0.5), shape)
    x = g.op("Concat", token, x, axis=1)
    x = g.op("Add", x, g.normal(1, count + 1, n, scale=0.5))
    for _ in range(layers):
        y = g.layer_norm(x, n, 1e-6)
        q, k, v = (g.split_heads(g.linear(y, n, n), heads, width)
                   for _ in range(3))
        y = g.join_heads(g.attention(q, k, v, width), heads, width)
        x = g.op("Add", x, g.linear(y, n, n))
        y = g.gelu(g.linear(g.layer_norm(x, n, 1e-6), n, 4 * n))
        x = g.op("Add", x, g.linear(y, 4 * n, n))
    x = g.layer_norm(x, n, 1e-6)
    x = g.op("Gather", x, g.const(0, np.int64), axis=1)
    classes = 10 if small else 1000
    y = g.op("Gemm", x, g.normal(classes, n, scale=n ** -0.5),
             g.normal(classes, scale=0.1), transB=1)
    g.output(y, "logits", FLOAT, [BATCH[style], classes])
    return g.model(), feeds(size, style)
