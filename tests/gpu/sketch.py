# SPDX-License-Identifier: Apache-2.0
"""A file of weights as a small one, from which numbers are made that are
distributed like them: enough to time a model where the weights are not.

Blocks of the file that look like floats of one distribution are their mean
and deviation; the others, integers and small tables, are held as they are.
"""
import numpy as np

BLOCK = 4096
RAW, KINDS = 0, {1: np.float32, 2: np.float16}


def alike(x):
    """Which rows of x are floats around a mean; their means, deviations."""
    with np.errstate(all="ignore"):
        x = x.astype(np.float32)
        mean, deviation = x.mean(1), x.std(1)
        middle = np.median(x, axis=1, keepdims=True)
        middle = np.median(np.abs(x - middle), axis=1)
        good = np.isfinite(x).all(1) & (deviation > 0) & \
            (deviation < 1e4) & (middle > 0.2 * deviation) & \
            ~((x != 0) & (np.abs(x) < 1e-30)).any(1)
    return good, mean, deviation


def write(weights, path):
    data = np.memmap(weights, np.uint8, "r")
    n = -(-data.size // BLOCK)
    kinds, numbers = np.zeros(n, np.uint8), np.zeros((n, 2), np.float32)
    raw = []
    for at in range(0, n, 4096):
        part = np.array(data[at * BLOCK:(at + 4096) * BLOCK])
        part = np.pad(part, (0, -part.size % BLOCK)).reshape(-1, BLOCK)
        here = slice(at, at + len(part))
        for kind, dtype in KINDS.items():
            good, mean, deviation = alike(part.view(dtype))
            good &= kinds[here] == RAW
            kinds[here][good] = kind
            numbers[here][good] = np.stack([mean, deviation], 1)[good]
        raw.append(part[kinds[here] == RAW])
    np.savez_compressed(path, size=data.size, kinds=kinds,
                        numbers=numbers[kinds != RAW],
                        raw=np.concatenate(raw))


def read(path):
    """Bytes like those that it was made of."""
    with np.load(path) as f:
        size, kinds, numbers, raw = (f[k] for k in
                                     ("size", "kinds", "numbers", "raw"))
    rng = np.random.default_rng(4)
    data = np.empty((len(kinds), BLOCK), np.uint8)
    data[kinds == RAW] = raw
    floats = kinds[kinds != RAW]
    for kind, dtype in KINDS.items():
        at, few = np.flatnonzero(kinds == kind), numbers[floats == kind]
        for i in range(0, len(at), 4096):
            mean, deviation = few[i:i + 4096, :, None].transpose(1, 0, 2)
            x = rng.standard_normal(
                (len(mean), BLOCK // np.dtype(dtype).itemsize), np.float32)
            data[at[i:i + 4096]] = (x * deviation + mean).astype(
                dtype).view(np.uint8)
    return data.reshape(-1)[:int(size)]
