# SPDX-License-Identifier: Apache-2.0
"""BERT-base, MiniLM-L6, GPT-2, a step of its decoding, and sentiment
classifiers of LSTM and GRU."""
import numpy as np
from onnx import helper

from graph import BOOL, FLOAT, INT64, Graph

BATCH, LENGTH = "batch_size", "sequence_length"


def tokens(vocabulary, shapes, masked=True):
    """Token ids for some batches of different lengths; the mask, where the
    model has one, hides the ends of all rows but the first."""
    rng = np.random.default_rng(1)
    runs = []
    for batch, length in shapes:
        feed = {"input_ids": rng.integers(0, vocabulary, (batch, length))}
        if masked:
            mask = np.ones((batch, length), np.int64)
            for row in range(1, batch):
                mask[row, max(1, length - 2 * row):] = 0
            feed["attention_mask"] = mask
            feed["token_type_ids"] = rng.integers(0, 2, (batch, length))
        runs.append(feed)
    return runs


def bert_mask(g, mask):
    """[b, s] of 0 and 1 to what is added to scores."""
    if g.older:
        y = g.op("Cast", g.unsqueeze(g.unsqueeze(mask, 1), 2), to=FLOAT)
        return g.op("Mul", g.op("Sub", g.const(1), y),
                    g.const(np.finfo(np.float32).min))
    y = g.op("Cast", g.unsqueeze(mask, 1, 2), to=BOOL)
    length = g.unsqueeze(g.dim(mask, 1), 0)
    batch = g.unsqueeze(g.dim(mask, 0), 0)
    shape = g.op("Concat", batch, g.ints(1), length, length, axis=0)
    y = g.op("Expand", y, shape)
    return g.op("Where", y, g.const(0), g.const(np.finfo(np.float32).min))


def bert_embed(g, ids, types, vocabulary, n, positions):
    x = g.op("Gather", g.normal(vocabulary, n, scale=0.5), ids)
    y = g.op("Gather", g.normal(2, n, scale=0.5), types)
    x = g.op("Add", x, y)
    length = g.dim(ids, 1)
    table = g.normal(positions, n, scale=0.5)
    if g.older:
        all_ids = g.const(np.arange(positions)[None], np.int64)
        where = g.slice(all_ids, 1, 0, g.unsqueeze(length, 0))
    else:
        where = g.unsqueeze(g.op("Range", g.const(0, np.int64), length,
                                 g.const(1, np.int64)), 0)
    x = g.op("Add", x, g.op("Gather", table, where))
    return g.layer_norm(x, n, 1e-12)


def bert(name, style, layers, heads, width, inner, vocabulary, shapes,
         pooled):
    n = heads * width
    g = Graph(name, style, 12 if style == "older" else 20)
    dims = [BATCH, LENGTH]
    ids = g.input("input_ids", INT64, dims)
    mask = g.input("attention_mask", INT64, dims)
    types = g.input("token_type_ids", INT64, dims)
    bias = bert_mask(g, mask)
    x = bert_embed(g, ids, types, vocabulary, n, 512)
    for _ in range(layers):
        q, k, v = (g.split_heads(g.linear(x, n, n), heads, width)
                   for _ in range(3))
        y = g.join_heads(g.attention(q, k, v, width, bias), heads, width)
        x = g.layer_norm(g.op("Add", g.linear(y, n, n), x), n, 1e-12)
        y = g.linear(g.gelu(g.linear(x, n, inner)), inner, n)
        x = g.layer_norm(g.op("Add", y, x), n, 1e-12)
    if pooled:
        g.output(x, "last_hidden_state", FLOAT, [*dims, n])
        first = g.op("Gather", x, g.const(0, np.int64), axis=1)
        y = g.op("Gemm", first, g.normal(n, n, scale=n ** -0.5),
                 g.normal(n, scale=0.1), transB=1)
        g.output(g.op("Tanh", y), "pooler_output", FLOAT, [BATCH, n])
    else:
        g.output(sentence(g, x, mask), "sentence_embedding", FLOAT,
                 [BATCH, n])
    return g.model(), tokens(vocabulary, shapes)


def sentence(g, x, mask):
    """The mean over tokens that count, of length one."""
    y = g.op("Cast", g.unsqueeze(mask, 2 if g.older else -1), to=FLOAT)
    y = g.op("Expand", y, g.op("Shape", x))
    total, count = g.op("Mul", x, y), y
    if g.opset < 13:
        total, count = (g.op("ReduceSum", t, axes=[1], keepdims=0)
                        for t in (total, count))
    else:
        total, count = (g.op("ReduceSum", t, g.ints(1), keepdims=0)
                        for t in (total, count))
    low = g.const(1e-9)
    count = g.op("Clip", count, low) if g.older else \
        g.op("Max", count, low)
    y = g.op("Div", total, count)
    if g.opset < 18:
        norm = g.op("ReduceL2", y, axes=[1], keepdims=1)
    else:
        norm = g.op("ReduceL2", y, g.ints(1), keepdims=1)
    norm = g.op("Clip", norm, g.const(1e-12))
    return g.op("Div", y, g.op("Expand", norm, g.op("Shape", y)))


