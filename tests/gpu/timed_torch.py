# SPDX-License-Identifier: Apache-2.0
"""A process that times PyTorch's form of a model, for tests/gpu/bench: with
half floats where the model's are, images channels-last, cuDNN's choice of its
fastest convolutions, in a CUDA graph that is replayed, as dlcc's calls are.
Without a GPU it runs on the CPU, to see that it works."""
import functools
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper

import subjects
import timing
import torch_form

FLOATS = {"f32": torch.float32, "f16": torch.float16,
          "bf16": torch.bfloat16}
WARM = 3
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"

made, forms = {}, {}


def settings(tf32):
    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


@functools.lru_cache(1)
def onnx_model(make):
    return subjects.made({"make": json.loads(make)})


def module(key, make, floats):
    """The model as a module on the GPU, and its inputs."""
    if key not in made:
        model, dtype = onnx_model(json.dumps(make)), FLOATS[floats]
        rng, sizes, args = subjects.generator(), {}, []
        for v in model.graph.input:
            t = v.type.tensor_type
            shape = sizes[v.name] = [d.dim_value for d in t.shape.dim]
            kind = helper.tensor_dtype_to_np_dtype(t.elem_type)
            if np.dtype(kind).kind not in "iub":
                kind = np.float32
            a = torch.from_numpy(subjects.array(shape, kind, rng)).to(DEVICE)
            if a.is_floating_point():
                a = a.to(dtype)
            args.append(a)
        form = torch_form.build(model, sizes, dtype).to(DEVICE)
        if any(node.target is F.conv2d for node in form.graph.nodes):
            args = [channels_last(a) for a in args]
            for name, t in list(form.named_buffers()):
                setattr(form, name, channels_last(t))
        made[key] = form, args
    return made[key]


def channels_last(t):
    return t.contiguous(memory_format=torch.channels_last) \
        if t.dim() == 4 else t


def captured(function, args):
    """What calls it n times, and its results: by a graph's replay, or plainly
    where it cannot be captured."""
    if not GPU:
        return lambda n: [function(*args) for _ in range(n)], \
            function(*args), False
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            results = function(*args)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph,
                              capture_error_mode="thread_local"):
            results = function(*args)
        call = graph.replay
    except RuntimeError as e:
        print("no graph:", e, file=sys.stderr, flush=True)
        graph, call = None, lambda: function(*args)

    def run(n):
        for _ in range(n):
            call()
        torch.cuda.synchronize()

    run(1)
    return run, results, graph is not None


def drop():
    """Forgets what another model has left."""
    forms.clear()
    made.clear()
    if GPU:
        torch.cuda.empty_cache()


def open_(peer, form):
    """form: eager, cublaslt, or compiled and autotuned by Inductor."""
    if repr(peer) not in made:
        drop()
    settings(peer["tf32"])
    function, args = module(repr(peer), peer["make"], peer["floats"])
    if GPU:
        torch.backends.cuda.preferred_blas_library(
            "cublaslt" if form == "cublaslt" else "default")
    if form in ("compiled", "autotuned"):
        torch._dynamo.reset()
        mode = "max-autotune-no-cudagraphs" if form == "autotuned" else None
        function = torch.compile(function, fullgraph=True, dynamic=False,
                                 mode=mode)
    run, results, graph = captured(function, args)
    forms[form] = [run, results, 1]
    return {"graph": graph}


def tune(form, seconds):
    forms[form][2] = timing.calls_for(forms[form][0], seconds)


def sample(form):
    run, _, n = forms[form]
    return {"seconds": timing.sample(run, n)}


def apart(form, stem):
    """How far the results in files lie from its own, relative to the rms."""
    worst = 0.0
    for i, t in enumerate(forms[form][1]):
        want = t.float().cpu().numpy().astype(np.float64)
        have = np.load(f"{stem}.{i}.npy").reshape(want.shape)
        scale = np.sqrt(np.mean(want * want)) or 1.0
        error = np.max(np.abs(want - have)) / scale
        if not np.isfinite(error):
            raise ValueError("results that are no numbers")
        worst = max(worst, float(error))
    return {"apart": worst}


if __name__ == "__main__":
    timing.serve({"open": open_, "tune": tune, "sample": sample,
                  "apart": apart})
