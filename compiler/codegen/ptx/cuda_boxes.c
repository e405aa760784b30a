/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern.tile on GPUs that copy boxes of tensors (sm_90a): one thread of a
 * warpgroup of its own starts the copies, to a ring of stages, and the other
 * warpgroups multiply 64 rows each by wgmma, with one group of products on its
 * way while the next one starts.  Two barriers for each stage say that it is
 * full, or empty again.  A block stays for many tiles, so that the copies for
 * the next one go on while the last one's results are stored.
 *
 * As in CUTLASS's persistent warp-specialized kernels for Hopper; the order of
 * tiles by groups of rows is that of Triton's tutorial on matrix products.
 */
#include "codegen/ptx/tile_code.h"

enum {
	GROUP = 128,		/* threads of a warpgroup */
	GROUP_ROWS = 64,
	RING_BYTES = 192 << 10,
	MAX_RING = 8,		/* stages */
	/* Of a thread, where all were given 168. */
	FEW_REGISTERS = 40, MANY_REGISTERS = 232,
};

/* The form of the tile that copies boxes; false where it has none. */
static bool describe(struct cu *k, struct op *op, struct tile_code *t,
		     struct tile_map *map)
{
	*t = tile_describe(k, op);
	if (!t->stages || t->fp32 || t->mr % GROUP_ROWS ||
	    t->mr > 2 * GROUP_ROWS || t->nr < GROUP_ROWS || t->nr > MAX_BOX ||
	    (t->nr & (t->nr - 1)))
		return false;
	t->stages = (unsigned)(RING_BYTES / ((t->mr + t->nr) * LINE));
	if (t->stages > MAX_RING)
		t->stages = MAX_RING;
	t->threads = (unsigned)(t->mr / GROUP_ROWS + 1) * GROUP;
	for (unsigned i = 0; i < 2; i++)
		if (!tile_map(t, i, &map[i]))
			return false;
	return true;
}

/* The kernel's tile, when there is nothing else to it. */
static struct op *only_tile(struct op *kernel)
{
	struct op *op = op_body(kernel)->first;

	return op && op->code == OP_kern_tile &&
	       (!op->next || op->next->code == OP_loop_yield)
		       ? op
		       : NULL;
}

unsigned cu_boxes(struct ctx *c, struct op *kernel, struct gpu_map *map)
{
	struct cu k = { .c = c, .kernel = kernel };
	struct op *op = only_tile(kernel);
	struct tile_map found[2];
	struct tile_code t;
	bool some = false;

	for (unsigned i = 0; i < MAX_GPUS && c->target->gpu[i]; i++)
		some |= c->target->gpu[i]->boxes;
	if (!some || !op || kernel_is_serial(kernel) ||
	    !describe(&k, op, &t, found))
		return 0;
	for (unsigned i = 0; i < 2; i++)
		map[i] = found[i].map;
	return 2;
}

unsigned cu_boxes_threads(struct cu *k)
{
	struct tile_map map[2];
	struct tile_code t;

	describe(k, only_tile(k->kernel), &t, map);
	k->shared_bytes = t.stages * (unsigned)(t.mr + t.nr) * LINE;
	return t.threads;
}

/* ---- text ----------------------------------------------------------- */

static void put_ring(struct tile_code *t)
{
	struct cu *k = t->k;

	tile_shared(t);
	cu_line(k, "DL_SHARED_ALIGNED(u64, full, %u);", t->stages + 1);
	cu_line(k, "DL_SHARED_ALIGNED(u64, empty, %u);", t->stages);
	cu_line(k, "int stage = 0, phase = 0;");
	cu_line(k, "dl_ring_init<%u>(full, empty, %u);", t->stages,
		t->threads / WARP - GROUP / WARP);
	cu_line(k, "dl_barrier();");
}

/* for (k0 ...) { */
static void open_sum(struct tile_code *t)
{
	struct cu *k = t->k;
	const struct atom *sum = expr_atom(t->op->region[0].block->iv[1]);

	cu_line(k, "for (%s k0 = 0; k0 < %s; k0 += %lld) {",
		k->wide ? "i64" : "int", cu_expr(k, t->op, sum->a),
		(long long)t->kr);
	k->depth++;
}

