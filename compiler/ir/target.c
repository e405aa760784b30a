/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of target data.  Tiles obey MR*NV + min(MR, NV) + 1 <= registers,
 * one less where products are added apart; the order comes from measurement.
 */
#include "ir/target.h"

#include <string.h>

#include "ir/ir.h"

static const struct isa isas[] = {
	{ .name = "avx512", .arch = "x86_64",
	  .feature = { "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2",
		       "fma", "f16c" },
	  .vector_bits = 512, .n_vregs = 32, .fma = true, .masked = true,
	  .f16c = true, .fold_broadcast = false,
	  .tile = { { 14, 2 }, { 12, 2 }, { 8, 3 }, { 6, 4 }, { 28, 1 } },
	  .unroll_k = 1, .prefetch_bytes = 8192, .prefetch_rows = 12,
	  .l1_bytes = 32768, .l2_bytes = 1048576,
	  .dram_bytes_cycle = 8 },
	{ .name = "avx2", .arch = "x86_64",
	  .feature = { "avx2", "fma", "f16c" },
	  .vector_bits = 256, .n_vregs = 16, .fma = true, .masked = false,
	  .f16c = true,
	  .tile = { { 6, 2 }, { 4, 3 }, { 5, 2 }, { 12, 1 } },
	  .unroll_k = 2, .prefetch_bytes = 1024, .prefetch_rows = 4,
	  .l1_bytes = 32768, .l2_bytes = 524288,
	  .dram_bytes_cycle = 6 },
	{ .name = "sse2", .arch = "x86_64",
	  .vector_bits = 128, .n_vregs = 16, .masked = false,
	  .tile = { { 6, 2 }, { 3, 3 }, { 12, 1 } },
	  .unroll_k = 1, .l1_bytes = 32768, .l2_bytes = 262144,
	  .dram_bytes_cycle = 4 },
	{ .name = "neon", .arch = "aarch64",
	  .vector_bits = 128, .n_vregs = 32, .fma = true, .masked = false,
	  .f16c = true,
	  .tile = { { 8, 3 }, { 6, 4 }, { 8, 2 }, { 16, 1 } },
	  .unroll_k = 1, .l1_bytes = 32768, .l2_bytes = 262144,
	  .dram_bytes_cycle = 4 },
	/* Fused multiply-adds would need VFPv4. */
	{ .name = "neon32", .arch = "armv7", .feature = { "neon" },
	  .vector_bits = 128, .n_vregs = 16, .masked = false, .flushes = true,
	  .aligned = true,
	  .tile = { { 6, 2 }, { 3, 3 }, { 12, 1 } },
	  .unroll_k = 1, .l1_bytes = 32768, .l2_bytes = 262144,
	  .dram_bytes_cycle = 2 },
	/* A block of threads is a vector of 128 lanes of f32. */
	{ .name = "gpu", .arch = "nvptx64", .vector_bits = 4096,
	  .n_vregs = 64, .fma = true, .masked = true, .f16c = true,
	  .tile = { { 8, 1 } }, .unroll_k = 1, .l1_bytes = 65536,
	  .l2_bytes = 33554432, .dram_bytes_cycle = 32 },
	/* Any other CPU that LLVM knows: no vectors assumed. */
	{ .name = "scalar", .arch = "", .vector_bits = 64,
	  .n_vregs = 16, .tile = { { 4, 2 } }, .unroll_k = 1,
	  .l1_bytes = 16384, .l2_bytes = 65536,
	  .dram_bytes_cycle = 2 },
};

/* Preferred first; in the end each adds exactly. */
static const struct dot dots[] = {
	{ "vpdpbusd", "x86_64", { "avx512vnni" }, 512, DOT_VPDPBUSD, 4, DT_U8,
	  DT_I8, .steps = 1 },
	{ "vpdpbusd", "x86_64", { "avxvnni" }, 256, DOT_VPDPBUSD, 4, DT_U8,
	  DT_I8, .steps = 1 },
	{ "pmaddubsw in chains, else pmaddwd", "x86_64", { "ssse3" }, 0,
	  DOT_PMADDUBSW, 4, DT_U8, DT_I8, .steps = 3, .saturates = true },
	{ "pmaddwd", "x86_64", { "sse2" }, 0, DOT_PMADDWD, 2, DT_I16, DT_I16,
	  .steps = 2 },
	{ "usmmla", "aarch64", { "i8mm" }, 0, DOT_USMMLA, 8, DT_U8, DT_I8,
	  .steps = 1, .pairs = true },
	{ "smmla", "aarch64", { "i8mm" }, 0, DOT_SMMLA, 8, DT_I8, DT_I8,
	  .steps = 1, .pairs = true },
	{ "sdot", "aarch64", { "dotprod" }, 0, DOT_SDOT, 4, DT_I8, DT_I8,
	  .steps = 1 },
	{ "smull", "aarch64", { NULL }, 0, DOT_SMULL, 4, DT_I8, DT_I8,
	  .steps = 3, .narrow = true },
	{ "vmull.s8", "armv7", { "neon" }, 0, DOT_SMULL, 4, DT_I8, DT_I8,
	  .steps = 3, .narrow = true },
	{ "mma.m16n8k32", "nvptx64", { NULL }, 0, DOT_MMA, 4, DT_I8, DT_I8,
	  .steps = 1 },
	{ "i32", "", { NULL }, 0, DOT_WIDE, 1, DT_I16, DT_I16, .steps = 2 },
};

