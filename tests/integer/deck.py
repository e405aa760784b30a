# SPDX-License-Identifier: Apache-2.0
"""Choices that come up equally often, and operands at the ends of types."""
import numpy as np

from model import Model

SIGNS = [(a, b) for a in (np.uint8, np.int8) for b in (np.uint8, np.int8)]


class Deck:
    """Deals each card once before it deals one again."""

    def __init__(self, cards, random):
        self.cards, self.random, self.left = list(cards), random, []

    def __call__(self):
        if not self.left:
            self.left = self.random.sample(self.cards, len(self.cards))
        return self.left.pop()


class Cases(Model):
    """A model of many cases: one call and its outputs for each."""

    def __init__(self, seed, symbolic=False):
        super().__init__(seed)
        self.symbolic, self.want = symbolic, []
        self.wrong_by_one = False   # where QDQ is computed as written
        self.is_float = False
        self.is_short = False       # compiled in every way, not by turns
        self.evaluated = True       # small enough for that
        self.said = []              # what each case is, for messages

    def deck(self, cards):
        return Deck(cards, self.random)

    def numbers_of(self, dtype, shape, how="random"):
        """Operands over all of the type, at its ends, or mostly near its
        middle, as weights are."""
        info = np.iinfo(dtype)
        if how == "near":
            middle = (int(info.min) + int(info.max) + 1) // 2
            w = np.rint(self.numbers.normal(middle, 22, shape))
            return np.clip(w, info.min, info.max).astype(dtype)
        if how == "random":
            return self.whole(dtype, shape)
        if how == "ends":
            return np.where(self.numbers.random(shape) < 0.5, info.min,
                            info.max).astype(dtype)
        return np.full(shape, info.min if how == "low" else info.max, dtype)

    def zero_of(self, dtype, form, n):
        """(values as int64 of shape () or (n,), array or None)."""
        info = np.iinfo(dtype)
        if form == "none":
            return np.int64(0), None
        if form == "each":
            z = self.whole(dtype, n)
        else:
            z = np.array({"low": info.min, "high": info.max}.get(
                form, self.integer(info.min, info.max)), dtype)
        return z.astype(np.int64), z

    def input(self, array, symbolic=None):
        """Where the model is symbolic, the rows are: real ones know the
        depths of their sums."""
        name = super().input(array, False)
        open_dims = (0,) if symbolic is None else symbolic
        if self.symbolic and open_dims:
            dims = self.inputs[-1].type.tensor_type.shape.dim
            for i in open_dims:
                dims[i].dim_param = f"{name}_{i}"
        return name

    def given(self, array, is_constant):
        return self.constant(array) if is_constant else \
            self.input(array, ())

    def inner(self, op, inputs, domain="", **attributes):
        """A node whose result the model does not return."""
        from onnx import helper

        name = self.name()
        self.nodes.append(helper.make_node(
            op, [v or "" for v in inputs], [name], domain=domain,
            **attributes))
        return name

    def case(self, said, want):
        self.said.append(said)
        self.want.append(want)


def wrapped(total):
    """An exact sum as the int32 of the operators."""
    return np.asarray(total, np.int64).astype(np.int32)
