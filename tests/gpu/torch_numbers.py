# SPDX-License-Identifier: Apache-2.0
"""Usage: torch_numbers.py FOLDER...

Holds torch_form's modules of generated networks to their stored results, as
f32 and as f16, and to themselves when torch.compile has traced them, which it
has to do without a break.  For a Python with PyTorch; no GPU is used.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import onnx
import torch
from onnx import numpy_helper

import torch_form

BOUNDS = {torch.float32: 1e-4, torch.float16: 2e-2}     # of the rms
UNTRACED = ("LSTM", "GRU")      # torch.compile stops at these
# Of the newer forms, how often attention is one function of torch.
ATTENTION = ("bert_base-newer", "vit_b16-newer", "gpt2-newer",
             "gpt2_decode-newer")


def stored(folder, data, stem, values):
    return [numpy_helper.to_array(onnx.load_tensor(os.path.join(
        folder, data, f"{stem}_{k}.pb"))) for k in range(len(values))]


def error_over_rms(wanted, got):
    worst = 0.0
    for want, have in zip(wanted, got):
        if tuple(have.shape) != want.shape:
            return np.inf
        w, h = want.astype(np.float64), have.double().numpy()
        error = np.max(np.abs(w - h)) / np.sqrt(np.mean(w * w))
        worst = max(worst, error) if error == error else np.inf
    return worst


def check(folder):
    """What is wrong, if anything; the errors."""
    model = onnx.load(os.path.join(folder, "model.onnx"))
    graph, found = model.graph, []
    traced = not any(n.op_type in UNTRACED for n in graph.node)
    for data in sorted(d for d in os.listdir(folder)
                       if d.startswith("test_")):
        feeds = stored(folder, data, "input", graph.input)
        wanted = stored(folder, data, "output", graph.output)
        sizes = {v.name: a.shape for v, a in zip(graph.input, feeds)}
        for dtype, bound in BOUNDS.items():
            form = torch_form.build(model, sizes, dtype)
            args = [torch.from_numpy(a.copy()) for a in feeds]
            args = [a.to(dtype) if a.is_floating_point() else a for a in args]
            got = form(*args)
            found.append(error_over_rms(wanted, got))
            if not found[-1] <= bound:
                return f"{dtype}: error {found[-1]:.1e} of the rms", found
            fused = any(n.target is torch_form.ATTENTION
                        for n in form.graph.nodes)
            if os.path.basename(folder).startswith(ATTENTION) and not fused:
                return "attention is not one function", found
            if not traced:
                continue
            torch._dynamo.reset()
            again = torch.compile(form, backend="eager", fullgraph=True)(*args)
            if not all(map(torch.equal, got, again)):
                return "other bits when it is traced", found
    return None, found


def main():
    torch.set_grad_enabled(False)
    bad, worst = 0, {dtype: 0.0 for dtype in BOUNDS}
    for folder in sys.argv[1:]:
        why, errors = check(folder)
        if why:
            bad += 1
            print(f"{os.path.basename(folder)}: {why}")
        for dtype, found in zip(BOUNDS, (errors[::2], errors[1::2])):
            worst[dtype] = max([worst[dtype], *found])
    print(f"{len(sys.argv) - 1} networks: error "
          f"{worst[torch.float32]:.1e} of the rms as f32, "
          f"{worst[torch.float16]:.1e} as f16")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