/* As the makers' tables of the usual cards have it. */
static const struct gpu gpus[] = {
	{ "sm_75", 75, .n_sm = 40,
	  .sm_blocks = 16, .sm_threads = 1024, .sm_kib = 64,
	  .products = 64, .half_products = 512, .dram_bytes = 200 },
	{ "sm_80", 80, .n_sm = 108, .mma = true,
	  .sm_blocks = 32, .sm_threads = 2048, .sm_kib = 164,
	  .products = 64, .half_products = 1024, .dram_bytes = 1100 },
	{ "sm_86", 86, .n_sm = 84, .mma = true,
	  .sm_blocks = 16, .sm_threads = 1536, .sm_kib = 100,
	  .products = 128, .half_products = 256, .dram_bytes = 550 },
	{ "sm_87", 87, .n_sm = 16, .mma = true,
	  .sm_blocks = 16, .sm_threads = 1536, .sm_kib = 164,
	  .products = 128, .half_products = 256, .dram_bytes = 150 },
	{ "sm_89", 89, .n_sm = 128, .mma = true,
	  .sm_blocks = 24, .sm_threads = 1536, .sm_kib = 100,
	  .products = 128, .half_products = 256, .dram_bytes = 400 },
	{ "sm_90", 90, .n_sm = 132, .mma = true,
	  .sm_blocks = 32, .sm_threads = 2048, .sm_kib = 228,
	  .products = 128, .half_products = 1024, .dram_bytes = 2400 },
	{ "sm_90a", 90, .only = true, .n_sm = 132, .mma = true, .boxes = true,
	  .sm_blocks = 32, .sm_threads = 2048, .sm_kib = 228,
	  .products = 128, .half_products = 2048, .dram_bytes = 2400 },
	{ "sm_100", 100, .n_sm = 148, .mma = true,
	  .sm_blocks = 32, .sm_threads = 2048, .sm_kib = 228,
	  .products = 128, .half_products = 1024, .dram_bytes = 4300 },
	{ "sm_120", 120, .n_sm = 170, .mma = true,
	  .sm_blocks = 24, .sm_threads = 1536, .sm_kib = 100,
	  .products = 128, .half_products = 256, .dram_bytes = 750 },
};

static const struct gpu *find_gpu(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(gpus); i++)
		if (strlen(gpus[i].name) == n && !memcmp(gpus[i].name, name, n))
			return &gpus[i];
	return NULL;
}

bool target_set_gpus(struct target *t, const char *list, const char **unknown)
{
	unsigned n = 0;

	for (const char *p = list; *p; p += *p == ',') {
		size_t len = strcspn(p, ",");
		const struct gpu *g = find_gpu(p, len);
		unsigned at = n;

		*unknown = p;
		if (!g || n == MAX_GPUS)
			return false;
		for (; at && t->gpu[at - 1] > g; at--)
			t->gpu[at] = t->gpu[at - 1];
		t->gpu[at] = g;
		n++;
		p += len;
	}
	for (size_t i = 0; i < ARRAY_SIZE(isas); i++)
		if (!strcmp(isas[i].arch, "nvptx64"))
			t->isa = &isas[i];
	for (size_t i = 0; i < ARRAY_SIZE(dots); i++)
		if (!strcmp(dots[i].arch, "nvptx64"))
			t->dot[0] = &dots[i];
	for (size_t i = 1; i < ARRAY_SIZE(t->dot); i++)
		t->dot[i] = NULL;
	*unknown = "";
	return n > 0;
}

unsigned target_lanes(const struct target *t, unsigned bits)
{
	unsigned n = t->isa->vector_bits / bits;

	return n ? n : 1;
}

bool target_tile_fits(const struct target *t, unsigned bits, int64_t mr,
		      int64_t nr)
{
	int64_t lanes = target_lanes(t, bits);

	return mr > 0 && nr > 0 && nr % lanes == 0 && mr <= MAX_ROWS &&
	       nr / lanes <= MAX_VECS && mr * (nr / lanes) <= MAX_SUMS;
}

/* Registers for the sums, for the smaller operand and one of the other. */
static unsigned most_rows(const struct isa *isa, unsigned nv)
{
	unsigned best = 1;

	for (int i = 0; i < MAX_TILES && isa->tile[i].mr; i++)
		if (isa->tile[i].nv == nv)
			return isa->tile[i].mr;
	while ((best + 1) * nv + (best + 1 < nv ? best + 1 : nv) + 1 <=
	       isa->n_vregs)
		best++;
	return best;
}

