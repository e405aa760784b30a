# SPDX-License-Identifier: Apache-2.0
"""What tests/gpu/bench times: models with sizes that are known, and of each
which precision dlcc takes and which its peers."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "models"))
import numpy as np
from onnx import TensorProto, helper

import half_form
import text
import vision

TYPES = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16,
         "f32": TensorProto.FLOAT}


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, TYPES[kind], shape)


def model(nodes, inputs, results):
    graph = helper.make_graph(nodes, "g", inputs, results)
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 22)])


def product(kind, n, turned=0):
    """turned: rows of both factors are k."""
    return model([helper.make_node("Gemm", ["a", "b"], ["y"], transB=turned)],
                 [value("a", kind, [n, n]), value("b", kind, [n, n])],
                 [value("y", kind, [n, n])])


def rows(op, n, width):
    more = [] if op == "Softmax" else [value("scale", "f32", [width])]
    return model(
        [helper.make_node(op, ["x", *[v.name for v in more]], ["y"],
                          axis=-1)],
        [value("x", "f32", [n, width]), *more],
        [value("y", "f32", [n, width])])


def copy(n):
    return model([helper.make_node("Neg", ["x"], ["y"])],
                 [value("x", "f32", [n])], [value("y", "f32", [n])])


def network(name, small, dims, half):
    """As newer exporters write it, with these sizes.  half: all floats,
    inputs and outputs too, are half floats."""
    m, _ = getattr(text if hasattr(text, name) else vision, name)("newer",
                                                                  small)
    for v in (*m.graph.input, *m.graph.output):
        for i, d in enumerate(v.type.tensor_type.shape.dim):
            if d.dim_param in dims:
                d.dim_value = dims[d.dim_param]
            elif i == 0 and not d.dim_param:    # as it was traced
                d.dim_value = dims["batch_size"]
    if half:
        half_form.graph(m.graph)
    return m


MAKERS = {"product": product, "rows": rows, "copy": copy, "network": network}


def made(case):
    maker, *args = case["make"]
    return MAKERS[maker](*args)


def decoding(batch, past):
    return {"batch_size": batch, "past_sequence_length": past,
            text.TOTAL: past + 1}


def sentences(batch, length):
    return {"batch_size": batch, "sequence_length": length}


def networks(smoke):
    """Name, sizes, their name."""
    past, length = (7, 8) if smoke else (1023, 128)
    batches = (2,) if smoke else (1, 64)
    for n in batches:
        yield "resnet50", {"batch_size": n}, n
    for n in batches[:1] if smoke else (1, 32):
        yield "bert_base", sentences(n, length), n
    yield "gpt2", sentences(1, 9 if smoke else 1024), 1
    yield "gpt2_decode", decoding(1, past), 1


def cases(smoke):
    """Rows {name, make, options, work, unit, peer, forms}: peer is the model
    that PyTorch takes, in which forms, and of which floats; neighbours may
    have the same.  Networks come first: time may run out."""
    def row(name, make, options=(), work=0, unit="calls/s", floats="f32",
            tf32=False, of=None):
        return {"name": name, "make": make, "options": list(options),
                "work": work, "unit": unit,
                "forms": ["eager", "cublaslt"] if unit == "TFLOP/s" else
                ["eager", "compiled"],
                "peer": {"make": of or make, "floats": floats,
                         "tf32": tf32}}

    for name, dims, batch in networks(smoke):
        plain = ["network", name, smoke, dims, False]
        half = ["network", name, smoke, dims, True]
        stem = f"{name}-{batch}"
        yield row(stem + "-f32", plain)
        # Operands of products are half floats, or all floats are; a past
        # of floats is what decoding reads most of.
        if name != "gpt2_decode":
            yield row(stem + "-fp16", plain, ["--precision=fp16"],
                      floats="f16")
        yield row(stem + "-half", half, floats="f16", of=plain)
    sizes = (64,) if smoke else (1024, 2048, 4096, 8192)
    for kind in ("f16", "bf16", "f32"):
        for n in sizes:
            yield row(f"product-{kind}-{n}", ["product", kind, n],
                      work=2 * n ** 3, unit="TFLOP/s", floats=kind)
    n = sizes[-1]
    yield row(f"product-bf16-{n}-turned", ["product", "bf16", n, 1],
              work=2 * n ** 3, unit="TFLOP/s", floats="bf16")
    yield row(f"product-tf32-{n}", ["product", "f32", n], ["--fp32=tf32"],
              2 * n ** 3, "TFLOP/s", tf32=True)
    n, width = (64, 1024) if smoke else (32768, 1024)
    for name, make in (("copy", ["copy", n * 4096]),
                       ("softmax", ["rows", "Softmax", n, width]),
                       ("layer-norm", ["rows", "LayerNormalization", n,
                                       width])):
        work = 8 * (n * 4096 if name == "copy" else n * width)
        yield row(name, make, work=work, unit="TB/s")


def array(shape, dtype, rng):
    """Random numbers: zeros would use less power, and be faster.  Integers
    are 0 and 1, which every id and mask may be."""
    if np.dtype(dtype).kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape, np.float32).astype(dtype)


def generator():
    return np.random.default_rng(3)
