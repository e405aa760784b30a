#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: quantized.py FORM MODEL RESULT

Quantizes MODEL with ONNX Runtime's tools as `run` wants it: int8 is QDQ with
u8 inputs and s8 weights per channel, int8-dynamic its dynamic form of the
products with constants, per channel.  Speed does not depend on the ranges, so
a few random images give them.
"""
import os
import sys

import numpy as np
import onnx
from onnxruntime import quantization as q
from onnxruntime.quantization import CalibrationDataReader


class Images(CalibrationDataReader):
    def __init__(self, path):
        x = onnx.load(path, load_external_data=False).graph.input[0]
        rng = np.random.default_rng(7)
        dims = [d.dim_value or 1 for d in x.type.tensor_type.shape.dim]
        self.sets = iter([{x.name: rng.standard_normal(dims, np.float32)}
                          for _ in range(2)])

    def get_next(self):
        return next(self.sets, None)


def main():
    form, source, path = sys.argv[1:]
    clean, part = path + ".float", path + ".part"
    q.quant_pre_process(source, clean, skip_symbolic_shape=True)
    if form == "int8":
        q.quantize_static(clean, part, Images(clean), per_channel=True,
                          activation_type=q.QuantType.QUInt8,
                          weight_type=q.QuantType.QInt8)
    else:
        q.quantize_dynamic(clean, part, ["MatMul"], per_channel=True,
                           weight_type=q.QuantType.QInt8,
                           extra_options={"MatMulConstBOnly": True})
    os.remove(clean)
    os.rename(part, path)


if __name__ == "__main__":
    main()