def bert_base(style, small):
    if small:
        return bert("bert", style, 2, 4, 16, 128, 500, [(1, 7), (3, 16)],
                    True)
    return bert("bert", style, 12, 12, 64, 3072, 30522, [(1, 128), (2, 33)],
                True)


def minilm_l6(style, small):
    if small:
        return bert("minilm", style, 2, 3, 8, 64, 300, [(2, 9), (1, 17)],
                    False)
    return bert("minilm", style, 6, 12, 32, 1536, 30522, [(1, 128), (3, 21)],
                False)


def causal_mask(g, length, positions):
    """What is added to scores, or None when scores go through a Where."""
    at = g.op("Range", g.const(0, np.int64), length, g.const(1, np.int64))
    seen = g.op("GreaterOrEqual", g.unsqueeze(at, 1), g.unsqueeze(at, 0))
    y = g.op("Where", seen, g.const(0),
             g.const(np.finfo(np.float32).min))
    return g.unsqueeze(y, 0, 1)


def causal_attention(g, q, k, v, width, length, buffer, before=None,
                     bias=None):
    """The older form slices a stored triangle and selects by it.  before: how
    many of the keys belong to no query; bias: what is added to scores."""
    k = g.op("Transpose", k, perm=[0, 1, 3, 2])
    scores = g.op("Div", g.op("MatMul", q, k), g.const(width ** 0.5))
    end = g.unsqueeze(length, 0)
    start = g.unsqueeze(before, 0) if before else 0
    seen = g.slice(g.slice(buffer, 2, start, end), 3, 0, end)
    scores = g.op("Where", g.op("Cast", seen, to=BOOL), scores,
                  g.const(-1e4))
    if bias:
        scores = g.op("Add", scores, bias)
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def gpt2_blocks(g, x, layers, heads, width, attend):
    """attend(layer, q, k, v): what the heads of a block give."""
    n = heads * width
    for layer in range(layers):
        y = g.linear(g.layer_norm(x, n), n, 3 * n)
        if g.opset < 13:
            parts = g.op("Split", y, outputs=3, axis=2, split=[n] * 3)
        elif g.opset < 18:
            parts = g.op("Split", y, g.ints(n, n, n), outputs=3, axis=2)
        else:
            parts = g.op("Split", y, outputs=3, axis=2, num_outputs=3)
        y = attend(layer, *(g.split_heads(p, heads, width) for p in parts))
        x = g.op("Add", g.linear(g.join_heads(y, heads, width), n, n), x)
        y = g.gelu_tanh(g.linear(g.layer_norm(x, n), n, 4 * n))
        x = g.op("Add", x, g.linear(y, 4 * n, n))
    return g.layer_norm(x, n)


def gpt2_sizes(small):
    """Layers, heads, width of a head, vocabulary, positions."""
    return (2, 4, 16, 400, 64) if small else (12, 12, 64, 50257, 1024)


def triangle(positions):
    return np.tril(np.ones((1, 1, positions, positions), np.uint8))


def gpt2(style, small):
    layers, heads, width, vocabulary, positions = gpt2_sizes(small)
    n = heads * width
    g = Graph("gpt2", style, 13 if style == "older" else 20)
    ids = g.input("input_ids", INT64, [BATCH, LENGTH])
    length = g.dim(ids, 1)
    words = g.normal(vocabulary, n, scale=n ** -0.5)
    at = g.unsqueeze(g.op("Range", g.const(0, np.int64), length,
                          g.const(1, np.int64)), 0)
    x = g.op("Add", g.op("Gather", words, ids),
             g.op("Gather", g.normal(positions, n, scale=0.1), at))
    if g.older:
        buffer = g.weight(triangle(positions))
    else:
        mask = causal_mask(g, length, positions)

    def attend(layer, q, k, v):
        if g.older:
            return causal_attention(g, q, k, v, width, length, buffer)
        return g.attention(q, k, v, width, mask)

    x = gpt2_blocks(g, x, layers, heads, width, attend)
    logits = g.op("MatMul", x, g.op("Transpose", words, perm=[1, 0]))
    g.output(logits, "logits", FLOAT, [BATCH, LENGTH, vocabulary])
    shapes = [(1, 9), (2, 20)] if small else [(1, 64)]
    return g.model(), tokens(vocabulary, shapes, masked=False)


PAST, TOTAL = "past_sequence_length", "past_sequence_length + 1"


def kept(vocabulary, layers, heads, width, shapes):
    """A token for each row, and the keys and values of those before; the mask
    hides the first ones of all rows but the first, which were shorter."""
    rng = np.random.default_rng(1)
    runs = []
    for batch, past in shapes:
        mask = np.ones((batch, past + 1), np.int64)
        for row in range(1, batch):
            mask[row, :min(past, 2 * row)] = 0
        feed = {"input_ids": rng.integers(0, vocabulary, (batch, 1)),
                "attention_mask": mask,
                "position_ids": mask.sum(1, keepdims=True) - 1}
        for layer in range(layers):
            for kind in ("key", "value"):
                feed[f"past_key_values.{layer}.{kind}"] = rng.standard_normal(
                    (batch, heads, past, width), dtype=np.float32)
        runs.append(feed)
    return runs


