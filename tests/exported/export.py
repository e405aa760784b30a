#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: export.py MODEL OUT SAMPLES NETWORK FORM...

Quantizes MODEL/model.onnx with ONNX Runtime's own tools and writes to OUT, for
each form of forms.py: FORM.onnx, what the tools made; FORM.cut.onnx, the same
cut apart (see cut.py); FORM.npz, samples, their results and the values at the
cuts for the first one, as ONNX Runtime computes them in its exact mode; also
float.npz, the results of the float model.  Prints each form with ok or with why
there is none.  Run this as a process of its own, so that nothing of the runtime
stays behind.
"""
import itertools
import logging
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quant_pre_process

import cut
import forms
import unsigned

N_CALIBRATE = 4
PROVIDERS = ["CPUExecutionProvider"]


class Peer:
    """ONNX Runtime with a model in memory, to sum integers as integers."""

    def __init__(self, model):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        # The default kernels saturate pairs of products at 16 bits.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # Else products with weights of 4 bits round what they read to 8 bits.
        options.add_session_config_entry(
            "session.qdq_matmulnbits_accuracy_level", "0")
        model, self.shifted = unsigned.of(model)
        model = model.SerializeToString()
        # Its own way from s8 to u8 fails on tensors that several nodes read;
        # and it makes operators of s8 which it has no kernel for.
        for optimize, without in ((True, []), (True, ["QDQS8ToU8Transformer"]),
                                  (False, [])):
            if not optimize:
                options.graph_optimization_level = \
                    ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                self.session = ort.InferenceSession(
                    model, options, PROVIDERS, disabled_optimizers=without)
                return
            except Exception as error:
                why = error
        raise why

    def run(self, names, feeds):
        """The values of these names, by name."""
        return {k: unsigned.unshift(a) if k in self.shifted else a
                for k, a in zip(names, self.session.run(names, feeds))}


def samples(feeds, seed):
    """Inputs like the given ones, without end: other pixels, other words."""
    rng = np.random.default_rng(seed)
    while True:
        yield {k: rng.normal(a.mean(), a.std(), a.shape).astype(a.dtype)
               if a.dtype.kind == "f" else
               rng.permutation(a.reshape(-1)).reshape(a.shape)
               for k, a in feeds.items()}


class Reader(CalibrationDataReader):
    def __init__(self, feeds):
        self.sets = itertools.islice(samples(feeds, 7), N_CALIBRATE)

    def get_next(self):
        return next(self.sets, None)


def load_feeds(folder):
    graph = onnx.load(os.path.join(folder, "model.onnx"),
                      load_external_data=False).graph
    data = os.path.join(folder, "test_data_set_0")
    return {v.name: numpy_helper.to_array(onnx.load_tensor(
        os.path.join(data, f"input_{k}.pb")))
        for k, v in enumerate(graph.input)}


def with_outputs(model, names):
    """The model, which returns these values too."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type
             for v in [*graph.value_info, *graph.output]}
    more = onnx.ModelProto()
    more.CopyFrom(model)
    for name in names:
        if all(name != v.name for v in model.graph.output):
            more.graph.output.append(
                helper.make_tensor_value_info(name, types[name], None)
                if types.get(name) else onnx.ValueInfoProto(name=name))
    return more


def save(path, **kinds):
    """The arrays of dicts by the name of the dict and their own."""
    np.savez(path, **{f"{kind}:{k}": a for kind, arrays in kinds.items()
                      for k, a in arrays.items()})


def results(model, sets):
    """What it gives for each set of inputs, by number and name."""
    peer, names = Peer(model), [v.name for v in model.graph.output]
    return {f"{i} {k}": a for i, feeds in enumerate(sets)
            for k, a in peer.run(names, feeds).items()}


def export(source, out, name, make, sets):
    path = os.path.join(out, name + ".onnx")
    make(source, path, Reader(sets[0]))
    model = onnx.load(path)
    points = cut.points(model.graph)
    own = [v.name for v in model.graph.output]
    values = Peer(with_outputs(model, points)).run(own + points, sets[0])
    inner = {k: values[k] for k in points}
    save(os.path.join(out, name + ".npz"), inner=inner,
         last={k: values[k] for k in own}, result=results(model, sets),
         feed={f"{i} {k}": a for i, feeds in enumerate(sets)
               for k, a in feeds.items()})
    onnx.save(cut.cut_model(model, inner, sets[0]),
              os.path.join(out, name + ".cut.onnx"))


def main():
    if len(sys.argv) < 6:
        print(__doc__, file=sys.stderr)
        return 1
    folder, out, n, network, *names = sys.argv[1:]
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(4)
    first = load_feeds(folder)
    sets = [first, *itertools.islice(samples(first, 8), int(n) - 1)]
    source = os.path.join(out, "float.onnx")
    quant_pre_process(os.path.join(folder, "model.onnx"), source,
                      skip_symbolic_shape=True)
    save(os.path.join(out, "float.npz"), result=results(onnx.load(source), sets))
    for name in names:
        try:
            export(source, out, name, forms.NETWORKS[network][name], sets)
            print(name, "ok", flush=True)
        except Exception as error:
            print(name, str(error).replace("\n", " ")[:300], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
