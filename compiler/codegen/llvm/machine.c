/* SPDX-License-Identifier: Apache-2.0 */
/* The target as the user spells it, resolved by LLVM's tables. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include "codegen/codegen.h"
#include "codegen/llvm/x86.h"
#include "ir/target.h"

const char *codegen_llvm_version(void)
{
	return LLVM_VERSION_STRING;
}

/* A request, and what is asked of LLVM. */
struct cpu_info {
	const char *cpu, *features;
	LLVMTargetRef target;
	const char *triple;
	bool served;			/* its addresses and bytes, see below */
};

/* "a,b", where one of them may be empty. */
static const char *join(struct ctx *c, const char *a, const char *b)
{
	return arena_fmt(&c->perm, "%s%s%s", a, *a && *b ? "," : "", b);
}

/* Of 32 bits, the profile of applications: the others have suffixes. */
static bool is_armv7a(const char *triple)
{
	static const char *const name[] = { "armv7", "armv7a", "armv7l",
					    "armv7hl" };
	size_t n = strcspn(triple, "-");

	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		if (n == strlen(name[i]) && !strncmp(triple, name[i], n))
			return true;
	return false;
}

/*
 * The C API does not tell a CPU's features.  On x86 they follow from the level
 * that its name stands for, or are those of the host when it is "native", with
 * the user's changes; elsewhere only the changes are known.
 */
static bool x86_has(void *arg, const char *f)
{
	const struct cpu_info *i = arg;

	return x86_in_effect(x86_cpu_level(i->cpu), i->features, f);
}

static bool other_has(void *arg, const char *f)
{
	const struct cpu_info *i = arg;
	bool has = false;

	for (const char *p = i->features; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");

		if (n == strlen(f) + 1 && !memcmp(p + 1, f, n - 1))
			has = *p == '+';
		p += n;
	}
	return has;
}

/* Constants are written as bytes with the lowest first, and sizes are those of
 * 32 or 64 bits. */
static bool is_served(LLVMTargetMachineRef m)
{
	LLVMTargetDataRef dl = LLVMCreateTargetDataLayout(m);
	bool is = LLVMPointerSize(dl) >= 4 &&
		  LLVMByteOrder(dl) == LLVMLittleEndian;

	LLVMDisposeTargetData(dl);
	return is;
}

/*
 * LLVM's C API has no list of CPUs and features; it warns on stderr about a
 * name that it does not know, and makes something else.  So ask it for a
 * machine with stderr turned into a file; what it says there is wrong usage.
 */
static bool known_to_llvm(struct cpu_info *i, char *said, size_t size)
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
		i->served = m && is_served(m);
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

/* The object asks the CPU for what it needs, where it knows how. */
static void warn_unchecked(struct ctx *c, const char *changes)
{
	for (const char *p = changes; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");

		if (*p == '+' && !x86_find(p + 1, n - 1))
			diag_warn(&c->diag, NULL, "-mattr=%.*s: the object "
				  "will not check that the CPU has it",
				  (int)n, p);
		p += n;
	}
}

/*
 * What LLVM may use on x86 is what the object asks the CPU for when it is
 * called: a level, what the row of target data counts on beside it, and what
 * the user added.  More of what this machine or the named CPU has would be
 * asked of every other machine, too, and goes unused; the CPU's name is kept
 * for the order of instructions.
 *
 * LLVM fails on code for a part of AVX-512: on vectors of 256 bits without VL,
 * on those of 512 with "+avx512f" beside a CPU that lacks it, which is AVX-512
 * without its wide registers.  So it is all on or all off.
 */
static void settle_x86(struct ctx *c, const struct cpu_info *i,
		       const char *changes, struct target *t)
{
	const struct isa *isa = t->isa;
	unsigned level = x86_level(x86_cpu_level(i->cpu), i->features);

	for (int k = 0; k < MAX_FEATURES && isa->feature[k]; k++)
		if (!x86_in_effect(level, changes, isa->feature[k]))
			changes = join(c, changes,
				       arena_fmt(&c->temp, "+%s",
						 isa->feature[k]));
	if (isa->vector_bits < 512 && strstr(changes, "+avx512"))
		changes = join(c, changes, "-avx512f");
	else if (isa->vector_bits == 512 && level < 4)
		changes = join(c, changes, "+evex512");
	t->x86_level = level;
	t->tune = t->cpu;
	t->cpu = level > 1 ? arena_fmt(&c->perm, "x86-64-v%u", level)
			   : "x86-64";
	t->features = changes;
}

