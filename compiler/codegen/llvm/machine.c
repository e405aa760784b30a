/* SPDX-License-Identifier: Apache-2.0 */
/* The target as the user spells it, resolved by LLVM's tables. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include "codegen/codegen.h"
#include "ir/target.h"

const char *codegen_llvm_version(void)
{
	return LLVM_VERSION_STRING;
}

/*
 * The C API does not tell a CPU's features.  What matters are a handful, so
 * they are derived: from the host when the CPU is "native", from the level
 * names, else from LLVM's own answer to "which features does this CPU imply",
 * which is the code it makes (see has_feature()).
 */
struct cpu_info {
	const char *cpu, *features;
	LLVMTargetRef target;
	const char *triple;
};

static const char *const v2[] = { "sse4.2", "popcnt", NULL };
static const char *const v3[] = { "sse4.2", "popcnt", "avx2", "fma", "bmi2",
				  "f16c", NULL };
static const char *const v4[] = { "sse4.2",   "popcnt",	  "avx2",     "fma",
				  "bmi2",     "f16c",	  "avx512f",  "avx512bw",
				  "avx512dq", "avx512vl", NULL };

static bool listed(const char *const *list, const char *f)
{
	for (; list && *list; list++)
		if (!strcmp(*list, f))
			return true;
	return false;
}

