/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets code of others see a CPU of level x86-64-v3: AVX2 and no more.
 *
 * To be preloaded.  Where masked.py put an undefined instruction in the place
 * of `cpuid`, this answers what the CPU does, less what the level lacks.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

/* "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2,
 * CPUID: in EBX of leaf 7 AVX512F, DQ, IFMA, PF, ER, CD, BW and VL.  ECX and
 * EDX of the leaf and its further parts, where VNNI, BF16, AMX and AVX10 are,
 * hold nothing of the level. */
#define EBX_AVX512 \
	(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | \
	 1u << 30 | 1u << 31)

static const unsigned char ud2[] = { 0x0f, 0x0b };

static void cpuid_answer(int signal_number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned leaf = (unsigned)r[REG_RAX], a, b, c, d;

	(void)info;
	if (memcmp((const void *)r[REG_RIP], ud2, sizeof(ud2)) != 0) {
		/* It is met again, and ends the process. */
		signal(signal_number, SIG_DFL);
		return;
	}
	__cpuid_count(leaf, (unsigned)r[REG_RCX], a, b, c, d);
	if (leaf == 7) {
		b = r[REG_RCX] ? 0 : b & ~EBX_AVX512;
		a = c = d = 0;
	}
	r[REG_RAX] = a;
	r[REG_RBX] = b;
	r[REG_RCX] = c;
	r[REG_RDX] = d;
	r[REG_RIP] += sizeof(ud2);
}

__attribute__((constructor)) static void cpuid_catch(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = cpuid_answer;
	sigaction(SIGILL, &action, NULL);
}
