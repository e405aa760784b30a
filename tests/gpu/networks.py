# SPDX-License-Identifier: Apache-2.0
"""Whole networks on the stand-in driver, against ONNX Runtime's numbers."""
import importlib.machinery
import importlib.util
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import half_form
import objects
from rig import (HERE, ORDERS, as_call, error_over_rms, expect, make_model,
                 outputs, tensor)

HALF_BOUND = 1e-2       # of the rms
HALF_SHARE = 1.5        # of the error that comes with rounding
RECURRENT = ("lstm", "gru")     # products are inside of an operator
ARCHS = ("sm_80", "sm_90")
LIGHT = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2",
         "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512")
BATCHES = (1, 5, 128, 3, 5)


def suite(name):
    """The script tests/NAME/run as a module."""
    loader = importlib.machinery.SourceFileLoader(
        name, os.path.join(HERE, "..", name, "run"))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


models = suite("models")
node_tests = suite("onnx")


def stored(name, style, size="small"):
    """The path of a network and its (feeds, results)."""
    folder = models.generated(name, style, size)
    path = os.path.join(folder, "model.onnx")
    graph = onnx.load(path, load_external_data=False).graph
    sets = sorted(s for s in os.listdir(folder) if s.startswith("test_"))
    return path, [models.load_set(os.path.join(folder, s), graph)
                  for s in sets]


def within(rig, lib, sets, bound, orders=ORDERS):
    """The largest error of all calls, relative to the rms."""
    errors = []

    def check(_, wanted, got):
        errors.append(error_over_rms(wanted, got))
        return not errors[-1] <= bound and \
            f"error {errors[-1]:.1e} of the rms"

    rig.all_ways(lib, sets, check, orders)
    return max(errors)


def inherent(path, sets):
    """The error that rounding the factors of products to bf16 makes."""
    model = half_form.rounded_operands(onnx.load(path), TensorProto.BFLOAT16)
    exact = ReferenceEvaluator(model)
    return max(error_over_rms(wanted, exact.run(None, {
        k: a.astype(np.float64) if a.dtype == np.float32 else a
        for k, a in feeds.items()})) for feeds, wanted in sets)


def network(rig, name, style, form, arch, orders):
    """Of the generated networks; form: f32, f16 (all of it half floats) or
    what --precision takes."""
    path, sets = stored(name, style)
    prefix = f"{name}_{style}_{form}_{arch}"
    options, bound = [], models.BOUND
    if form == "f16":
        path = half_form.converted(onnx.load(path))
        bound = HALF_BOUND
    elif form != "f32":
        options, bound = ["--precision=" + form], HALF_BOUND
        if form == "bf16" and name not in RECURRENT:
            bound = HALF_SHARE * inherent(path, sets)
    lib = rig.library(path, prefix, arch, options)
    worst = within(rig, lib, sets, bound, orders)
    return f"error {worst:.1e} of the rms, at most {bound:.1e}"


def rounded(path, sets, which):
    """Results that ONNX Runtime computes in f32, where the left factors of
    products, or the right ones, are rounded to f16."""
    model = half_form.rounded_operands(
        onnx.load(path), TensorProto.FLOAT16, TensorProto.FLOAT, [which])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # It would leave out casts there and back.
    options.graph_optimization_level = \
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                       ["CPUExecutionProvider"])
    return [run.run(None, feeds) for feeds, _ in sets]


def errors(wanted, got):
    """The largest error of all sets relative to the rms of a result, and the
    rms of the errors."""
    def mean(w, g):
        w, g = w.astype(np.float64), g.astype(np.float64)
        return np.sqrt(np.mean((w - g) ** 2) / np.mean(w * w))
    return max(map(error_over_rms, wanted, got)), \
        max(max(map(mean, *pair)) for pair in zip(wanted, got))


def whole(rig, name, style, form, arch):
    """A network of full size, one call of each set without a look at races.
    What rounding to f16 costs depends on the weights, which are random: the
    largest error and the mean one are held to those that come with it.  They
    may cancel out where both factors are rounded, so those of each by itself
    are added up."""
    path, sets = stored(name, style, "full")
    wanted = [s[1] for s in sets]
    options = [] if form == "f32" else ["--precision=" + form]
    lib = rig.library(path, f"{name}_{style}_{form}_{arch}_full", arch,
                      options)
    answers, said = rig.calls(lib, [as_call(*s) for s in sets],
                              DLCC_EMU_RACES="0")
    got = [outputs(a, w, said) for a, w in zip(answers, wanted)]
    if form == "f32":
        bounds = (models.BOUND,) * 2
    elif name in RECURRENT:
        bounds = (HALF_BOUND,) * 2
    else:
        bounds = map(sum, zip(*(errors(wanted, rounded(path, sets, i))
                                for i in range(2))))
    text, good = [], True
    for what, error, bound in zip(("largest", "mean"), errors(wanted, got),
                                  bounds):
        text.append(f"{what} error {error:.1e} of the rms, at most "
                    f"{bound:.1e}")
        good = good and error <= bound
    expect(good, "; ".join(text))
    return "; ".join(text)


