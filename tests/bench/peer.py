#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: peer.py MODEL DATA RESULT THREADS [KEY=VALUE...]

ONNX Runtime as calls.c: runs MODEL on DATA/input_*.pb, stores the outputs as
raw bytes, then answers each line `N` with the seconds of N calls.  The session
is configured by the keys.
"""
import os
import sys
import time

import onnx
import onnxruntime
from onnx import numpy_helper


def main():
    model, data, result, threads, *entries = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.inter_op_num_threads = 1
    for entry in entries:
        options.add_session_config_entry(*entry.split("=", 1))
    session = onnxruntime.InferenceSession(model, options,
                                           ["CPUExecutionProvider"])
    feeds = {}
    for k, value in enumerate(session.get_inputs()):
        tensor = onnx.load_tensor(os.path.join(data, f"input_{k}.pb"))
        feeds[value.name] = numpy_helper.to_array(tensor)
    with open(result, "wb") as f:
        for a in session.run(None, feeds):
            f.write(a.tobytes())
    for line in sys.stdin:
        for _ in range(int(line)):
            start = time.perf_counter()
            session.run(None, feeds)
            print(f"{time.perf_counter() - start:.9f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
