# SPDX-License-Identifier: Apache-2.0
"""CUDA text to PTX by NVRTC, which is loaded when it is there."""
import ctypes
import glob
import os

NAMES = ("libnvrtc.so.13", "libnvrtc.so.12")
FOLDERS = ("", "/usr/local/cuda/lib", "/usr/local/cuda/lib64")


def candidates():
    if "DLCC_NVRTC" in os.environ:
        yield os.environ["DLCC_NVRTC"]
        return
    for folder in FOLDERS:
        for name in NAMES:
            yield os.path.join(folder, name)


def load():
    """The library, or None where none is found."""
    for path in candidates():
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return None


def text(lib, prog, what):
    size = ctypes.c_size_t()
    getattr(lib, f"nvrtcGet{what}Size")(prog, ctypes.byref(size))
    buf = ctypes.create_string_buffer(size.value)
    getattr(lib, f"nvrtcGet{what}")(prog, buf)
    return buf.value


def compile(lib, source, arch="compute_80", options=()):
    """The PTX of `source`, as bytes; an error carries NVRTC's log."""
    prog = ctypes.c_void_p()
    lib.nvrtcCreateProgram(ctypes.byref(prog), source.encode(), b"k.cu",
                           0, None, None)
    opts = [f"-arch={arch}", "-default-device", *options]
    array = (ctypes.c_char_p * len(opts))(*(o.encode() for o in opts))
    status = lib.nvrtcCompileProgram(prog, len(opts), array)
    log = text(lib, prog, "ProgramLog")
    ptx = None if status else text(lib, prog, "PTX")
    lib.nvrtcDestroyProgram(ctypes.byref(prog))
    if status:
        raise RuntimeError(log.decode())
    return ptx
