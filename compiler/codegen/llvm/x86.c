/* SPDX-License-Identifier: Apache-2.0 */
/* The rows are from the x86-64 psABI, table 3.1, and Intel's manual, volume
 * 2A, CPUID. */
#include "codegen/llvm/x86.h"

#include <string.h>

#include "base/compiler.h"

#define LEAF1(name, on, level, reg, bit) \
	{ name, on, level, 1, 0, X86_##reg, bit }
#define LEAF7(name, on, level, reg, bit) \
	{ name, on, level, 7, 0, X86_##reg, bit }
#define LEAF7_1(name, on, level, reg, bit) \
	{ name, on, level, 7, 1, X86_##reg, bit }
#define EXTENDED(name, on, level, reg, bit) \
	{ name, on, level, 0x80000001, 0, X86_##reg, bit }
#define NONE X86_NO_LEVEL

/* In the order of the leaves: cpu.c asks for each once. */
const struct x86_feature x86_features[] = {
	LEAF1("sse3", "sse2", 2, ECX, 0),
	LEAF1("pclmul", "sse2", NONE, ECX, 1),
	LEAF1("ssse3", "sse3", 2, ECX, 9),
	LEAF1("fma", "avx", 3, ECX, 12),
	LEAF1("cx16", "", 2, ECX, 13),
	LEAF1("sse4.1", "ssse3", 2, ECX, 19),
	LEAF1("sse4.2", "sse4.1", 2, ECX, 20),
	LEAF1("movbe", "", 3, ECX, 22),
	LEAF1("popcnt", "", 2, ECX, 23),
	LEAF1("aes", "sse2", NONE, ECX, 25),
	LEAF1("avx", "sse4.2", 3, ECX, 28),
	LEAF1("f16c", "avx", 3, ECX, 29),
	EXTENDED("sahf", "", 2, ECX, 0),
	EXTENDED("lzcnt", "", 3, ECX, 5),
	LEAF7("bmi", "", 3, EBX, 3),
	LEAF7("avx2", "avx", 3, EBX, 5),
	LEAF7("bmi2", "", 3, EBX, 8),
	LEAF7("avx512f", "avx2 fma f16c", 4, EBX, 16),
	LEAF7("avx512dq", "avx512f", 4, EBX, 17),
	LEAF7("adx", "", NONE, EBX, 19),
	LEAF7("avx512ifma", "avx512f", NONE, EBX, 21),
	LEAF7("avx512cd", "avx512f", 4, EBX, 28),
	LEAF7("sha", "sse2", NONE, EBX, 29),
	LEAF7("avx512bw", "avx512f", 4, EBX, 30),
	LEAF7("avx512vl", "avx512f", 4, EBX, 31),
	LEAF7("avx512vbmi", "avx512bw", NONE, ECX, 1),
	LEAF7("avx512vbmi2", "avx512bw", NONE, ECX, 6),
	LEAF7("gfni", "sse2", NONE, ECX, 8),
	LEAF7("vaes", "aes avx2", NONE, ECX, 9),
	LEAF7("vpclmulqdq", "pclmul avx", NONE, ECX, 10),
	LEAF7("avx512vnni", "avx512f", NONE, ECX, 11),
	LEAF7("avx512bitalg", "avx512bw", NONE, ECX, 12),
	LEAF7("avx512vpopcntdq", "avx512f", NONE, ECX, 14),
	LEAF7("avx512fp16", "avx512bw avx512dq avx512vl", NONE, EDX, 23),
	LEAF7_1("avxvnni", "avx2", NONE, EAX, 4),
	LEAF7_1("avx512bf16", "avx512bw", NONE, EAX, 5),
	LEAF7_1("avxifma", "avx2", NONE, EAX, 23),
	LEAF7_1("avxvnniint8", "avx2", NONE, EDX, 4),
	LEAF7_1("avxneconvert", "avx2", NONE, EDX, 5),
	LEAF7_1("avxvnniint16", "avx2", NONE, EDX, 10),
};
const size_t x86_n_features = ARRAY_SIZE(x86_features);

const struct x86_feature *x86_find(const char *name, size_t len)
{
	for (size_t i = 0; i < x86_n_features; i++)
		if (strlen(x86_features[i].name) == len &&
		    !memcmp(x86_features[i].name, name, len))
			return &x86_features[i];
	return NULL;
}

static bool is(const char *a, size_t na, const char *b, size_t nb)
{
	return na == nb && !memcmp(a, b, na);
}

/* Is b the same as a, or what a builds on? */
static bool brings(const char *a, size_t na, const char *b, size_t nb)
{
	const struct x86_feature *f = x86_find(a, na);

	if (is(a, na, b, nb))
		return true;
	for (const char *p = f ? f->builds_on : ""; *p; p += *p == ' ') {
		size_t n = strcspn(p, " ");

		if (brings(p, n, b, nb))
			return true;
		p += n;
	}
	return false;
}

bool x86_in_effect(unsigned level, const char *changes, const char *name)
{
	size_t n = strlen(name);
	const struct x86_feature *f = x86_find(name, n);
	/* What has no row is part of every x86-64: sse2. */
	bool has = f ? f->level <= level : true;

	for (const char *p = changes; *p; p += *p == ',') {
		size_t len = strcspn(p, ",");

		if (*p == '+' && brings(p + 1, len - 1, name, n))
			has = true;
		if (*p == '-' && brings(name, n, p + 1, len - 1))
			has = false;
		p += len;
	}
	return has;
}

unsigned x86_level(unsigned level, const char *changes)
{
	unsigned best = X86_LEVELS;

	for (size_t i = 0; i < x86_n_features; i++)
		if (x86_features[i].level <= best &&
		    !x86_in_effect(level, changes, x86_features[i].name))
			best = x86_features[i].level - 1;
	return best;
}

/* By the family names that clang knows; the longest prefix comes first. */
static const struct {
	const char *prefix;
	unsigned level;
	const char *more;	/* features beyond the level that we use */
} families[] = {
	{ "x86-64-v4", 4, "" },
	{ "x86-64-v3", 3, "" },
	{ "x86-64-v2", 2, "" },
	{ "skylake-avx512", 4, "" },
	{ "cascadelake", 4, "+avx512vnni" },
	{ "cooperlake", 4, "+avx512vnni" },
	{ "cannonlake", 4, "" },
	{ "icelake", 4, "+avx512vnni" },
	{ "sapphirerapids", 4, "+avx512vnni" },
	{ "emeraldrapids", 4, "+avx512vnni" },
	{ "graniterapids", 4, "+avx512vnni" },
	{ "diamondrapids", 4, "+avx512vnni" },
	{ "tigerlake", 4, "+avx512vnni" },
	{ "rocketlake", 4, "+avx512vnni" },
	{ "znver4", 4, "+avx512vnni" },
	{ "znver5", 4, "+avx512vnni" },
	{ "haswell", 3, "" },
	{ "broadwell", 3, "" },
	{ "skylake", 3, "" },
	{ "alderlake", 3, "+avxvnni" },
	{ "raptorlake", 3, "+avxvnni" },
	{ "meteorlake", 3, "+avxvnni" },
	{ "arrowlake", 3, "+avxvnni" },
	{ "lunarlake", 3, "+avxvnni" },
	{ "pantherlake", 3, "+avxvnni" },
	{ "gracemont", 3, "+avxvnni" },
	{ "sierraforest", 3, "+avxvnni" },
	{ "grandridge", 3, "+avxvnni" },
	{ "clearwaterforest", 3, "+avxvnni" },
	{ "znver", 3, "" },
	{ "nehalem", 2, "" },
	{ "westmere", 2, "" },
	{ "sandybridge", 2, "" },
	{ "ivybridge", 2, "" },
	{ "silvermont", 2, "" },
	{ "goldmont", 2, "" },
	{ "tremont", 2, "" },
	{ "bdver", 2, "" },
	{ "btver2", 2, "" },
};

unsigned x86_cpu_level(const char *cpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (!strncmp(cpu, families[i].prefix,
			     strlen(families[i].prefix)))
			return families[i].level;
	return 1;
}

const char *x86_cpu_features(const char *cpu)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (!strncmp(cpu, families[i].prefix,
			     strlen(families[i].prefix)))
			return families[i].more;
	return "";
}
