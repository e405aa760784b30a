# SPDX-License-Identifier: Apache-2.0
"""The protocol for sentence models: 100 sentences to calibrate with and 200
others to test with, all from the documentation of the operators in the pinned
package onnx, so that they are the same on every machine."""
import os
import re
import sys

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "examples", "search"))
import check

CALIBRATE, TEST = 100, 200
LEAST, MOST = 30, 220         # characters


def all_sentences():
    """In the order of the operators' names, each once."""
    text = "\n\n".join(
        schema.doc or "" for schema in sorted(
            onnx.defs.get_all_schemas(), key=lambda s: (s.domain, s.name)))
    seen, found = set(), []
    for paragraph in re.split(r"\n\s*\n", text):
        if "```" in paragraph or "|" in paragraph:
            continue
        for line in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            if LEAST <= len(line) <= MOST and line[0].isupper() and \
                    line[-1] == "." and line not in seen:
                seen.add(line)
                found.append(line)
    return found


def token_ids(vocabulary_file):
    """The ids of those to calibrate with, then of those to test with."""
    with open(vocabulary_file) as f:
        vocabulary = {w.rstrip("\n"): k for k, w in enumerate(f)}
    lines = all_sentences()
    step = len(lines) / (CALIBRATE + TEST)
    if step < 1:
        raise RuntimeError(f"only {len(lines)} sentences")
    picked = [np.array([check.tokens(lines[int(k * step)], vocabulary)],
                       np.int64) for k in range(CALIBRATE + TEST)]
    return picked[::3], [t for k, t in enumerate(picked) if k % 3]