def gpt2_decode(style, small):
    """One more token behind the keys and values of a past, which come back
    with its own."""
    layers, heads, width, vocabulary, positions = gpt2_sizes(small)
    n = heads * width
    g = Graph("gpt2_decode", style, 13 if style == "older" else 20)
    ids = g.input("input_ids", INT64, [BATCH, 1])
    mask = g.input("attention_mask", INT64, [BATCH, TOTAL])
    at = g.input("position_ids", INT64, [BATCH, 1])
    past = [[g.input(f"past_key_values.{layer}.{kind}", FLOAT,
                     [BATCH, heads, PAST, width])
             for kind in ("key", "value")] for layer in range(layers)]
    words = g.normal(vocabulary, n, scale=n ** -0.5)
    x = g.op("Add", g.op("Gather", words, ids),
             g.op("Gather", g.normal(positions, n, scale=0.1), at))
    if g.older:
        buffer = g.weight(triangle(positions))
        bias = bert_mask(g, mask)
    else:
        seen = g.op("Cast", g.unsqueeze(mask, 1, 2), to=BOOL)
        bias = g.op("Where", seen, g.const(0),
                    g.const(np.finfo(np.float32).min))
    present = []

    def attend(layer, q, k, v):
        k, v = (g.op("Concat", old, new, axis=2)
                for old, new in zip(past[layer], (k, v)))
        present.append((k, v))
        if g.older:
            before, total = g.dim(past[layer][0], 2), g.dim(k, 2)
            return causal_attention(g, q, k, v, width, total, buffer, before,
                                    bias)
        return g.attention(q, k, v, width, bias)

    x = gpt2_blocks(g, x, layers, heads, width, attend)
    logits = g.op("MatMul", x, g.op("Transpose", words, perm=[1, 0]))
    g.output(logits, "logits", FLOAT, [BATCH, 1, vocabulary])
    for layer, pair in enumerate(present):
        for kind, value in zip(("key", "value"), pair):
            g.output(value, f"present.{layer}.{kind}", FLOAT,
                     [BATCH, heads, TOTAL, width])
    shapes = [(1, 9), (2, 20)] if small else [(1, 255)]
    return g.model(), kept(vocabulary, layers, heads, width, shapes)


# ---- recurrent classifiers ---------------------------------------------


def recurrent(kind, style, small):
    """Embedding, two layers in both directions, a linear head on the last
    states."""
    vocabulary, width, hidden = (200, 16, 12) if small else (20000, 128, 256)
    gates = 4 if kind == "LSTM" else 3
    g = Graph(kind.lower() + "_sentiment", style,
              11 if style == "older" else 18)
    ids = g.input("input_ids", INT64, [BATCH, LENGTH])
    x = g.op("Gather", g.normal(vocabulary, width), ids)
    x = g.op("Transpose", x, perm=[1, 0, 2])
    n_in = width
    for _ in range(2):
        weights = [g.normal(2, gates * hidden, k, scale=hidden ** -0.5)
                   for k in (n_in, hidden)]
        bias = g.normal(2, 2 * gates * hidden, scale=0.1)
        zeros = g.op("ConstantOfShape", g.op(
            "Concat", g.ints(2), g.unsqueeze(g.dim(ids, 0), 0),
            g.ints(hidden), axis=0), value=helper.make_tensor(
                "value", FLOAT, [1], [0.0]))
        if kind == "LSTM":
            y, last, _ = g.op("LSTM", x, *weights, bias, "", zeros, zeros,
                              outputs=3, hidden_size=hidden,
                              direction="bidirectional")
        else:
            y, last = g.op("GRU", x, *weights, bias, "", zeros, outputs=2,
                           hidden_size=hidden, direction="bidirectional",
                           linear_before_reset=1)
        # [s, 2, b, h] to [s, b, 2 h]
        x = g.op("Transpose", y, perm=[0, 2, 1, 3])
        x = g.op("Reshape", x, g.ints(0, 0, -1))
        n_in = 2 * hidden
    first, second = (g.op("Gather", last, g.const(k, np.int64), axis=0)
                     for k in (0, 1))
    x = g.op("Concat", first, second, axis=1)
    y = g.op("Gemm", x, g.normal(2, n_in, scale=n_in ** -0.5),
             g.normal(2, scale=0.1), transB=1)
    g.output(g.op("Softmax", y, axis=1), "probabilities", FLOAT, [BATCH, 2])
    shapes = [(1, 11), (3, 6)] if small else [(1, 64), (4, 40)]
    return g.model(), tokens(vocabulary, shapes, masked=False)


def lstm(style, small):
    return recurrent("LSTM", style, small)


def gru(style, small):
    return recurrent("GRU", style, small)
