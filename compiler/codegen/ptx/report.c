/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each kernel takes of a GPU, as text: a row for each kernel and
 * architecture.  Registers, spills and static shared memory are ptxas's own
 * numbers, from NVRTC's log.
 */
#include <stdlib.h>
#include <string.h>

#include "codegen/ptx/kernels.h"
#include "codegen/ptx/report.h"

enum {
	NODES = 3,		/* that are named */
	GRIDS = 2,		/* the same, of sizes that symbols have */
	WARP = 32,
	REGISTERS = 65536,	/* of a multiprocessor */
	REGISTER_UNIT = 256,	/* what a warp gets of them */
	SHARED_UNIT = 128,
	SHARED_SYSTEM = 1024,	/* that each block takes besides, from sm_80 */
};

/* The number before `what`, in a text that ends at `end`; `none` without. */
static unsigned before(const char *text, const char *end, const char *what,
		       unsigned none)
{
	const char *p = strstr(text, what);

	if (!p || p >= end)
		return none;
	const char *q = p;

	while (q > text && q[-1] >= '0' && q[-1] <= '9')
		q--;
	return q < p ? (unsigned)strtoul(q, NULL, 10) : none;
}

void report_read(struct report *r, const struct gpu *gpu, const char *log)
{
	static const char head[] = "Compiling entry function 'k";
	const char *p = strstr(log, head), *next;

	for (; p; p = next) {
		p += sizeof(head) - 1;
		next = strstr(p, head);
		const char *end = next ? next : p + strlen(p);

		vec_push(r, ((struct usage){
			.gpu = gpu,
			.kernel = (unsigned)strtoul(p, NULL, 10),
			.registers = before(p, end, " registers", 0),
			.stack = before(p, end, " bytes stack frame", 0),
			.spill = before(p, end, " bytes spill stores", 0) +
				 before(p, end, " bytes spill loads", 0),
			.shared = before(p, end, " bytes smem", 0),
		}));
	}
}

static unsigned up(unsigned n, unsigned unit)
{
	return (n + unit - 1) / unit * unit;
}

static unsigned at_most(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned report_resident(const struct usage *u, const struct gpu_kernel *k)
{
	const struct gpu *g = u->gpu;
	unsigned warps = (k->threads + WARP - 1) / WARP, n = g->sm_blocks;
	unsigned shared = up(u->shared + k->shared_bytes +
				     (g->arch >= 80 ? SHARED_SYSTEM : 0),
			     SHARED_UNIT);
	unsigned registers = warps * up(u->registers * WARP, REGISTER_UNIT);

	n = at_most(n, g->sm_threads / (warps * WARP));
	if (registers)
		n = at_most(n, REGISTERS / registers);
	if (shared)
		n = at_most(n, (g->sm_kib << 10) / shared);
	return n;
}

/* ---- rows ----------------------------------------------------------- */

static bool has_row(const struct gpu_launch *l, const struct gpu_rows *r,
		    unsigned row)
{
	return r->row == row || (l->n_map && r->boxes == row);
}

static bool launches(const struct gpu_launch *l, unsigned row)
{
	return has_row(l, &l->wide, row) ||
	       (l->bound && has_row(l, &l->narrow, row));
}

/* Those that copy boxes stay, one for each multiprocessor. */
static const struct expr *blocks(struct ctx *c, const struct gpu_launch *l,
				 const struct gpu_kernel *k,
				 const struct gpu *gpu)
{
	const struct expr *n;

	if (!k->points)
		return expr_const(c, 1);
	n = expr_ceildiv(c, l->points, expr_const(c, k->points));
	return k->n_box ? expr_min(c, n, expr_const(c, gpu->n_sm)) : n;
}

/* The blocks of all launches: from the least to the most; what depends on
 * symbols as it is. */
static void put_grid(FILE *f, struct ctx *c, const struct cuda_kernels *all,
		     const struct usage *u)
{
	const struct gpu_kernel *kernel = &all->kernel.v[u->kernel].row;
	const struct expr *seen[GRIDS + 1], *when[GRIDS + 1];
	int64_t least = INT64_MAX, most = 0, n;
	unsigned n_seen = 0;

	for (size_t i = 0; i < all->launch.n; i++) {
		const struct gpu_launch *l = &all->launch.v[i];
		const struct expr *e;
		unsigned k = 0;

		if (!launches(l, u->kernel))
			continue;
		e = blocks(c, l, kernel, u->gpu);
		if (!l->when && expr_is_const(e, &n)) {
			least = n < least ? n : least;
			most = n > most ? n : most;
			continue;
		}
		while (k < n_seen && (seen[k] != e || when[k] != l->when))
			k++;
		if (k < n_seen || n_seen > GRIDS)
			continue;
		seen[n_seen] = e;
		when[n_seen++] = l->when;
	}
	if (least < most)
		fprintf(f, "%lld..%lld", (long long)least, (long long)most);
	else if (least == most)
		fprintf(f, "%lld", (long long)most);
	for (unsigned k = 0; k < n_seen; k++) {
		fprintf(f, "%s%s", k || least <= most ? ", " : "",
			k < GRIDS ? expr_str(c, seen[k]) : "...");
		if (k < GRIDS && when[k])
			fprintf(f, " where %s >= 0", expr_str(c, when[k]));
	}
}

static void put_nodes(FILE *f, const struct cuda_kernel *k)
{
	size_t n = k->nodes.n < NODES ? k->nodes.n : NODES;

	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : "; ", f);
		cuda_put_node(f, k->nodes.v[i]);
	}
	if (n < k->nodes.n)
		fprintf(f, " and %zu more", k->nodes.n - n);
}

static int by_kernel(const void *a, const void *b)
{
	const struct usage *x = a, *y = b;

	if (x->kernel != y->kernel)
		return x->kernel < y->kernel ? -1 : 1;
	return x->gpu < y->gpu ? -1 : x->gpu > y->gpu;
}

static void put_row(FILE *f, struct ctx *c, const struct cuda_kernels *all,
		    const struct usage *u)
{
	const struct cuda_kernel *k = &all->kernel.v[u->kernel];
	unsigned n = 0;

	for (size_t i = 0; i < all->launch.n; i++)
		n += launches(&all->launch.v[i], u->kernel);
	fprintf(f, "%-6s %-7s %5s %5u %6u %6u %7u %6u %6u %8u  ",
		k->row.name, u->gpu->name, k->wide ? "64" : "32", u->registers,
		u->spill, u->stack, u->shared + k->row.shared_bytes,
		k->row.threads, report_resident(u, &k->row), n);
	put_grid(f, c, all, u);
	put_nodes(f, k);
	fputc('\n', f);
}

char *report_text(struct report *r, struct ctx *c,
		  const struct cuda_kernels *all)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		fatal(EXIT_LIMIT, "out of memory");
	if (r->n)
		qsort(r->v, r->n, sizeof(*r->v), by_kernel);
	fputs("kernel arch    index  regs  spill  stack  shared  block per SM "
	      "launches  grid; nodes\n", f);
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].kernel < all->kernel.n)
			put_row(f, c, all, &r->v[i]);
	fclose(f);
	return text;
}
