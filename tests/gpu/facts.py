# SPDX-License-Identifier: Apache-2.0
"""What NVRTC makes of the kernels: for each architecture, without spills and
local memory, with tensor cores where they are due."""
import ctypes
import os
import re
import signal
import struct
import subprocess
import time

import numpy as np
from onnx import helper, numpy_helper

import attention
import contractions
import networks
import nvrtc
import objects
from rig import GPU, expect, kernels, make_model, tensor

ARCHS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100",
         "sm_120")
HMMA, IMMA = 0x23c, 0x237       # opcodes of machine code
LOADS_LOCAL, STORES_LOCAL = 0x983, 0x387
# Products of a warpgroup, of floats and integers; copies of boxes; registers
# that a warpgroup gives to another.
HGMMA, IGMMA, UTMALDG, USETMAXREG = 0x9f0, 0x9f1, 0x5b4, 0x9c8
MOST_BYTES = 1 << 30
SHORT = ("gpt2",)
PER_PROGRAM = 16                # kernels that dlcc has compiled together
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
    # Few enough channels that nothing is copied ahead.
    d.floats("Conv", [(2, 16, 15, 15), (24, 16, 3, 3), (24,)],
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


def turned(rig, arch):
    """Half floats that the tensor cores turn, in tiles of 64 and of 128: all
    kernels have their instructions."""
    d = contractions.Deck("f16", 3)
    for size in (136, 256):
        d.floats("MatMul", [(24, 136, 64), (24, 64, size)])
    text = rig.cuda(d.model(), f"turned_{arch}", arch)
    expect("_turned(b" in text.split("__global__", 1)[1], "none is turned")
    elf, log = cubin(text, arch)
    found = opcodes(elf)
    clean(log, len(found))
    for k, count in found.items():
        expect(count.get(HMMA) or count.get(HGMMA), f"{k} has no mma")
    return f"{len(found)} kernels"


def by_boxes(rig, name, deck, product, registers):
    """The form for sm_90a: nothing in local memory, no product that ptxas makes
    wait for the one before; other architectures do not have it."""
    text = rig.cuda(deck.model(), name, "sm_90a")
    found = {k: t for k, t in kernels(text)[1].items() if "dl_copy_box(" in t}
    expect(found, "no kernel copies boxes")
    elf, log = cubin(text, "sm_90a")
    clean(log, len(kernels(text)[1]))
    expect("Performance Loss" not in log, log)
    code = opcodes(elf)
    for k in found:
        for opcode in (product, UTMALDG):
            expect(code[k].get(opcode), f"{k} lacks {opcode:#x}")
        expect(code[k].get(USETMAXREG, 0) == registers,
               f"{k}: {code[k].get(USETMAXREG, 0)} changes of registers")
    for arch in ("sm_90", "sm_100"):
        expect(not set(opcodes(cubin(text, arch)[0])) & set(found),
               f"copies of boxes for {arch}")
    expect("dl_copy_box(all" not in rig.cuda(deck.model(), name, "sm_80"),
           "copies of boxes in text for sm_80")
    return f"{len(found)} kernels"


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


def told(said):
    """The rows of the table that dlcc -v prints: {(kernel, arch): ({column:
    number}, grid, nodes)}."""
    lines = [x[6:] for x in said.splitlines() if x.startswith("dlcc: ")]
    head = next(i for i, x in enumerate(lines) if x.startswith("kernel "))
    names = ("index", "regs", "spill", "stack", "shared", "block", "per SM",
             "launches")
    found = {}
    for line in lines[head + 1:]:
        m = re.match(r"(k\d+) +(sm_\w+)" + r" +(\d+)" * len(names)
                     + r"  ([^;]*)(?:; (.*))?$", line)
        if not m:
            break
        key = m.group(1), m.group(2)
        expect(key not in found, f"{key} twice")
        found[key] = dict(zip(names, map(int, m.groups()[2:10]))), \
            m.group(11), m.group(12) or ""
    return found


def said_of(log):
    """{kernel: (registers, static shared memory)}, by ptxas."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        shared = re.search(r"(\d+) bytes smem", part)
        found[part[:part.index("'")]] = (
            int(re.search(r"Used (\d+) registers", part).group(1)),
            int(shared.group(1)) if shared else 0)
    return found


def verbose(rig):
    """dlcc -v counts the kernels and tells what each takes; it says nothing
    of spills, though there are some when ptxas has its way."""
    for name, model, archs in (
            ("gru", networks.stored("gru", "newer")[0], ("sm_80",)),
            ("products", products("f16")[0], ("sm_80", "sm_90a"))):
        path = rig.saved(model, "said_" + name)
        code, said = objects.dlcc_compile(
            rig.dlcc, path, rig.path(f"said_{name}.o"), "said",
            [GPU, "-v", "-march=" + ",".join(archs)])
        text = rig.cuda(path, "said", ",".join(archs))
        found = kernels(text)[1]
        m = re.search(r"^dlcc: (\d+) kernels for (\d+) launches$", said, re.M)
        expect(code == 0 and m and int(m.group(1)) == len(found), said)
        rows = told(said)
        expect(set(rows) == {(k, a) for k in found for a in archs},
               f"rows {sorted(rows)}")
        for arch in archs:
            own = said_of(cubin(text, arch)[1])
            for k, body in found.items():
                row, _, nodes = rows[k, arch]
                expect(row["spill"] == row["stack"] == 0, f"{k}: {row}")
                # Programs that spill are compiled again, by themselves.
                expect(row["regs"] == own[k][0] or
                       len(found) > PER_PROGRAM and row["regs"] > 0,
                       f"{k} {arch}: {row}, {own[k]}")
                expect(row["shared"] >= own[k][1] and
                       (row["shared"] > own[k][1]) == ("dl_dynamic" in body),
                       f"{k} {arch}: {row}, {own[k]}")
                wide = "i64 p =" in body
                expect(row["index"] == (64 if wide else 32), f"{k}: {row}")
                threads = int(re.search(r"DL_BOUNDS\((\d+)\)",
                                        body).group(1))
                expect(row["block"] == threads, f"{k}: {row}")
                for node in re.split(", | and \\d+ more", nodes):
                    expect(not node or f"// {node}\n" in text,
                           f"{k}: {node!r}")
        # A launch is of a kernel, or of one of two.
        once = sum(rows[k, archs[0]][0]["launches"] for k in found
                   if rows[k, archs[0]][0]["index"] == 32)
        expect(once <= int(m.group(2)) <=
               sum(rows[k, archs[0]][0]["launches"] for k in found),
               f"{once} launches")


def counted(rig):
    """Grids and copies, where they can be said beforehand."""
    model = make_model(
        [helper.make_node("Exp", ["x"], ["e"], name="first"),
         helper.make_node("ReduceMax", ["e", "axes"], ["y"], keepdims=0,
                          name="second")],
        [tensor("x", np.float32, ["N", 3000])],
        [tensor("e", np.float32, ["N", 3000]),
         tensor("y", np.float32, ["N"])],
        [numpy_helper.from_array(np.array([1]), "axes")])
    for dims, grids, copies in (
            (["--dim=N=7"], {"165", "7"},
             f"{7 * 3000 * 4} bytes to the GPU and {7 * 3001 * 4} back"),
            # A warp for each maximum, as long as it is not known that there
            # are few.
            ([], {"div(3000*N + 511, 512)", "div(N + 3, 4)"},
             "12000*N bytes to the GPU and 12004*N back")):
        path = rig.saved(model, "counted")
        code, said = objects.dlcc_compile(
            rig.dlcc, path, rig.path("counted.o"), "counted",
            [GPU, "-v", "-march=sm_80", *dims])
        rows = told(said)
        got = {grid for _, grid, _ in rows.values()}
        expect(code == 0 and got == grids, f"grids {got}")
        expect(f"dlcc: a call copies {copies}; 0 bytes of weights" in said,
               said)


def ended(rig):
    """SIGTERM ends dlcc while NVRTC, which has handlers too, compiles."""
    path = networks.stored("lstm", "newer")[0]
    out = rig.path("ended")
    os.mkdir(out)
    child = subprocess.Popen(
        [rig.dlcc, path, GPU, "-v", "-march=sm_90", "-o",
         os.path.join(out, "ended.o")], stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    for line in child.stderr:
        if "accesses proved" in line:
            break
    time.sleep(0.5)
    expect(child.poll() is None, "it was too fast for this test")
    child.terminate()
    try:
        status = child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        status = None
    child.stderr.close()
    expect(status == -signal.SIGTERM, f"status {status}")
    expect(not os.listdir(out), f"left: {os.listdir(out)}")


def large(rig):
    """ResNet-50 of full size takes less than a GB."""
    path = networks.stored("resnet50", "newer", "full")[0]
    start = time.monotonic()
    most = objects.peak_memory(rig.dlcc, path, GPU, "-march=sm_90", "-o",
                               rig.path("large.o"))
    expect(most < MOST_BYTES, f"{most >> 10} KiB")
    return f"{most >> 20} MiB, {time.monotonic() - start:.0f} s"


def cases(rig, full):
    yield "plain", lambda: plain(rig)
    yield "boxes-f16", lambda: by_boxes(
        rig, "boxes_f16", contractions.boxed("f16", 1), HGMMA, 0)
    for kind in ("f16", "bf16") if full else ("f16",):
        yield f"boxes-wide-{kind}", lambda k=kind: by_boxes(
            rig, "boxes_wide_" + k, contractions.boxed(
                k, 1, contractions.WIDE), HGMMA, 2)
    yield "boxes-turned", lambda: by_boxes(
        rig, "boxes_turned", contractions.boxed(
            "f16", 1, contractions.WIDE_COLUMNS, "ki", "kj"), HGMMA, 2)
    yield "boxes-integers", lambda: by_boxes(
        rig, "boxes_integers", contractions.boxed_bytes(np.uint8, np.int8),
        IGMMA, 0)
    yield "emitted", lambda: emitted(rig)
    yield "same-bytes", lambda: same_bytes(rig)
    yield "verbose", lambda: verbose(rig)
    yield "ended", lambda: ended(rig)
    yield "counted", lambda: counted(rig)
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
    for arch in ARCHS[1:]:
        if full or arch in ("sm_86", "sm_90a"):
            yield f"turned-{arch}", lambda a=arch: turned(rig, a)
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
