# SPDX-License-Identifier: Apache-2.0
"""What NVRTC makes of the kernels: for each architecture, without spills and
local memory, with tensor cores where they are due."""
import ctypes
import os
import re
import struct
import subprocess
import time

import numpy as np

import attention
import contractions
import networks
import nvrtc
import objects
from rig import GPU, expect, kernels

ARCHS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100",
         "sm_120")
HMMA, IMMA = 0x23c, 0x237       # opcodes of machine code
LOADS_LOCAL, STORES_LOCAL = 0x983, 0x387
MOST_BYTES = 1 << 30
SHORT = ("gpt2",)
OPTIONS = (b"--std=c++17", b"--fmad=false", b"--ptxas-options=-v")


def cubin(text, arch):
    """Machine code and what ptxas says of it, as dlcc makes it: kernels that
    spill get more registers."""
    elf, log = compiled(text, arch, OPTIONS)
    return (elf, log) if not re.search("[1-9][0-9]* bytes spill", log) else \
        compiled(text, arch, (*OPTIONS, b"-DDL_ROOM"))


def compiled(text, arch, options):
    lib, prog = nvrtc.load(), ctypes.c_void_p()
    lib.nvrtcCreateProgram(ctypes.byref(prog), text.encode(), b"k.cu", 0,
                           None, None)
    options = (b"-arch=" + arch.encode(), *options)
    status = lib.nvrtcCompileProgram(prog, len(options), (
        ctypes.c_char_p * len(options))(*options))
    log = nvrtc.text(lib, prog, "ProgramLog").decode()
    expect(status == 0, f"{arch}: {log[-500:]}")
    size = ctypes.c_size_t()
    lib.nvrtcGetCUBINSize(prog, ctypes.byref(size))
    data = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetCUBIN(prog, data)
    lib.nvrtcDestroyProgram(ctypes.byref(prog))
    return data.raw, log


def opcodes(elf):
    """{kernel: {opcode: count}} of the sections .text.NAME of a cubin, whose
    instructions have 16 bytes and their opcode in the low 12 bits."""
    expect(elf[:5] == b"\x7fELF\x02", "no ELF of 64 bits")
    start, = struct.unpack_from("<Q", elf, 0x28)
    size, n, names = struct.unpack_from("<HHH", elf, 0x3a)

    def section(i):
        name, _, _, _, at, length = struct.unpack_from("<IIQQQQ", elf,
                                                       start + i * size)
        return name, at, length

    strings = section(names)[1]
    found = {}
    for i in range(n):
        name, at, length = section(i)
        end = elf.index(b"\0", strings + name)
        name = elf[strings + name:end].decode()
        if not name.startswith(".text."):
            continue
        count = found.setdefault(name[6:], {})
        for word, in struct.iter_unpack("<Q8x", elf[at:at + length]):
            count[word & 0xfff] = count.get(word & 0xfff, 0) + 1
    return found


def clean(log, n):
    """ptxas tells of n kernels, none of which uses the stack."""
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                        r"(\d+) bytes spill loads", log)
    expect(len(frames) == n, f"ptxas tells of {len(frames)} of {n} kernels")
    names = re.findall(r"Function properties for (\w+)", log)
    bad = [f"{name} {'/'.join(f)}" for name, f in zip(names, frames)
           if any(map(int, f))]
    expect(not bad, "bytes of stack, stores, loads: " + ", ".join(bad))


def accepted(rig, path, name, arch):
    """All kernels of a model, for an architecture."""
    text = rig.cuda(path, f"{name}_{arch}", arch)
    n = len(kernels(text)[1])
    elf, log = cubin(text, arch)
    clean(log, n)
    found = opcodes(elf)
    expect(len(found) == n, f"machine code of {len(found)} of {n} kernels")
    for kernel, count in found.items():
        expect(not count.get(LOADS_LOCAL) and not count.get(STORES_LOCAL),
               f"{kernel} uses local memory")
    return f"{n} kernels"


def products(kind):
    d = contractions.Deck(kind, 3)
    for m, n, k in ((33, 65, 129), (257, 100, 64), (12, 12, 12)):
        d.floats("MatMul", [(m, k), (k, n)])
    d.floats("Gemm", [(65, 40), (33, 40), (33,)], transB=1)
    d.floats("Conv", [(2, 16, 15, 15), (32, 16, 3, 3), (32,)],
             pads=[1, 1, 1, 1])
    return d.model(), len(d.nodes)


def integers():
    d = contractions.Deck(None, 3)
    for m, n, k in ((33, 65, 129), (64, 64, 64)):
        a = d.rng.integers(0, 256, (m, k)).astype(np.uint8)
        b = d.rng.integers(-128, 128, (k, n)).astype(np.int8)
        d.node("MatMulInteger", [d.give(a), d.give(b)],
               np.zeros((m, n), np.int32), None, "")
    return d.model(), len(d.nodes)


