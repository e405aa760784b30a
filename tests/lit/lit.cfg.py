# SPDX-License-Identifier: Apache-2.0
"""Run with lit from the repository's root; DLCC_BUILD is the build folder."""
import os

import lit.formats

root = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
build = os.path.join(root, os.environ.get("DLCC_BUILD", "build/release"))

config.name = "dlcc"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".dl", ".test"]
config.test_source_root = os.path.dirname(os.path.abspath(__file__))
config.test_exec_root = os.path.join(root, "build", "check", "lit")
config.environment["PATH"] = os.pathsep.join(
    ["/usr/lib/llvm-19/bin", config.environment.get("PATH", "")])
config.environment["LC_ALL"] = "C"
dlcc = os.path.join(build, "dlcc")
config.substitutions += [
    # The module after the passes in the argument, checked after each.
    ("%passes", dlcc + " --verify-each --emit=loop -o - --passes"),
    # Read and printed; a second time gives the same bytes.
    ("%print", dlcc + " --emit=ir --passes= -o -"),
    ("%dlcc", dlcc),
]
