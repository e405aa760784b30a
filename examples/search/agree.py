#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: agree.py FOLDER FORM...

Compares quantized forms of the search with the float one: FOLDER/search and
FOLDER/minilm.o with FOLDER/FORM/search and so on.  For each form prints the
object's size, the cosine to the float model's embeddings, and for how many
sentences the nearest other one, and for how many queries the nearest line, is
the same.
"""
import os
import subprocess
import sys

import numpy as np

from check import SENTENCES

HERE = os.path.dirname(os.path.abspath(__file__))
LEAST_COSINE = 0.9      # of any sentence; less is a mistake, not rounding


def read_lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return f.read().splitlines()


def embeddings(program, vocabulary, lines):
    done = subprocess.run([program, vocabulary], check=True, encoding="utf-8",
                          input="\n".join(lines) + "\n",
                          stdout=subprocess.PIPE)
    return np.array([line.split() for line in done.stdout.splitlines()[1::2]],
                    np.float64)


def nearest(e, n_lines, n_queries):
    """Of each sentence the nearest other; of each query the nearest line."""
    near = e @ e.T
    to_lines = near[n_lines:n_lines + n_queries, :n_lines].argmax(1)
    np.fill_diagonal(near, -2)
    return near.argmax(1), to_lines


def main():
    folder, *forms = sys.argv[1:]
    vocabulary = os.path.join(folder, "vocab.txt")
    lines, queries = read_lines("lines.txt"), read_lines("queries.txt")
    texts = [*lines, *queries, *SENTENCES]
    size = os.path.getsize(os.path.join(folder, "minilm.o")) / 1e6
    want = embeddings(os.path.join(folder, "search"), vocabulary, texts)
    near, best = nearest(want, len(lines), len(queries))
    print(f"float: {size:.1f} MB")
    for form in forms:
        own = os.path.join(folder, form)
        size = os.path.getsize(os.path.join(own, "minilm.o")) / 1e6
        have = embeddings(os.path.join(own, "search"), vocabulary, texts)
        cos = (want * have).sum(1)
        own_near, own_best = nearest(have, len(lines), len(queries))
        print(f"{form}: {size:.1f} MB, cosine {cos.mean():.4f}, at least "
              f"{cos.min():.4f}; the same nearest sentence for "
              f"{np.sum(near == own_near)} of {len(texts)}, the same nearest "
              f"line for {np.sum(best == own_best)} of {len(queries)} queries")
        if cos.min() < LEAST_COSINE:
            return f"agree.py: {form} is too far from float"
    return 0


if __name__ == "__main__":
    sys.exit(main())