def on_tensor_cores(rig, name, made, arch, opcode, options=()):
    """Each product is a kernel with the tensor cores' instruction, in machine
    code and in PTX."""
    model, n = made
    text = rig.cuda(model, f"{name}_{arch}", arch, options)
    elf, log = cubin(text, arch)
    found = {k for k, count in opcodes(elf).items() if count.get(opcode)}
    expect(len(found) == n, f"{len(found)} of {n} products: {sorted(found)}")
    clean(log, len(kernels(text)[1]))
    ptx = nvrtc.compile(nvrtc.load(), text, arch.replace("sm", "compute"),
                        ("--std=c++17",)).decode()
    for k, body in zip(re.findall(r"\.entry (k\d+)", ptx),
                       re.split(r"\.entry k\d+", ptx)[1:]):
        expect(("mma.sync" in body) == (k in found), f"PTX of {k}")
    return f"{n} products"


def heads(rig, arch, kind, form=()):
    """Attention of the largest heads: no kernel spills, and products are on
    tensor cores but for those of f32."""
    d = attention.Deck(kind, 3)
    most = 64 if kind == "tf32x3" else 128
    for m, n, d_, e in ((130, 64, most, most), (128, 200, 40, 48)):
        d.op(9, 16, m, n, d_, e, mask="some")
        d.op(1, 2, m, n, d_, e, causal=1)
    text = rig.cuda(d.model(), f"heads_{kind}_{arch}", arch, form)
    elf, log = cubin(text, arch)
    clean(log, len(kernels(text)[1]))
    found = [count.get(HMMA, 0) > 0 for count in opcodes(elf).values()]
    expect(len(found) == len(d.nodes) and
           found == [kind != "f32"] * len(found), f"tensor cores: {found}")
    return f"{len(found)} kernels"


def plain(rig):
    """Products of f32 stay off tensor cores: the count can fail."""
    text = rig.cuda(products("f32")[0], "plain")
    for count in opcodes(cubin(text, "sm_80")[0]).values():
        expect(HMMA not in count, "HMMA in a product of f32")


def emitted(rig):
    """--emit=cuda, ptx and cubin hold the same kernels."""
    model, n = products("f16")
    path = rig.saved(model, "emitted")
    made = {}
    for kind in ("cuda", "ptx", "cubin"):
        code, made[kind], said = rig.dlcc_run(path, "--emit=" + kind, GPU,
                                              "-march=sm_90", "-o", "-")
        expect(code == 0 and not said, f"{kind}: {code}: {said}")
    names = set(kernels(made["cuda"].decode())[1])
    expect(len(names) == n, f"{len(names)} kernels, not {n}")
    ptx = made["ptx"].decode()
    expect("\0" not in ptx and ".target sm_90" in ptx, "the head of the PTX")
    expect(set(re.findall(r"\.entry (k\d+)", ptx)) == names, "PTX")
    expect(set(opcodes(made["cubin"])) == names, "cubin")
    path = networks.stored("gru", "newer")[0]
    code, _, said = rig.dlcc_run(path, "--emit=ptx", GPU, "-o", "-")
    expect(code == 1 and re.search(
        r"the kernels are in \d files of this kind: one is made by "
        r"--emit=cuda, all are in the object\n$", said) and
        said.count("\n") == 1, f"{code}: {said}")


def same_bytes(rig):
    path = rig.saved(products("bf16")[0], "same")
    held = []
    for i in range(2):
        out = rig.path(f"same{i}.o")
        code, said = objects.dlcc_compile(
            rig.dlcc, path, out, "same", [GPU, "-march=sm_80,sm_90a,sm_120"])
        expect(code == 0, said)
        with open(out, "rb") as f, open(out[:-1] + "h", "rb") as h:
            held.append((f.read(), h.read()))
    expect(held[0] == held[1], "other bytes the second time")
    return f"{len(held[0][0])} bytes"


# Products with few rows, by what their weights are: how these are read, and
# how nothing is.
WIDE = {"f32": (r"\.v4\.f32", r"\.[uf]32"), "f16": (r"\.v4\.[ub]32", r"\.u16"),
        "bf16": (r"\.v4\.[ub]32", r"\.u16"),
        "w8": (r"\.v4\.[ub]32", r"\.[us]8"),
        "w4": (r"\.v4\.[ub]32", r"\.v2\.[ub]32"),
        "run-f32": (r"\.v4\.f32", r"\.v2\.f32"),
        "run-f16": (r"\.v[24]\.[ub]32", r"\.s16")}


