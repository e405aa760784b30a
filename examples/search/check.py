#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check.py PROGRAM FOLDER

Holds PROGRAM, the compiled search, to ONNX Runtime on FOLDER/minilm.onnx:
ids and embeddings of 20 sentences of different lengths.  The ids come from
the rules of BERT's tokenizer, written down a second time.
"""
import os
import subprocess
import sys

import numpy as np
import onnxruntime

from export import fold, is_dropped, is_space, is_word

BOUND = 1e-4
SENTENCES = """Yes.
Good morning!
The cat sat on the mat.
A man is playing a guitar on stage.
He said: "It's 5 o'clock (already)."
Crème brûlée, naïve façade, Ångström, ŁÓDŹ
Перемога прийде, сказав Ґонта.
北京是中国的首都。
Antidisestablishmentarianism is hyperparameterized.
E = m * c^2, a_b/c\\d ~ 50% off @ $3.99 #deal
naïve ﬁnance İstanbul straße ΑΛΦΆ
한국어 문장은 어떻게 됩니까?
An emoji 🙂 and a zero​width space, a\ttab.
xqzvjkw zzyzx qqqq
ONNX models turn into objects that a C program links.
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.
The compiler plans all memory before the program starts, so that nothing is allocated while it runs and the size is known to whoever calls it.
Over the river, through the woods, past the mill and the old stone bridge, up the hill where the sheep graze, and down again on the other side to the house with the red door.
""".splitlines()
SENTENCES += [" ".join(SENTENCES[2:5] * 5), "word " * 400]


def words(text):
    """What stands between spaces; punctuation stands alone."""
    word = ""
    for c in text:
        if is_dropped(c):
            continue
        if is_space(c):
            yield word
            word = ""
            continue
        for x in fold(c):
            if is_word(x):
                yield word
                yield x
                word = ""
            else:
                word += x
    yield word


def pieces(word, vocabulary):
    ids, start = [], 0
    if len(word) > 100:
        return [vocabulary["[UNK]"]]
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return [vocabulary["[UNK]"]]
        ids.append(vocabulary[piece])
        start = end
    return ids


def tokens(text, vocabulary):
    ids = [i for w in words(text) if w for i in pieces(w, vocabulary)]
    return [vocabulary["[CLS]"], *ids[:254], vocabulary["[SEP]"]]


def main():
    program, folder = sys.argv[1:]
    names = os.path.join(folder, "vocab.txt")
    with open(names, encoding="utf-8") as f:
        vocabulary = {line.rstrip("\n"): k for k, line in enumerate(f)}
    done = subprocess.run([program, names], check=True, encoding="utf-8",
                          input="\n".join(SENTENCES) + "\n",
                          stdout=subprocess.PIPE)
    said = done.stdout.splitlines()
    session = onnxruntime.InferenceSession(
        os.path.join(folder, "minilm.onnx"),
        providers=["CPUExecutionProvider"])
    worst, lengths = 0.0, set()
    for k, text in enumerate(SENTENCES):
        ids = list(map(int, said[2 * k].split()))
        if ids != tokens(text, vocabulary):
            sys.exit(f"check.py: other tokens for {text!r}: {ids}, not "
                     f"{tokens(text, vocabulary)}")
        own = np.array(said[2 * k + 1].split(), np.float32)
        peer = session.run(None, {"input_ids": np.array([ids])})[0][0]
        worst = max(worst, np.max(np.abs(own - peer)))
        lengths.add(len(ids))
    print(f"{len(SENTENCES)} sentences of {min(lengths)} to {max(lengths)} "
          f"tokens: embeddings within {worst:.1e} of ONNX Runtime's")
    return not worst <= BOUND


if __name__ == "__main__":
    sys.exit(main())
