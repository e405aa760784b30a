#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: train.py [FOLDER]

Trains a small convolutional network on scikit-learn's digits with numpy and
writes digits.onnx and test.csv (the images it has not seen; the digit, then
64 pixels of 0 to 16) to FOLDER.  Both are committed: this runs again only to
change the network.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

EPOCHS, RATE = 40, 2e-3
BATCH, DECAY = 32, 1e-4


def patches(x):
    """Every 3x3 window of a padded [n, c, 8, 8] batch: [n, 8, 8, c * 9]."""
    n, c, h, w = x.shape
    p = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    cols = np.stack([p[:, :, i:i + h, j:j + w]
                     for i in range(3) for j in range(3)], axis=2)
    return cols.transpose(0, 3, 4, 1, 2).reshape(n, h, w, c * 9)


def spread(cols, c):
    """The transpose of patches(): gradients back to the pixels."""
    n, h, w, _ = cols.shape
    cols = cols.reshape(n, h, w, c, 9).transpose(0, 3, 4, 1, 2)
    p = np.zeros((n, c, h + 2, w + 2), np.float32)
    for k in range(9):
        p[:, :, k // 3:k // 3 + h, k % 3:k % 3 + w] += cols[:, :, k]
    return p[:, :, 1:-1, 1:-1]


def initial(rng):
    def layer(rows, columns):
        scale = np.sqrt(2 / rows)
        return [rng.normal(0, scale, (rows, columns)).astype(np.float32),
                np.zeros(columns, np.float32)]
    return [*layer(9, 16), *layer(144, 32), *layer(512, 64), *layer(64, 10)]


def forward(weights, x):
    """The scores and all that backward() needs."""
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    n = len(x)
    c1 = patches(x)
    a1 = np.maximum(c1 @ w1 + b1, 0).transpose(0, 3, 1, 2)
    c2 = patches(a1)
    a2 = np.maximum(c2 @ w2 + b2, 0).transpose(0, 3, 1, 2)
    tiles = a2.reshape(n, 32, 4, 2, 4, 2)
    pooled = tiles.max(axis=(3, 5))
    flat = pooled.reshape(n, 512)
    a3 = np.maximum(flat @ w3 + b3, 0)
    return a3 @ w4 + b4, (c1, a1, c2, a2, tiles, pooled, flat, a3)


def backward(weights, kept, gradient):
    _, _, w2, _, w3, _, w4, _ = weights
    c1, a1, c2, a2, tiles, pooled, flat, a3 = kept
    n = len(gradient)
    g4 = [a3.T @ gradient, gradient.sum(0)]
    g = (gradient @ w4.T) * (a3 > 0)
    g3 = [flat.T @ g, g.sum(0)]
    g = (g @ w3.T).reshape(pooled.shape)[:, :, :, None, :, None]
    g = (g * (tiles == pooled[:, :, :, None, :, None])).reshape(a2.shape)
    g = (g * (a2 > 0)).transpose(0, 2, 3, 1)
    g2 = [np.tensordot(c2, g, ((0, 1, 2),) * 2), g.sum((0, 1, 2))]
    g = (spread(g @ w2.T, 16) * (a1 > 0)).transpose(0, 2, 3, 1)
    g1 = [np.tensordot(c1, g, ((0, 1, 2),) * 2), g.sum((0, 1, 2))]
    return [x / n for x in (*g1, *g2, *g3, *g4)]


def shifted(x, rng):
    """Every other batch by up to a pixel."""
    shift = rng.integers(-1, 2, 2) if rng.random() < 0.5 else (0, 0)
    return np.roll(x, shift, axis=(2, 3))


def train(net, x, y, rng, epochs, rate, moved=lambda x, rng: x):
    """The weights of a network, which is initial(), forward() and backward(),
    by Adam on the cross entropy."""
    initial, forward, backward = net
    weights = initial(rng)
    mean = [np.zeros_like(w) for w in weights]
    var = [np.zeros_like(w) for w in weights]
    step = 0
    for epoch in range(epochs):
        pace = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = rng.permutation(len(x))
        for at in range(0, len(x), BATCH):
            pick = order[at:at + BATCH]
            scores, kept = forward(weights, moved(x[pick], rng))
            e = np.exp(scores - scores.max(1, keepdims=True))
            gradient = e / e.sum(1, keepdims=True)
            gradient[np.arange(len(pick)), y[pick]] -= 1
            step += 1
            for k, g in enumerate(backward(weights, kept, gradient)):
                mean[k] += 0.1 * (g - mean[k])
                var[k] += 0.001 * (g * g - var[k])
                m = mean[k] / (1 - 0.9 ** step)
                v = var[k] / (1 - 0.999 ** step)
                weights[k] -= (pace * (m / (np.sqrt(v) + 1e-8)
                                       + DECAY * weights[k]))
    return [w.astype(np.float32) for w in weights]


def classifier(name, nodes, tensors):
    """The model of nodes from an image to the scores of ten digits."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, name, [info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [info("scores", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(np.ascontiguousarray(a), k)
         for k, a in tensors.items()])
    model = helper.make_model(graph, producer_name="dlcc", ir_version=9,
                              opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    return model


def build(weights):
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    tensors = {
        "conv1.weight": w1.T.reshape(16, 1, 3, 3), "conv1.bias": b1,
        "conv2.weight": w2.T.reshape(32, 16, 3, 3), "conv2.bias": b2,
        "dense1.weight": w3.T, "dense1.bias": b3,
        "dense2.weight": w4.T, "dense2.bias": b4,
    }
    conv = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"],
             "conv1", **conv),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"],
             "conv2", **conv),
        node("Relu", ["c2"], ["r2"], "relu2"),
        node("MaxPool", ["r2"], ["p"], "pool", kernel_shape=[2, 2],
             strides=[2, 2]),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "dense1.weight", "dense1.bias"], ["d1"], "dense1",
             transB=1),
        node("Relu", ["d1"], ["r3"], "relu3"),
        node("Gemm", ["r3", "dense2.weight", "dense2.bias"], ["scores"],
             "dense2", transB=1),
    ]
    return classifier("digits", nodes, tensors)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(
        os.path.abspath(__file__))
    rng = np.random.default_rng(7)
    data = load_digits()
    order = rng.permutation(len(data.target))
    unseen, seen = order[:360], order[360:]
    x = (data.images[:, None] / 16).astype(np.float32)
    y = data.target
    weights = train((initial, forward, backward), x[seen], y[seen], rng,
                    EPOCHS, RATE, shifted)
    right = (forward(weights, x[unseen])[0].argmax(1) == y[unseen]).sum()
    print(f"numpy: {right} of {len(unseen)} unseen images")
    onnx.save(build(weights), os.path.join(folder, "digits.onnx"))
    with open(os.path.join(folder, "test.csv"), "w") as f:
        for k in unseen:
            pixels = data.images[k].astype(int).ravel()
            f.write(",".join(map(str, [y[k], *pixels])) + "\n")


if __name__ == "__main__":
    main()