static bool is_gpu(const char *triple)
{
	return triple && !strncmp(triple, "nvptx64", 7);
}

static bool settle_gpus(struct ctx *c, struct target *t, const char *list)
{
	const char *unknown;

	if (target_set_gpus(t, list, &unknown))
		return true;
	diag_error(&c->diag, EXIT_USAGE, NULL,
		   "-march=%s: no GPU is named '%.*s'; sm_75, sm_80, sm_86, "
		   "sm_87, sm_89, sm_90, sm_90a, sm_100 and sm_120 are", list,
		   (int)strcspn(unknown, ","), unknown);
	return false;
}

/* What toolchains call arm-linux-gnueabihf has registers for floats; LLVM would
 * take it for the first ARM with Thumb. */
static const char *arm_with_version(struct ctx *c, const char *triple)
{
	size_t n = strlen(triple);

	if (strncmp(triple, "arm-", 4) || n < 2 ||
	    strcmp(triple + n - 2, "hf"))
		return triple;
	return arena_fmt(&c->perm, "armv7%s", triple + 3);
}

const struct target *codegen_target(struct ctx *c, const char *triple,
				    const char *cpu, const char *features,
				    const char *gpus)
{
	struct cpu_info i = { .served = true };
	char *host = NULL, *host_cpu = NULL, *host_feat = NULL, *err = NULL;
	char *norm;

	LLVMInitializeAllTargetInfos();
	LLVMInitializeAllTargets();
	LLVMInitializeAllTargetMCs();
	LLVMInitializeAllAsmPrinters();
	LLVMInitializeAllAsmParsers();
	bool gpu = is_gpu(triple);

	if (gpus && !gpu) {
		diag_error(&c->diag, EXIT_USAGE, NULL,
			   "-march=%s needs --target=nvptx64-nvidia-cuda; a "
			   "CPU is chosen by -mcpu", gpus);
		return NULL;
	}
	if (!triple || gpu)
		triple = host = LLVMGetDefaultTargetTriple();
	norm = LLVMNormalizeTargetTriple(arm_with_version(c, triple));
	if (LLVMGetTargetFromTriple(norm, &i.target, &err)) {
		diag_error(&c->diag, EXIT_USAGE, NULL,
			   "--target=%s: LLVM knows no such machine", triple);
		LLVMDisposeMessage(err);
		return NULL;
	}
	i.triple = norm;
	i.features = features ? features : "";
	i.cpu = cpu ? cpu : "";
	bool x86 = !strncmp(norm, "x86_64", 6);

	/* As good as all have it; "-neon" is for the others. */
	if (is_armv7a(norm))
		i.features = join(c, "+neon", i.features);

	if (cpu && !strcmp(cpu, "native")) {
		i.cpu = host_cpu = LLVMGetHostCPUName();
		host_feat = LLVMGetHostCPUFeatures();
		i.features = join(c, host_feat, i.features);
	} else if (!cpu) {
		i.cpu = x86 ? "x86-64" : "generic";
	} else if (x86) {
		i.features = join(c, x86_cpu_features(cpu), i.features);
	}
	struct target *t = NULL;
	char said[256];

	if (!known_to_llvm(&i, said, sizeof(said))) {
		diag_error(&c->diag, EXIT_USAGE, NULL, "LLVM: %s", said);
	} else if (!i.served) {
		diag_error(&c->diag, EXIT_USAGE, NULL,
			   "--target=%s: no little-endian machine of 32 or 64 "
			   "bits", triple);
	} else {
		t = target_new(c, norm, i.cpu, i.features,
			       x86 ? x86_has : other_has, &i);
		if (x86) {
			warn_unchecked(c, features ? features : "");
			settle_x86(c, &i, features ? features : "", t);
		}
		if (gpu && !settle_gpus(c, t, gpus ? gpus : "sm_80"))
			t = NULL;
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