/* Level that a CPU name stands for; by the family names that clang knows. */
static const char *const *cpu_level(const char *cpu)
{
	static const struct {
		const char *prefix;
		const char *const *has;
	} row[] = {
		{ "x86-64-v4", v4 },	{ "x86-64-v3", v3 },
		{ "x86-64-v2", v2 },	{ "skylake-avx512", v4 },
		{ "cascadelake", v4 },	{ "cooperlake", v4 },
		{ "icelake", v4 },	{ "sapphirerapids", v4 },
		{ "emeraldrapids", v4 }, { "graniterapids", v4 },
		{ "tigerlake", v4 },	{ "rocketlake", v4 },
		{ "znver4", v4 },	{ "znver5", v4 },
		{ "haswell", v3 },	{ "broadwell", v3 },
		{ "skylake", v3 },	{ "alderlake", v3 },
		{ "znver", v3 },	{ "nehalem", v2 },
		{ "westmere", v2 },	{ "sandybridge", v2 },
		{ "ivybridge", v2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		if (!strncmp(cpu, row[i].prefix, strlen(row[i].prefix)))
			return row[i].has;
	return NULL;
}

/* Does LLVM turn b on with a, and a off with b?  Of the features that are
 * asked for. */
static bool implies(const char *a, size_t na, const char *b, size_t nb)
{
	static const char *const row[][2] = {
		{ "avx512bw", "avx512f" }, { "avx512dq", "avx512f" },
		{ "avx512vl", "avx512f" }, { "avx512f", "avx2" },
		{ "avx512f", "fma" },	   { "avx512f", "f16c" },
		{ "avx2", "avx" },	   { "fma", "avx" },
		{ "f16c", "avx" },	   { "avx", "sse4.2" },
		{ "sse4.2", "sse4.1" },	   { "sse4.1", "ssse3" },
		{ "ssse3", "sse3" },	   { "sse3", "sse2" },
	};

	if (na == nb && !memcmp(a, b, na))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		if (strlen(row[i][0]) == na && !memcmp(row[i][0], a, na) &&
		    implies(row[i][1], strlen(row[i][1]), b, nb))
			return true;
	return false;
}

/* The last mention of a feature that bears on f in the list decides. */
static bool has_feature(void *arg, const char *f)
{
	const struct cpu_info *i = arg;
	bool has = listed(cpu_level(i->cpu), f);
	size_t n = strlen(f);

	for (const char *p = i->features; p && *p;) {
		size_t len = strcspn(p, ",");

		if (*p == '+' && implies(p + 1, len - 1, f, n))
			has = true;
		if (*p == '-' && implies(f, n, p + 1, len - 1))
			has = false;
		p += len + (p[len] == ',');
	}
	return has;
}

/*
 * LLVM's C API has no list of CPUs and features; it warns on stderr about a
 * name that it does not know, and makes something else.  So ask it for a
 * machine with stderr turned into a file; what it says there is wrong usage.
 */
static bool known_to_llvm(const struct cpu_info *i, char *said, size_t size)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n = 0;

	fflush(stderr);
	if (f && saved >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0) {
		LLVMTargetMachineRef m = LLVMCreateTargetMachine(
			i->target, i->triple, i->cpu, i->features,
			LLVMCodeGenLevelDefault, LLVMRelocPIC,
			LLVMCodeModelDefault);

		dup2(saved, STDERR_FILENO);
		if (m)
			LLVMDisposeTargetMachine(m);
		rewind(f);
		n = fread(said, 1, size - 1, f);
	}
	said[n] = 0;
	said[strcspn(said, "\n(")] = 0;
	if (f)
		fclose(f);
	if (saved >= 0)
		close(saved);
	return !n;
}

/*
 * LLVM fails on code for a part of AVX-512: on vectors of 256 bits without VL,
 * on those of 512 with "+avx512f" beside a CPU that lacks it, which is AVX-512
 * without its wide registers.  So it is all on or all off.
 */
static const char *settle_avx512(struct ctx *c, const struct cpu_info *i,
				 const struct target *t)
{
	const char *const *level = cpu_level(i->cpu);
	bool asked = strstr(i->features, "+avx512");

	if (strcmp(t->arch, "x86_64") != 0 ||
	    (!asked && (level == v3 || level == v2 || !strcmp(i->cpu, "x86-64"))))
		return i->features;
	if (t->isa->vector_bits < 512)
		return arena_fmt(&c->perm, "%s%s-avx512f", i->features,
				 *i->features ? "," : "");
	if (level == v4 || strstr(i->features, "evex512"))
		return i->features;
	return arena_fmt(&c->perm, "%s,+evex512", i->features);
}

const struct target *codegen_target(struct ctx *c, const char *triple,
				    const char *cpu, const char *features)
{
	struct cpu_info i = { 0 };
	char *host = NULL, *host_cpu = NULL, *host_feat = NULL, *err = NULL;
	char *norm;

	LLVMInitializeAllTargetInfos();
	LLVMInitializeAllTargets();
	LLVMInitializeAllTargetMCs();
	LLVMInitializeAllAsmPrinters();
	LLVMInitializeAllAsmParsers();
	if (!triple)
		triple = host = LLVMGetDefaultTargetTriple();
	norm = LLVMNormalizeTargetTriple(triple);
	if (LLVMGetTargetFromTriple(norm, &i.target, &err)) {
		diag_error(&c->diag, EXIT_USAGE, NULL,
			   "--target=%s: LLVM knows no such machine", triple);
		LLVMDisposeMessage(err);
		return NULL;
	}
	i.triple = norm;
	i.features = features ? features : "";
	i.cpu = cpu ? cpu : "";
	if (cpu && !strcmp(cpu, "native")) {
		i.cpu = host_cpu = LLVMGetHostCPUName();
		host_feat = LLVMGetHostCPUFeatures();
		i.features = *i.features
				     ? arena_fmt(&c->temp, "%s,%s", host_feat,
						 i.features)
				     : host_feat;
	} else if (!cpu && !strncmp(norm, "x86_64", 6)) {
		i.cpu = "x86-64";
	} else if (!cpu) {
		i.cpu = "generic";
	}
	const struct target *t = NULL;
	char said[256];


	if (!known_to_llvm(&i, said, sizeof(said))) {
		diag_error(&c->diag, EXIT_USAGE, NULL, "LLVM: %s", said);
	} else {
		t = target_new(c, norm, i.cpu, i.features, has_feature, &i);
		i.features = settle_avx512(c, &i, t);
		t = target_new(c, norm, i.cpu, i.features, has_feature, &i);
	}
	LLVMDisposeMessage(norm);
	if (host)
		LLVMDisposeMessage(host);
	if (host_cpu)
		LLVMDisposeMessage(host_cpu);
	if (host_feat)
		LLVMDisposeMessage(host_feat);
	return t;
}
