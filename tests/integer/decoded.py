# SPDX-License-Identifier: Apache-2.0
"""Products with weights of a few bits, a scale for each block of them."""
import ml_dtypes
import numpy as np

from deck import Cases
from makers_microsoft import packed
from model import MICROSOFT

DTYPES = {"u4": ml_dtypes.uint4, "i4": ml_dtypes.int4,
          "u2": ml_dtypes.uint2, "i2": ml_dtypes.int2, "u8": np.uint8,
          "i8": np.int8}
ROWS = (1, 2, 3, 5, 8, 13, 27, 40)


def ends_of(name):
    bits = int(name[1])
    return (0, 2 ** bits - 1) if name[0] == "u" else \
        (-2 ** (bits - 1), 2 ** (bits - 1) - 1)


def blocked(m, name, rows, k, columns, block, has_zero):
    """DequantizeLinear along the sum, then MatMul."""
    low, high = ends_of(name)
    blocks = -(-k // block)
    q = m.numbers.integers(low, high + 1, (k, columns))
    z = m.numbers.integers(low, high + 1, (blocks, columns)) * has_zero
    s = m.float((blocks, columns), 0.1)
    a = m.float((rows, k))
    names = [m.constant(q.astype(DTYPES[name])), m.constant(s)]
    if has_zero:
        names.append(m.constant(z.astype(DTYPES[name])))
    w = m.inner("DequantizeLinear", names, axis=0, block_size=block)
    m.call("MatMul", [m.input(a), w], [np.float32])
    at = np.arange(k) // block
    m.case(f"{name} {rows}x{k}x{columns}, blocks of {block}"
           f"{', zero points' * has_zero}",
           a.astype(np.float64) @ ((q - z[at]) * s.astype(np.float64)[at]))


def nbits(m, bits, rows, k, columns, block, has_zero):
    blocks = -(-k // block)
    q = m.whole(np.uint8, (columns, blocks, block), 0, 2 ** bits - 1)
    z = np.full((columns, blocks), 2 ** (bits - 1), np.uint8)
    s = m.float((columns, blocks), 0.1)
    a = m.float((rows, k))
    names = [m.input(a), m.constant(packed(q, bits)), m.constant(s)]
    if has_zero:
        z = m.whole(np.uint8, (columns, blocks), 0, 2 ** bits - 1)
        names.append(m.constant(packed(z, bits)))
    m.call("MatMulNBits", names, [np.float32], MICROSOFT, K=k, N=columns,
           bits=bits, block_size=block)
    w = (q.astype(np.float64) - z[:, :, None]) * s[:, :, None]
    m.case(f"{bits} bits {rows}x{k}x{columns}, blocks of {block}"
           f"{', zero points' * has_zero}",
           a.astype(np.float64) @ w.reshape(columns, -1)[:, :k].T)


def models(full):
    for i in range(6 if full else 2):
        m = Cases(800 + i, symbolic=i % 2)
        m.is_float, m.opset = True, 25
        rows, columns = m.deck(ROWS), m.deck((7, 16, 33, 100))
        depth = m.deck((33, 64, 75, 96, 130))
        for name in DTYPES:
            for has_zero in (False, True):
                blocked(m, name, rows(), depth(), columns(),
                        m.pick((16, 32)), has_zero)
        yield f"blocked_{i}", m
        m = Cases(900 + i, symbolic=i % 2)
        m.is_float = True
        rows, columns = m.deck(ROWS), m.deck((7, 16, 33, 100))
        depth = m.deck((33, 64, 75, 96, 130))
        for bits in (2, 3, 4, 8):
            for has_zero in (False, True):
                nbits(m, bits, rows(), depth(), columns(),
                      m.pick((16, 32)), has_zero)
        yield f"nbits_{i}", m
