/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The features of x86 CPUs: which of the levels x86-64-v2 to v4 has each, what
 * it builds on, and the bit of CPUID that tells it.
 */
#ifndef CODEGEN_LLVM_X86_H
#define CODEGEN_LLVM_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { X86_LEVELS = 4, X86_NO_LEVEL = 9 };
enum x86_reg { X86_EAX, X86_EBX, X86_ECX, X86_EDX };

struct x86_feature {
	const char *name;	/* as LLVM spells it */
	const char *builds_on;	/* names with spaces between, or "" */
	unsigned level;		/* the first that has it, or X86_NO_LEVEL */
	uint32_t leaf, subleaf;
	enum x86_reg reg;
	unsigned bit;
};

extern const struct x86_feature x86_features[];
extern const size_t x86_n_features;

/* NULL for a name that has no row. */
const struct x86_feature *x86_find(const char *name, size_t len);
/*
 * Is a feature in effect on a level with "+a,-b" changes?  As in LLVM, one that
 * is added brings along what it builds on, one that is dropped takes along
 * what builds on it, and the last mention decides.
 */
bool x86_in_effect(unsigned level, const char *changes, const char *name);
/* The highest level all of whose features are in effect. */
unsigned x86_level(unsigned level, const char *changes);
/* Of a CPU that LLVM knows by name; 1 when it has no row. */
unsigned x86_cpu_level(const char *cpu);
/* What it has beyond its level, as far as we use that: "+a,+b" or "". */
const char *x86_cpu_features(const char *cpu);

#endif
