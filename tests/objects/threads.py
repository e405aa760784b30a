#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: threads.py DLCC

Compiles models that are large enough to be spread over threads and calls them
with pools of several sizes on dirty memory; see threads.c.
"""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "common"))
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import objects


def tensor(name, dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def weight(name, *dims):
    rng = np.random.default_rng(7)
    return numpy_helper.from_array(
        (rng.standard_normal(dims) * dims[-1] ** -0.5).astype(np.float32),
        name)


def ints(name, *numbers):
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def sequence():
    """What a transformer does to a sequence of any length, and sums over all
    of it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Gelu", ["a"], ["b"]),
        helper.make_node("LayerNormalization", ["b", "s"], ["c"]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["c", "t"], ["d"]),
        helper.make_node("Softmax", ["d"], ["p"]),
        helper.make_node("MatMul", ["p", "c"], ["y"]),
        helper.make_node("ReduceSum", ["y", "first"], ["z"], keepdims=0),
        helper.make_node("ReduceMean", ["y"], ["m"], keepdims=1)]
    return helper.make_graph(
        nodes, "sequence", [tensor("x", [4, "L", 96])],
        [tensor("y", [4, "L", 160]), tensor("z", ["L", 160]),
         tensor("m", [1, 1, 1])],
        [weight("w", 96, 160), weight("s", 160), ints("first", 0)])


def image():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"], strides=[2, 2]),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
        helper.make_node("GlobalAveragePool", ["b"], ["z"])]
    return helper.make_graph(
        nodes, "image", [tensor("x", ["N", 16, 33, 33])],
        [tensor("y", ["N", 40, 15, 15]), tensor("z", ["N", 48, 1, 1])],
        [weight("w", 48, 16, 3, 3), weight("v", 40, 48, 3, 3)])


def tiles():
    """Windows in strips of lines, of which the last has fewer."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1] * 4),
        helper.make_node("Add", ["a", "x"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"])]
    return helper.make_graph(
        nodes, "tiles", [tensor("x", [2, 64, 75, 46])],
        [tensor("y", [2, 64, 75, 46])],
        [weight("w", 64, 64, 3, 3), weight("b", 64)])


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        dlcc = objects.snapshot(os.path.abspath(sys.argv[1]), folder)
        names = []
        for graph in (sequence(), image(), tiles()):
            path = os.path.join(folder, graph.name)
            onnx.save(helper.make_model(
                graph, ir_version=9,
                opset_imports=[helper.make_opsetid("", 20)]), path + ".onnx")
            code, said = objects.dlcc_compile(dlcc, path + ".onnx",
                                              path + ".o", graph.name)
            if code:
                print(said)
                return 1
            names.append(graph.name)
        program = objects.link(dlcc, names, folder, "threads",
                               "tests/objects/threads.c")
        return subprocess.run([program]).returncode


if __name__ == "__main__":
    sys.exit(main())