/*
 * Two slots are a cycle: multiply-adds, loads, the chain of the sums (latency
 * 4), and the panel's vectors, which come from the second-level cache at half
 * the rate of the first.
 */
static int64_t step_cost(int64_t mr, int64_t nv)
{
	int64_t cost = mr * nv;

	if (cost < mr + nv)
		cost = mr + nv;
	if (cost < 5 * nv)
		cost = 5 * nv;
	return cost < 8 ? 8 : cost;
}

int64_t target_rows_cost(const struct target *t, int64_t rows, unsigned nv,
			 unsigned *mr)
{
	unsigned most = most_rows(t->isa, nv);
	int64_t best_cost = INT64_MAX;

	*mr = most;
	if (rows < 0)
		rows = 8 * (int64_t)most;
	for (unsigned k = most; k >= 1 && rows > 0; k--) {
		int64_t full = rows / k, rest = rows % k;
		int64_t cost = full * step_cost(k, nv) +
			       (rest ? step_cost(rest, nv) : 0);

		if (cost < best_cost) {
			best_cost = cost;
			*mr = k;
		}
	}
	return best_cost == INT64_MAX ? 0 : best_cost;
}

unsigned target_fewer_rows(const struct target *t, int64_t rows, unsigned nv,
			   unsigned more, unsigned mr)
{
	unsigned free = t->isa->n_vregs > more ? t->isa->n_vregs - more : 0;
	unsigned most = free / nv ? free / nv : 1;

	if (mr <= most)
		return mr;
	if (rows <= 0 || rows > 64 * (int64_t)most)
		return most;
	/* As even as can be. */
	int64_t tiles = (rows + most - 1) / most;

	return (unsigned)((rows + tiles - 1) / tiles);
}

/*
 * The first tile of a panel waits for it, unless the tile reads ahead; what the
 * hardware reads ahead during the others is little, since they read the same
 * panel again.  Narrow panels have fewer tiles: all rows in one is best.
 */
int64_t target_cold_cost(const struct target *t, int64_t rows, unsigned nv)
{
	const struct isa *isa = t->isa;
	unsigned mr;
	int64_t cost = target_rows_cost(t, rows, nv, &mr), first, wait;

	if (isa->prefetch_bytes && mr >= isa->prefetch_rows)
		return cost;
	first = step_cost(rows < 0 || rows > mr ? mr : rows, nv);
	wait = (int64_t)(nv * isa->vector_bits / 8 * 2 /
			 isa->dram_bytes_cycle) -
	       first - (cost - first) / 8;
	return wait > 0 ? cost + wait : cost;
}

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static void choose_dots(struct target *t, target_has_fn *has, void *arg)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dots) && n < ARRAY_SIZE(t->dot);
	     i++) {
		const struct dot *d = &dots[i];
		bool ok = starts(t->triple, d->arch) &&
			  (!d->vector_bits ||
			   t->isa->vector_bits == d->vector_bits);

		for (size_t k = 0; k < ARRAY_SIZE(d->feature); k++)
			ok = ok && (!d->feature[k] || has(arg, d->feature[k]));
		for (unsigned k = 0; k < n; k++)
			ok = ok && t->dot[k]->rows != d->rows;
		if (ok)
			t->dot[n++] = d;
	}
}

bool dot_pair_fits(int x, int y)
{
	int up = (x > 0 ? x : 0) + (y > 0 ? y : 0);
	int down = (x < 0 ? x : 0) + (y < 0 ? y : 0);

	return up * 255 <= INT16_MAX && down * 255 >= INT16_MIN;
}

const struct dot *target_dot(const struct target *t, enum dtype rows,
			     enum dtype panel)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->dot) && t->dot[i]; i++)
		if (t->dot[i]->rows == rows && t->dot[i]->panel == panel)
			return t->dot[i];
	return NULL;
}

struct target *target_new(struct ctx *c, const char *triple, const char *cpu,
			  const char *features, target_has_fn *has, void *arg)
{
	struct target *t = NEW(&c->perm, struct target);

	t->triple = ctx_intern(c, triple, strlen(triple));
	t->cpu = ctx_intern(c, cpu, strlen(cpu));
	t->features = ctx_intern(c, features, strlen(features));
	t->pic = true;
	for (size_t i = 0; i < ARRAY_SIZE(isas); i++) {
		const struct isa *isa = &isas[i];
		int k = 0;

		if (!starts(triple, isa->arch))
			continue;
		while (k < MAX_FEATURES && isa->feature[k] &&
		       has(arg, isa->feature[k]))
			k++;
		if (k < MAX_FEATURES && isa->feature[k])
			continue;
		t->isa = isa;
		break;
	}
	t->arch = t->isa->arch;
	choose_dots(t, has, arg);
	return t;
}
