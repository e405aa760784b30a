#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: train.py [FOLDER]

Trains a network of depthwise and pointwise convolutions on scikit-learn's
digits, all but the images of examples/digits/test.csv, as the example's
train.py does with its own, and writes separable.onnx to FOLDER.  It is
committed: this runs again only to change the network.
"""
import importlib.util
import os
import sys

import numpy as np
import onnx
from onnx import helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import digits
SPEC = importlib.util.spec_from_file_location(
    "train_digits", os.path.join(digits.EXAMPLE, "train.py"))
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)
patches, spread = example.patches, example.spread

EPOCHS, RATE = 60, 4e-3


def initial(rng):
    def weight(*shape, terms):
        return rng.normal(0, np.sqrt(2 / terms), shape).astype(np.float32)

    def zeros(n):
        return np.zeros(n, np.float32)

    return [weight(9, 16, terms=9), zeros(16),
            weight(16, 9, terms=9), zeros(16),
            weight(16, 32, terms=16), zeros(32),
            weight(32, 9, terms=9), zeros(32),
            weight(32, 32, terms=32), zeros(32),
            weight(32, 10, terms=32), zeros(10)]


def depthwise(x, w, b):
    n, c, height, width = x.shape
    cols = patches(x).reshape(n, height, width, c, 9)
    return np.einsum("nhwck,ck->nchw", cols, w) + b[:, None, None], cols


def depthwise_back(g, cols, w):
    n, h, wd, c, _ = cols.shape
    gw = np.einsum("nhwck,nchw->ck", cols, g)
    gx = spread(np.einsum("nchw,ck->nhwck", g, w).reshape(n, h, wd, c * 9), c)
    return gx, gw, g.sum((0, 2, 3))


def pointwise(x, w, b):
    return np.einsum("nchw,cd->ndhw", x, w, optimize=True) + b[:, None, None]


def pointwise_back(g, x, w):
    return (np.einsum("ndhw,cd->nchw", g, w, optimize=True),
            np.einsum("nchw,ndhw->cd", x, g, optimize=True),
            g.sum((0, 2, 3)))


def relu(x):
    return np.maximum(x, 0)


def forward(weights, x):
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, w6, b6 = weights
    c1 = patches(x)
    a1 = relu(c1 @ w1 + b1).transpose(0, 3, 1, 2)
    y2, c2 = depthwise(a1, w2, b2)
    a2 = relu(y2)
    a3 = relu(pointwise(a2, w3, b3))
    n = len(x)
    tiles = a3.reshape(n, 32, 4, 2, 4, 2)
    pooled = tiles.max(axis=(3, 5))
    y4, c4 = depthwise(pooled, w4, b4)
    a4 = relu(y4)
    a5 = relu(pointwise(a4, w5, b5))
    mean = a5.mean((2, 3))
    return mean @ w6 + b6, (c1, a1, c2, a2, a3, tiles, pooled, c4, a4, a5,
                            mean)


def backward(weights, kept, g):
    _, _, w2, _, w3, _, w4, _, w5, _, w6, _ = weights
    c1, a1, c2, a2, a3, tiles, pooled, c4, a4, a5, mean = kept
    n = len(g)
    g6 = [mean.T @ g, g.sum(0)]
    g = (g @ w6.T)[:, :, None, None] / 16 * (a5 > 0)
    g, *g5 = pointwise_back(g, a4, w5)
    g, *g4 = depthwise_back(g * (a4 > 0), c4, w4)
    g = g.reshape(pooled.shape)[:, :, :, None, :, None]
    g = (g * (tiles == pooled[:, :, :, None, :, None])).reshape(a3.shape)
    g, *g3 = pointwise_back(g * (a3 > 0), a2, w3)
    g, *g2 = depthwise_back(g * (a2 > 0), c2, w2)
    g = (g * (a1 > 0)).transpose(0, 2, 3, 1)
    g1 = [np.tensordot(c1, g, ((0, 1, 2),) * 2), g.sum((0, 1, 2))]
    return [v / n for v in (*g1, *g2, *g3, *g4, *g5, *g6)]


def build(weights):
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, w6, b6 = weights
    tensors = {
        "conv1.w": w1.T.reshape(16, 1, 3, 3), "conv1.b": b1,
        "deep2.w": w2.reshape(16, 1, 3, 3), "deep2.b": b2,
        "point2.w": w3.T.reshape(32, 16, 1, 1), "point2.b": b3,
        "deep3.w": w4.reshape(32, 1, 3, 3), "deep3.b": b4,
        "point3.w": w5.T.reshape(32, 32, 1, 1), "point3.b": b5,
        "dense.w": w6.T, "dense.b": b6,
    }
    node = helper.make_node
    nodes, x = [], "image"

    def conv(name, x, group=1):
        size = tensors[name + ".w"].shape[2]
        nodes.append(node("Conv", [x, name + ".w", name + ".b"],
                          [name], name, kernel_shape=[size, size],
                          pads=[size // 2] * 4, group=group))
        nodes.append(node("Relu", [name], [name + ".r"], name + ".relu"))
        return name + ".r"

    x = conv("point2", conv("deep2", conv("conv1", x), 16))
    nodes.append(node("MaxPool", [x], ["p"], "pool", kernel_shape=[2, 2],
                      strides=[2, 2]))
    x = conv("point3", conv("deep3", "p", 32))
    nodes += [
        node("GlobalAveragePool", [x], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flatten"),
        node("Gemm", ["f", "dense.w", "dense.b"], ["scores"], "dense",
             transB=1),
    ]
    return example.classifier("separable", nodes, tensors)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else HERE
    x, y = digits.unseen_by_tests()
    weights = example.train((initial, forward, backward), x, y,
                            np.random.default_rng(7), EPOCHS, RATE)
    images, labels = digits.tests()
    right = (forward(weights, images)[0].argmax(1) == labels).sum()
    print(f"numpy: {right} of {len(labels)} unseen images")
    onnx.save(build(weights), os.path.join(folder, "separable.onnx"))


if __name__ == "__main__":
    main()
