# SPDX-License-Identifier: Apache-2.0
"""Small convolutional networks on scikit-learn's digits, and the same with
channels of very different size."""
import os

import numpy as np
import onnx
from onnx import numpy_helper
from sklearn.datasets import load_digits

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLE = os.path.join(HERE, "..", "..", "examples", "digits")
NETWORKS = {
    "plain": os.path.join(EXAMPLE, "digits.onnx"),
    "separable": os.path.join(HERE, "separable.onnx"),
}


def tests():
    """Images that no network was trained with, and what they show."""
    rows = np.loadtxt(os.path.join(EXAMPLE, "test.csv"), np.int64,
                      delimiter=",")
    return ((rows[:, 1:].reshape(-1, 1, 8, 8) / 16).astype(np.float32),
            rows[:, 0])


def unseen_by_tests():
    """All others."""
    data = load_digits()
    taken = {tuple(r) for r in np.loadtxt(
        os.path.join(EXAMPLE, "test.csv"), np.int64, delimiter=",")}
    keep = [k for k in range(len(data.target))
            if (data.target[k], *data.images[k].astype(int).ravel())
            not in taken]
    return ((data.images[keep][:, None] / 16).astype(np.float32),
            data.target[keep])


def halved(path):
    """The network in half floats."""
    model = onnx.load(path)
    for v in [*model.graph.input, *model.graph.output]:
        v.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    del model.graph.value_info[:]
    for t in model.graph.initializer:
        a = numpy_helper.to_array(t)
        if a.dtype == np.float32:
            t.CopyFrom(numpy_helper.from_array(a.astype(np.float16), t.name))
    return model


def unbalanced(path, ratio, seed=5):
    """The same function, where each channel between two layers carries a
    factor between 1 / ratio and ratio: what folding a batch normalization
    into a convolution leaves behind."""
    model = onnx.load(path)
    rng = np.random.default_rng(seed)
    init = {t.name: t for t in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]

    def scale(name, factor, axis):
        a = numpy_helper.to_array(init[name])
        shape = [1] * a.ndim
        shape[axis] = -1
        init[name].CopyFrom(numpy_helper.from_array(
            (a * factor.reshape(shape)).astype(np.float32), name))

    for a, b in zip(layers, layers[1:]):
        n = init[a.input[1]].dims[0]
        factor = np.exp(rng.uniform(-1, 1, n) * np.log(ratio))
        scale(a.input[1], factor, 0)
        scale(a.input[2], factor, 0)
        w = init[b.input[1]]
        deep = b.op_type == "Conv" and w.dims[1] == 1
        repeat = 1 if deep else w.dims[1] // n
        scale(b.input[1], np.repeat(1 / factor, repeat), 0 if deep else 1)
    return model
