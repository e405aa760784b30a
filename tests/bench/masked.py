# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as on a CPU of level x86-64-v3, whatever this one has.

It asks the CPU with `cpuid` which kernels to take.  A copy of its library has
an undefined instruction there, which cpuid.c answers.
"""
import importlib.util
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"


def cpuid_places(library):
    """Offsets in the file.  Other instructions hold the two bytes, too, so a
    disassembler says where one begins."""
    headers = subprocess.run(["objdump", "-h", library], check=True,
                             capture_output=True, text=True).stdout
    # Name, size, VMA, LMA, offset.
    moved = {m[1]: int(m[3], 16) - int(m[2], 16) for m in re.finditer(
        r"^ *\d+ (\S+) +\w+ +(\w+) +\w+ +(\w+)", headers, re.M)}
    places, section = [], None
    listing = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn",
                                library], stdout=subprocess.PIPE, text=True)
    for line in listing.stdout:
        if line.startswith("Disassembly of section "):
            section = line.split()[-1].rstrip(":")
        elif line.endswith("\tcpuid\n"):
            places.append(int(line.split(":")[0], 16) + moved[section])
    if listing.wait():
        raise RuntimeError("objdump failed")
    return places


def copy_masked(library, target):
    with open(library, "rb") as f:
        data = bytearray(f.read())
    places = cpuid_places(library)
    for at in places:
        if data[at:at + 2] != CPUID:
            raise RuntimeError(f"no cpuid at {at:#x} of {library}")
        data[at:at + 2] = UD2
    if not places:
        raise RuntimeError(f"{library} never asks for the CPU")
    with open(target, "wb") as f:
        f.write(data)


def environment(folder):
    """Makes the copy in FOLDER; returns what a process needs to import it."""
    package = os.path.dirname(importlib.util.find_spec("onnxruntime").origin)
    capi = os.path.join(folder, "onnxruntime", "capi")
    os.makedirs(capi)
    for name in os.listdir(package):
        if name != "capi":
            os.symlink(os.path.join(package, name),
                       os.path.join(folder, "onnxruntime", name))
    for name in os.listdir(os.path.join(package, "capi")):
        source = os.path.join(package, "capi", name)
        target = os.path.join(capi, name)
        if name.startswith("onnxruntime_pybind11_state."):
            copy_masked(source, target)
        else:
            os.symlink(source, target)
    answers = os.path.join(folder, "cpuid.so")
    subprocess.run(["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-shared", "-fPIC", "-o", answers,
                    os.path.join(HERE, "cpuid.c")], check=True)
    return {**os.environ, "LD_PRELOAD": answers, "PYTHONPATH": folder}
