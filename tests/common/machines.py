# SPDX-License-Identifier: Apache-2.0
"""Programs for other machines, which qemu runs."""
import os
import shutil
import subprocess

import objects


class Machine:
    """A target, how the names of its tools begin, and its emulator."""

    def __init__(self, triple, qemu):
        self.target = "--target=" + triple
        self.tools = triple + "-"
        self.qemu = qemu

    def is_here(self):
        return bool(shutil.which(self.qemu) and
                    shutil.which(self.tools + "gcc"))

    def runtime(self, dlcc, folder):
        """A copy of dlcc beside a runtime for the machine, in a new folder:
        objects.link() takes that when CC is cc()."""
        parts = []
        os.mkdir(folder)
        for name in sorted(os.listdir(os.path.join(objects.ROOT, "runtime"))):
            if name.endswith(".c"):
                parts.append(os.path.join(folder, name + ".o"))
                subprocess.run(
                    [self.tools + "gcc", "-std=c11", "-O1", "-Wall",
                     "-Wextra", "-Werror", "-c", "-D_POSIX_C_SOURCE=200809L",
                     f"-I{objects.ROOT}/compiler",
                     f"-I{objects.ROOT}/runtime/include", "-o", parts[-1],
                     os.path.join(objects.ROOT, "runtime", name)], check=True)
        subprocess.run([self.tools + "ar", "rcs",
                        os.path.join(folder, "libdlrt.a"), *parts],
                       check=True)
        return shutil.copy2(dlcc, folder)

    def cc(self):
        return self.tools + "gcc -static"

    def emulated(self, program):
        """Turns the program into a script that runs it."""
        os.rename(program, program + ".real")
        with open(program, "w") as f:
            f.write(f'#!/bin/sh\nexec {self.qemu} "{program}.real" "$@"\n')
        os.chmod(program, 0o755)


MACHINES = {"aarch64": Machine("aarch64-linux-gnu", "qemu-aarch64"),
            "armv7": Machine("arm-linux-gnueabihf", "qemu-arm")}
