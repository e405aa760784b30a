#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: stack.py DLCC [OPTION...]

Compiles contractions of several shapes with these options, disassembles the
objects and fails when an innermost loop that multiplies and adds touches the
stack.  Needs no CPU that could run the code.
"""
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

JUMP = re.compile(r"\b(j[a-z]+|b\.[a-z]+|cbn?z|tbn?z|b)\b.*?"
                  r"0x([0-9a-f]+)(?: <.*>)?\s*$")
FMA = re.compile(r"\bv?(fn?m(add|sub)[0-9a-z]*|fml[as]|mul[ps]s)\b")
STACK = re.compile(r"\[?\(?%?(rsp|rbp|sp)\b|\[(sp|x29)")


def weight(name, *dims):
    rng = np.random.default_rng(3)
    return numpy_helper.from_array(
        rng.standard_normal(dims, dtype=np.float32), name)


def product(m, k, n):
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [m, k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [m, n])],
        [weight("w", k, n)])


def convolution(c_in, c_out, size, kernel, stride):
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    return helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["c"],
                          pads=[pad] * 4, strides=[stride] * 2),
         helper.make_node("Relu", ["c"], ["y"])], "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT,
                                       [1, c_in, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT,
                                       [1, c_out, out, out])],
        [weight("w", c_out, c_in, kernel, kernel), weight("b", c_out)])


def inner_loops(lines):
    """Lists of instructions from the target of a backward jump to the jump,
    without another backward jump inside."""
    at = {}
    back = []
    for i, (address, text) in enumerate(lines):
        at[address] = i
        jump = JUMP.search(text)
        if jump and int(jump[2], 16) in at:
            back.append((at[int(jump[2], 16)], i))
    for start, end in back:
        if not any(start <= s and e < end for s, e in back):
            yield [text for _, text in lines[start:end + 1]]


def disassemble(path):
    done = subprocess.run(
        ["llvm-objdump-19", "-d", "--no-show-raw-insn",
         "--x86-asm-syntax=intel", path], check=True, capture_output=True,
        text=True)
    lines, name = [], ""
    for line in done.stdout.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:", line)
        if head:
            yield name, lines
            name, lines = head[1], []
        found = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
        if found:
            lines.append((int(found[1], 16), found[2]))
    yield name, lines


def check(graph, dlcc, options, folder):
    """Returns the loops with a multiply-add and those that touch the
    stack."""
    model = helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    path = os.path.join(folder, "model")
    onnx.save(model, path + ".onnx")
    subprocess.run([dlcc, path + ".onnx", "-o", path + ".o", *options],
                   check=True)
    loops = bad = 0
    for name, lines in disassemble(path + ".o"):
        for loop in inner_loops(lines):
            if not any(FMA.search(text) for text in loop):
                continue
            loops += 1
            hits = [text for text in loop if STACK.search(text)]
            if hits:
                bad += 1
                print(f"{graph.name}, {name}: {len(hits)} of {len(loop)} "
                      f"instructions, such as {hits[0]}")
    return loops, bad


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 1
    dlcc, *options = sys.argv[1:]
    graphs = [product(1, 64, 100), product(37, 80, 129),
              product(256, 256, 256), convolution(3, 32, 32, 3, 2),
              convolution(64, 64, 14, 3, 1), convolution(64, 37, 9, 1, 1),
              convolution(16, 40, 20, 5, 1)]
    failed = False
    for graph in graphs:
        with tempfile.TemporaryDirectory() as folder:
            loops, bad = check(graph, dlcc, options, folder)
        shape = [d.dim_value for d in
                 graph.input[0].type.tensor_type.shape.dim]
        print(f"{graph.name} of {shape}: {loops} loops")
        if not loops:
            print("no loop multiplies and adds")
        failed |= bad > 0 or not loops
    return failed


if __name__ == "__main__":
    sys.exit(main())