def light(rig, name, arch):
    """One of the onnx package's light models, with its stored output."""
    stem = os.path.join(objects.SUITE, "light", "light_" + name)
    path = stem + ".onnx"
    feeds = node_tests.light_inputs(onnx.load(path).graph)
    wanted = [numpy_helper.to_array(onnx.load_tensor(stem + "_output_0.pb"))]
    lib = rig.library(path, f"light_{name}_{arch}", arch)
    call = as_call(feeds, wanted)
    answers, said = rig.calls(lib, [call], DLCC_EMU_RACES="0")
    got = outputs(answers[0], wanted, said)
    why = objects.compare(wanted, got, 1e-3, 1e-7)
    # Softmax of random weights: all elements are small.
    expect(not why or error_over_rms(wanted, got) <= models.BOUND, why)
    return f"error {error_over_rms(wanted, got):.1e} of the rms"


def symbolic(rig):
    """N changes from call to call of a session: graphs by dims, memory that
    grows."""
    rng = np.random.default_rng(5)
    w1, w2 = (rng.standard_normal(s).astype(np.float32)
              for s in ((40, 70), (70, 24)))
    model = make_model(
        [helper.make_node("MatMul", ["x", "w1"], ["h"]),
         helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("MatMul", ["r", "w2"], ["s"]),
         helper.make_node("Softmax", ["s"], ["p"], axis=-1),
         helper.make_node("ReduceMax", ["s"], ["m"], keepdims=0)],
        [tensor("x", np.float32, ["N", 40])],
        [tensor("p", np.float32, ["N", 24]), tensor("m", np.float32, [])],
        [numpy_helper.from_array(w1, "w1"),
         numpy_helper.from_array(w2, "w2")])
    lib = rig.library(model, "symbolic")
    sets, known = [], {}
    for n in BATCHES:
        if n not in known:
            x = rng.standard_normal((n, 40)).astype(np.float32)
            s = np.maximum(x.astype(np.float64) @ w1, 0) @ w2
            e = np.exp(s - s.max(1, keepdims=True))
            p = (e / e.sum(1, keepdims=True)).astype(np.float32)
            known[n] = ({"x": x}, [p, np.float32(s.max()).reshape(())])
        sets.append(known[n])
    worst = within(rig, lib, sets, models.BOUND)
    return f"N = {', '.join(map(str, BATCHES))}: error {worst:.1e}"


def backwards(rig):
    """Every other column from the third one down: where that begins is a
    number that an int does not hold."""
    numbers = ([2], [-1 << 40], [1], [-2])
    names = ["first", "last", "axis", "step"]
    model = make_model(
        [helper.make_node("Slice", ["x", *names], ["y"])],
        [tensor("x", np.float32, ["M", "N"])],
        [tensor("y", np.float32, ["M", "K"])],
        [numpy_helper.from_array(np.array(v, np.int64), n)
         for n, v in zip(names, numbers)])
    lib = rig.library(model, "backwards")
    sets = []
    for shape in (3, 0), (1, 1), (2, 2), (0, 3), (7, 40):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        sets.append(({"x": x}, [x[:, 2::-2]]))
    rig.all_ways(lib, sets, lambda _, w, g: w[0].tobytes() != g[0].tobytes())
    return f"{len(sets)} sizes"


def chosen(full):
    """(name, style, form, architecture, orders of threads): each network as
    floats and as products of half floats, for each architecture; in the short
    form one style for each of them."""
    first, last = ARCHS
    for name in models.NAMES:
        yield name, "newer", "f32", first, ORDERS
        yield name, "older", "f32", last, ORDERS[-1:]
        yield name, "newer", "fp16", last, ORDERS[-1:]
    for name in models.NAMES if full else ("resnet50", "gru"):
        yield name, "newer", "f16", first, ORDERS[-1:]
    yield "gpt2", "newer", "bf16", last, ORDERS[-1:]
    if not full:
        return
    for name in models.NAMES:
        yield name, "older", "f32", first, ORDERS
        yield name, "newer", "f32", last, ORDERS
        for style, form, arch in (
                ("older", "fp16", "sm_90"), ("older", "fp16", "sm_80"),
                ("newer", "fp16", "sm_80"), ("newer", "fp16", "sm_90a"),
                ("older", "f16", "sm_90"), ("newer", "bf16", "sm_80"),
                ("newer", "bf16", "sm_90a")):
            yield name, style, form, arch, ORDERS[-1:]


def cases(rig, full):
    for row in chosen(full):
        if not rig.runs(row[3]):
            continue
        yield "-".join(row[:4]), lambda r=row: network(rig, *r)
    yield "symbolic", lambda: symbolic(rig)
    yield "backwards", lambda: backwards(rig)
    for arch in ARCHS if full else ():
        for name in LIGHT:
            yield f"light-{name}-{arch}", \
                lambda n=name, a=arch: light(rig, n, a)
        for name in models.NAMES:
            for row in ((name, "newer" if arch == ARCHS[0] else "older",
                         "f32", arch),
                        (name, "older" if arch == ARCHS[0] else "newer",
                         "fp16", arch)):
                yield "-".join(("full", *row)), lambda r=row: whole(rig, *r)
