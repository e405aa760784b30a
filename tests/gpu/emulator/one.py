# SPDX-License-Identifier: Apache-2.0
"""A kernel of one instruction over arrays, as PTX text."""
import ctypes

import numpy as np

HEAD = b".version 8.0\n.target sm_90\n.address_size 64\n"
REG = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}


def kernel(op, out, ins, tail=""):
    """Element i of each input in registers, the result to element i."""
    ld = "\n".join(
        f"\tmul.wide.u32 %o, %i, {t.itemsize};\n"
        f"\tld.param.u64 %p, [in{k}];\n\tadd.u64 %p, %p, %o;\n"
        f"\tld.global.{'u8' if t.itemsize == 1 else REG[t.itemsize]} "
        f"%a{k}, [%p];" for k, t in enumerate(ins))
    regs = "\n".join(f"\t.reg .{REG[t.itemsize]} %a{k};"
                     for k, t in enumerate(ins))
    params = ", ".join(f".param .u64 in{k}" for k in range(len(ins)))
    args = ", ".join(["%d"] + [f"%a{k}" for k in range(len(ins))])
    size = "u8" if out.itemsize == 1 else REG[out.itemsize]
    if "{d}" in op:
        body = op.format(d="%d", a="%a0", b="%a1", c="%a2")
    else:
        body = f"\t{op} {args}{tail};"
    return HEAD + f""".visible .entry k({params}, .param .u64 out,
	.param .u32 n)
{{
	.reg .pred %q, %p1;
	.reg .b32 %i, %t, %n, %t1;
	.reg .b64 %o, %p;
{regs}
	.reg .{REG[out.itemsize]} %d;
	mov.u32 %i, %ctaid.x;
	mov.u32 %n, %ntid.x;
	mov.u32 %t, %tid.x;
	mad.lo.u32 %i, %i, %n, %t;
	ld.param.u32 %n, [n];
	setp.ge.u32 %q, %i, %n;
	@%q bra END;
{ld}
{body}
	mul.wide.u32 %o, %i, {out.itemsize};
	ld.param.u64 %p, [out];
	add.u64 %p, %p, %o;
	st.global.{size} [%p], %d;
END:
	ret;
}}
""".encode()


def run(env, op, out, *ins, tail=""):
    out = np.dtype(out)
    ins = [np.ascontiguousarray(a) for a in ins]
    mod = env.driver.load(kernel(op, out, [a.dtype for a in ins], tail))
    n = len(ins[0])
    result = np.zeros(n, out)
    env.driver.launch(env.driver.function(mod, "k"), ((n + 127) // 128,),
                      (128,), [*ins, result, ctypes.c_uint(n)])
    env.driver.unload(mod)
    return result
