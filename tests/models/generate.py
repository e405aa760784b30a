#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: generate.py NAME STYLE SIZE FOLDER

Writes a model with seeded weights and reference data to FOLDER, in ONNX's
layout: model.onnx, test_data_set_K/input_N.pb and output_N.pb.  STYLE is
older or newer, SIZE small or full.  The outputs are ONNX Runtime's; run this
as a process of its own, so that nothing of the runtime stays behind.
"""
import os
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import onnx
import onnxruntime
from onnx import numpy_helper

import text
import vision

MODELS = {
    "resnet50": vision.resnet50, "mobilenetv2": vision.mobilenetv2,
    "efficientnet_b0": vision.efficientnet_b0, "vit_b16": vision.vit_b16,
    "bert_base": text.bert_base, "minilm_l6": text.minilm_l6,
    "gpt2": text.gpt2, "gpt2_decode": text.gpt2_decode, "lstm": text.lstm,
    "gru": text.gru,
}


def save(folder, name, arrays):
    for k, (key, a) in enumerate(arrays):
        onnx.save_tensor(numpy_helper.from_array(a, key),
                         os.path.join(folder, f"{name}_{k}.pb"))


def generate(name, style, size, folder):
    model, feeds = MODELS[name](style, size == "small")
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    path = os.path.join(part, "model.onnx")
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options,
                                           ["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    for k, feed in enumerate(feeds):
        data = os.path.join(part, f"test_data_set_{k}")
        os.makedirs(data)
        save(data, "input", feed.items())
        save(data, "output", zip(names, session.run(names, feed)))
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(part, folder)


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in MODELS or \
            sys.argv[2] not in ("older", "newer") or \
            sys.argv[3] not in ("small", "full"):
        print(__doc__, file=sys.stderr)
        return 1
    generate(*sys.argv[1:4], os.path.abspath(sys.argv[4]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