def few_rows(kind):
    float_kind = kind.replace("run-", "") if "f" in kind else "f32"
    d = contractions.Deck(float_kind, 5)
    d.floats("MatMul", [(4, 1024), (1024, 2048)],
             const=() if kind.startswith("run") else {1})
    return d.model()


def wide_loads(rig, kind, arch):
    """What is read of each weight comes in 16 bytes; nothing is in local
    memory."""
    least, never = WIDE[kind]
    options = {"w8": ["--quantize=w8"], "w4": ["--quantize=w4:block=32"]}
    text = rig.cuda(few_rows(kind), f"few_{kind}", arch,
                    options.get(kind, ()))
    elf, log = cubin(text, arch)
    clean(log, len(kernels(text)[1]))
    ptx = nvrtc.compile(nvrtc.load(), text, arch.replace("sm", "compute"),
                        ("--std=c++17",)).decode()
    first = re.split(r"\.entry k\d+", ptx)[1]
    loads = re.findall(r"ld\.global(?:\.nc)?(\S*)", first)
    want, never = WIDE[kind]
    wide = [x for x in loads if re.fullmatch(want, x)]
    bad = [x for x in loads if re.fullmatch(never, x)]
    expect(wide and not bad, f"loads {sorted(set(loads))}")
    expect(".local" not in first, "local memory")
    return f"{len(wide)} of {len(loads)} loads"


def verbose(rig):
    """dlcc -v counts the kernels and says nothing of spills, though there are
    some when ptxas has its way."""
    for name, model in (("gru", networks.stored("gru", "newer")[0]),
                        ("products", products("f16")[0])):
        path = rig.saved(model, "said_" + name)
        code, said = objects.dlcc_compile(
            rig.dlcc, path, rig.path(f"said_{name}.o"), "said", [GPU, "-v"])
        n = len(kernels(rig.cuda(path, "said"))[1])
        expect(code == 0 and re.search(
            rf"^dlcc: {n} kernels for \d+ launches$", said, re.M), said)


def large(rig):
    """ResNet-50 of full size takes less than a GB."""
    path = networks.stored("resnet50", "newer", "full")[0]
    start = time.monotonic()
    child = subprocess.Popen(
        [rig.dlcc, path, GPU, "-march=sm_90", "-o", rig.path("large.o")],
        stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    expect(status == 0, f"wait status {status}")
    expect(usage.ru_maxrss << 10 < MOST_BYTES, f"{usage.ru_maxrss} KiB")
    return f"{usage.ru_maxrss >> 10} MiB, " \
        f"{time.monotonic() - start:.0f} s"


def cases(rig, full):
    yield "plain", lambda: plain(rig)
    yield "emitted", lambda: emitted(rig)
    yield "same-bytes", lambda: same_bytes(rig)
    yield "verbose", lambda: verbose(rig)
    for kind in WIDE:
        for arch in ARCHS if full else ("sm_75", "sm_90a"):
            yield f"few-rows-{kind}-{arch}", \
                lambda k=kind, a=arch: wide_loads(rig, k, a)
    for arch in ARCHS:
        for kind in ("f16", "bf16") if full and arch != "sm_75" \
                else ("bf16",) if arch == "sm_80" else ("f16",):
            yield f"tensor-cores-{kind}-{arch}", \
                lambda a=arch, k=kind: on_tensor_cores(
                    rig, "cores_" + k, products(k), a, HMMA)
    for arch in ARCHS[1:] if full else ("sm_80", "sm_120"):
        yield f"tensor-cores-integers-{arch}", \
            lambda a=arch: on_tensor_cores(rig, "cores_i8", integers(), a,
                                           IMMA)
        if full:
            yield f"tensor-cores-tf32-{arch}", lambda a=arch: on_tensor_cores(
                rig, "cores_tf32", products("f32"), a, HMMA,
                ["--fp32=tf32"])
    for arch in ARCHS:
        for kind in attention.EXPONENTIAL:
            form = ["--fp32=" + kind] if kind.startswith("tf32") else []
            if arch == "sm_75" and kind not in ("f32", "f16"):
                continue
            if full or arch == "sm_80" or kind == "f16":
                yield f"heads-{kind}-{arch}", \
                    lambda a=arch, k=kind, f=form: heads(rig, a, k, f)
    for name in networks.models.NAMES if full else SHORT:
        for style in ("older", "newer") if full else ("newer",):
            for arch in ARCHS:
                yield f"{name}-{style}-{arch}", \
                    lambda n=name, s=style, a=arch: accepted(
                        rig, networks.stored(n, s)[0], f"{n}_{s}", a)
    yield "large", lambda: large(rig)