static void put_copy(struct tile_code *t, unsigned i,
		     const struct tile_map *map)
{
	struct cu *k = t->k;
	struct arena *temp = &k->c->temp;
	const char *name = tile_factor(i);
	/* A box has what is side by side in shared memory. */
	long long n = t->turned[i] ? (i ? t->nr : t->mr) / COLUMN : 1;

	for (long long j = 0; j < n; j++) {
		const char *at = "";

		for (unsigned d = 0; d < map->map.box.rank; d++)
			at = arena_fmt(temp, "%s, (int)%s", at, map->at[d] ?
				       cu_expr(k, t->op, expr_addc(
						k->c, map->at[d],
						d ? 0 : j * COLUMN)) : "k0");
		cu_line(k, "dl_copy_box(all_%s + stage * %lld%s, map_%s, "
			"full + stage%s);", name, tile_shared_elements(t, i),
			j ? arena_fmt(temp, " + %lld",
				      j * COLUMN * (long long)t->kr)
			  : "", name, at);
	}
}

static void put_producer(struct tile_code *t, const struct tile_map *map)
{
	struct cu *k = t->k;
	unsigned first = t->threads - GROUP;

	cu_line(k, "if (dl_thread() >= %u) {", first);
	k->depth++;
	if (t->mr > GROUP_ROWS)
		cu_line(k, "dl_registers_less<%d>();", FEW_REGISTERS);
	cu_line(k, "if (dl_thread() > %u)", first);
	cu_line(k, "\treturn;");
	cu_for_points(k);
	open_sum(t);
	cu_line(k, "dl_phases_wait(empty + stage, phase ^ 1);");
	cu_line(k, "dl_phases_expect(full + stage, %lld);",
		(long long)(t->mr + t->nr) * LINE);
	put_copy(t, 0, &map[0]);
	put_copy(t, 1, &map[1]);
	cu_line(k, "dl_ring_next<%u>(stage, phase);", t->stages);
	for (int n = 0; n < 2; n++) {
		k->depth--;
		cu_line(k, "}");
	}
	cu_line(k, "return;");
	k->depth--;
	cu_line(k, "}");
}

/*
 * Products of a step start while those of the one before may still be on their
 * way; when those are done their stage is empty.
 */
static void put_products(struct tile_code *t)
{
	struct cu *k = t->k;

	open_sum(t);
	cu_line(k, "dl_phases_wait(full + stage, phase);");
	cu_line(k, "dl_wgmma_fence();");
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < 4; k++)");
	cu_line(k, "\t%s(acc, %s(all_a + stage * %lld + dl_thread() / %d * "
		"%lld, k), %s(all_b + stage * %lld, k));", tile_wgmma_name(t),
		tile_descriptor_name(t, 0), tile_shared_elements(t, 0), GROUP,
		GROUP_ROWS * tile_row_elements(t, 0),
		tile_descriptor_name(t, 1), tile_shared_elements(t, 1));
	cu_line(k, "dl_wgmma_commit();");
	cu_line(k, "dl_wgmma_wait<1>();");
	cu_line(k, "dl_phases_arrive(empty + last, k0 && lane == 0);");
	cu_line(k, "last = stage;");
	cu_line(k, "dl_ring_next<%u>(stage, phase);", t->stages);
	k->depth--;
	cu_line(k, "}");
	cu_line(k, "dl_wgmma_wait<0>();");
	cu_line(k, "dl_wgmma_settle(acc, full + %u);", t->stages);
	cu_line(k, "dl_phases_arrive(empty + last, lane == 0);");
}

static void put_consumers(struct tile_code *t)
{
	struct cu *k = t->k;

	if (t->mr > GROUP_ROWS)
		cu_line(k, "dl_registers_more<%d>();", MANY_REGISTERS);
	cu_line(k, "const int lane = dl_thread() %% %d;", WARP);
	cu_for_points(k);
	cu_line(k, "%s acc[%lld][4] = {};", cu_type(t->sum),
		(long long)t->nr / 8);
	cu_line(k, "int last = 0;");
	put_products(t);
	tile_pairs(t);
	tile_places(t, 1, (unsigned)t->nr / 8, "dl_thread() / 32 * 16", "0",
		    "acc[c][e]");
	tile_result(t);
	k->depth--;
	cu_line(k, "}");
}

void cu_boxes_body(struct cu *k)
{
	struct tile_map map[2];
	struct tile_code t;

	describe(k, only_tile(k->kernel), &t, map);
	put_ring(&t);
	put_producer(&t, map);
	put_consumers(&t);
}
