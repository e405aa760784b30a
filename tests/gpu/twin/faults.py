# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the text of kernels that the twin finds by itself."""
import re


def change(pattern, by, which=None):
    """Of the text; `which`: the one that counts, in their order."""
    def edit(text):
        n = -1

        def one(m):
            nonlocal n
            n += 1
            return by if which in (None, n) else m.group()
        new = re.sub(pattern, by if which is None else one, text)
        if new == text:
            raise RuntimeError(f"/{pattern}/ is not in the text")
        return new
    return edit


BARRIER = r"\bdl_barrier\(\);"

# By model: what is wrong, the change, and what is said, if not "".
FAULTS = {
    "softmax": [
        ("no barrier before the parts are read", change(BARRIER, ";", 1), ""),
        ("an early exit", change(r"\{\n\tDL_ALIGNED",
                                 "{ if (dl_thread() == 5) return;\n\t"
                                 "DL_ALIGNED"),
         "has exited"),
        ("half of a block at a barrier",
         change(BARRIER, "if (dl_thread() < 32) dl_barrier();", 0),
         "twin: kernel .*(deadlock|exit|while)"),
        ("lanes that shuffle by other distances",
         change(r"dl_shuffle_xor\(v(\d+), d\)",
                r"dl_shuffle_xor(v\1, dl_thread() == 3 ? 1 : d)"),
         "lanes shuffle by"),
    ],
    "gemm_f32": [
        ("no barrier before the product", change(BARRIER, ";", 0), ""),
        ("no barrier behind the product", change(BARRIER, ";", 1), ""),
    ],
    "gemm_f16_staged": [
        ("a wait one group short",
         change(r"dl_copy_wait<1>", "dl_copy_wait<2>"), ""),
        ("no barrier behind the wait", change(BARRIER, ";", 0), ""),
        ("stages swizzled wrong", change(r"/ 8 \^ row % 8", "/ 8 ^ row % 4",
                                         0), ""),
        ("fragments swizzled wrong",
         change(r"\(chunk \^ row % 8\)", "(chunk ^ row % 8 / 2)"), ""),
        ("half a warp loads fragments",
         change(r"dl_fragment_b_swizzled\(b", "if (dl_thread() % 32 < 16) "
                "dl_fragment_b_swizzled(b"),
         "is at ldmatrix"),
    ],
    "hopper_bf16": [
        ("a stage is released before its products",
         change(r"\tdl_wgmma_wait<1>\(\);", "\tdl_wgmma_wait<2>();"), ""),
        ("a wait for wgmma one group short",
         change(r"\tdl_wgmma_wait<0>\(\);", "\tdl_wgmma_wait<1>();"), ""),
        ("stages are never released",
         change(r"\tdl_phases_arrive\(empty \+ last, .*", "\t;"), "deadlock"),
        ("the last stage is not released",
         change(r"dl_phases_arrive\(empty \+ last, lane == 0\);", ""),
         "deadlock"),
        ("a phase that never was", change(r"stage, phase ^ 1\)".replace(
            "^", r"\^"), "stage, phase)"), "deadlock"),
        ("the phase before", change(r"full \+ stage, phase\)",
                                    "full + stage, phase ^ 1)"), ""),
        ("fewer bytes than come", change(r"full \+ stage, 16384\)",
                                         "full + stage, 8192)"), ""),
        ("one factor in another stage",
         change(r"all_b \+ stage \* 4096, map", "all_b + (stage + 1) % 8 * "
                "4096, map"), ""),
        ("another k", change(r"\(int\)k0, \(int\)\(i0", "(int)k0 + 8, "
                             "(int)(i0"), ""),
        ("one barrier is not initialised",
         change(r"dl_phases_init\(empty \+ i, warps\);",
                "if (i) dl_phases_init(empty + i, warps);"),
         "not initialised"),
        ("barriers are not fenced", change(r"\tdl_phases_fence\(\);", "\t;"),
         "without a fence"),
        ("no commit of wgmma", change(r"\tdl_wgmma_commit\(\);", "\t;"), ""),
        ("no fence of registers", change(r"\tdl_wgmma_fence\(\);", "\t;"),
         "without a fence"),
        ("descriptors of another stride", change(r"64ull << 32",
                                                 "32ull << 32"), ""),
    ],
    "hopper_copies": [
        ("a wait one group short",
         change(r"dl_copy_wait<1>", "dl_copy_wait<2>"), ""),
        ("no wait for wgmma", change(r"\tdl_wgmma_wait<0>\(\);", "\t;"), ""),
        ("no commit of wgmma", change(r"\tdl_wgmma_commit\(\);", "\t;"), ""),
        ("no fence of registers", change(r"\tdl_wgmma_fence\(\);", "\t;"),
         "without a fence"),
        ("no proxy fence", change(r"\tdl_proxy_fence\(\);", "\t;"),
         "no proxy fence"),
        ("stages swizzled wrong", change(r"/ 8 \^ row % 8", "/ 8 ^ row % 4"),
         ""),
        ("descriptors of another stride", change(r"64ull << 32",
                                                 "32ull << 32"), ""),
        ("descriptors without a swizzle", change(r"1ull << 62", "0ull"),
         "not swizzled"),
    ],
}


def of(name):
    return FAULTS.get(name, [])
