/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of the loop level as CUDA C++ that a person can read.  Each begins
 * with the ONNX nodes that it computes.  The text of a kernel says nothing but
 * what it does: those that do the same are one.
 */
#include "codegen/ptx/cu.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/ptx/kernels.h"

enum {
	FLAT_THREADS = 128,	/* of a block whose threads have points */
	WARP = 32,
};

/* ---- text ----------------------------------------------------------- */

void cu_indent(struct cu *k)
{
	for (unsigned i = 0; i < k->depth; i++)
		fputc('\t', k->f);
}

void cu_line(struct cu *k, const char *fmt, ...)
{
	va_list ap;

	cu_indent(k);
	va_start(ap, fmt);
	vfprintf(k->f, fmt, ap);
	va_end(ap);
	fputc('\n', k->f);
}

unsigned cu_number(struct cu *k, const struct value *v)
{
	uintptr_t n = (uintptr_t)map_get(&k->vals, v->id);

	if (!n) {
		n = ++k->n_val;
		map_put(&k->vals, v->id, (void *)n);
	}
	return (unsigned)n - 1;
}

void cu_define(struct cu *k, const struct value *v)
{
	cu_indent(k);
	if (map_get(&k->arrays, v->id))
		fprintf(k->f, "v%u[v] = ", cu_number(k, v));
	else
		fprintf(k->f, "const %s v%u = ", cu_type(v->type->dtype),
			cu_number(k, v));
}

static union scalar const_value(const struct op *op)
{
	const struct attr *a = op_attr(op, A_value);
	enum dtype t = op->out[0].type->dtype;
	union scalar s = { 0 };

	if (dtype_is_float(t))
		s.d = a->kind == AT_INT ? (double)a->i : a->f;
	else
		s.i = a->kind == AT_INT ? a->i : (int64_t)a->f;
	return scalar_wrap(t, s);
}

const char *cu_val(struct cu *k, const struct value *v)
{
	const struct op *op = def_of(v, OP_arith_const);

	if (op)
		return cu_literal(k, v->type->dtype, const_value(op));
	if (!map_get(&k->vals, v->id))
		bug(&k->c->diag, "a kernel reads %%%u, which it has not made",
		    v->id);
	return arena_fmt(&k->c->temp,
			 map_get(&k->arrays, v->id) ? "v%u[v]" : "v%u",
			 cu_number(k, v));
}

/* ---- loads and stores ----------------------------------------------- */

static const char *buffer(struct cu *k, const struct value *buf)
{
	uintptr_t n = (uintptr_t)map_get(&k->bufs, buf->id);

	if (!n)
		bug(&k->c->diag, "no address for buffer %%%u", buf->id);
	return arena_fmt(&k->c->temp, "b%u", (unsigned)n - 1);
}

static const char *offset(struct cu *k, const struct op *op)
{
	return cu_expr(k, op, cu_offset(k, op));
}

/* "a >= 0 && b >= 0", or NULL without guards. */
static const char *guards(struct cu *k, const struct op *op)
{
	struct arena *temp = &k->c->temp;
	const char *all = NULL;
	size_t n;
	const struct expr *const *guard = op_exprs(op, A_guard, &n);

	for (size_t i = 0; i < n; i++) {
		const char *e = cu_expr(k, op, guard[i]);

		all = all ? arena_fmt(temp, "%s && %s >= 0", all, e)
			  : arena_fmt(temp, "%s >= 0", e);
	}
	return all;
}

const char *cu_address(struct cu *k, const struct op *op, const char **cond)
{
	const struct value *buf = op->in[op->code == OP_mem_store].val;

	*cond = guards(k, op);
	if (dtype_is_packed(buf->type->dtype))
		return arena_fmt(&k->c->temp, "(%s + %s / %u)", buffer(k, buf),
				 offset(k, op),
				 8 / dtype_info[buf->type->dtype].bits);
	return arena_fmt(&k->c->temp, "(%s + %s)", buffer(k, buf),
			 offset(k, op));
}

static void load(struct cu *k, const struct op *op)
{
	const struct value *buf = op->in[0].val;
	enum dtype t = buf->type->dtype;
	const char *b = buffer(k, buf), *off = offset(k, op), *x;
	const char *cond = guards(k, op);

	bool wide = map_get(&k->wide_ops, (uintptr_t)op);
	const char *near = wide ? NULL : cu_row_element(k, op);

	if (!wide && !near)
		near = cu_near(k, op);

	if (dtype_is_packed(t))
		x = arena_fmt(&k->c->temp, "dl_packed_load_%s(%s, %s, %u)",
			      dtype_info[t].kind == DK_INT ? "i" : "u",
			      wide ? cu_lanes(k, op) : b, wide ? "v" : off,
			      dtype_info[t].bits);
	else if (wide)
		x = cu_lane(k, op);
	else if (near)
		x = near;
	else
		x = arena_fmt(&k->c->temp, "%s[%s]", b, off);
	x = cu_from_mem(k, t, x);
	/* Names are made in the order in which they are defined. */
	const char *other = cond ? cu_val(k, op->in[1].val) : NULL;

	cu_define(k, &op->out[0]);
	if (cond)
		fprintf(k->f, "%s ? %s : %s;\n", cond, x, other);
	else
		fprintf(k->f, "%s;\n", x);
}

const char *cu_own(const struct cu *k)
{
	return k->group == WARP ? "dl_thread() % 32" : "dl_thread()";
}

static void store(struct cu *k, const struct op *op)
{
	const struct value *buf = op->in[1].val;
	enum dtype t = buf->type->dtype;
	const char *b = buffer(k, buf), *off = offset(k, op);
	const char *x = cu_to_mem(k, t, cu_val(k, op->in[0].val));
	const char *cond = guards(k, op);

	if (map_get(&k->wide_ops, (uintptr_t)op)) {
		cu_line(k, "%s = %s;", cu_lane(k, op), x);
		return;
	}
	if (k->pairs == op) {
		cu_line(k, "pair[e %% 2] = %s;", x);
		cu_line(k, "if (%s%se %% 2)", cond ? cond : "",
			cond ? " && " : "");
		cu_line(k, "\t*(%s *)(%s + %s - 1) = *(const %s *)pair;",
			cu_bits_type(2 * dtype_size(t)), b, off,
			cu_bits_type(2 * dtype_size(t)));
		return;
	}
	/* All threads come here with the same. */
	if (k->group > 1 && !k->in_lanes)
		cond = cond ? arena_fmt(&k->c->temp, "%s == 0 && %s",
					cu_own(k), cond)
			    : arena_fmt(&k->c->temp, "%s == 0", cu_own(k));
	if (cond) {
		cu_line(k, "if (%s)", cond);
		k->depth++;
	}
	if (dtype_is_packed(t))
		cu_line(k, "dl_packed_store(%s, %s, %u, %s);", b, off,
			dtype_info[t].bits, x);
	else
		cu_line(k, "%s[%s] = %s;", b, off, x);
	k->depth -= cond != NULL;
}

void cu_op(struct cu *k, struct op *op)
{
	k->node = kernel_node(op);
	if (cu_row_before(k, op))
		return;
	switch ((int)op->code) {
	case OP_arith_const: case OP_loop_yield: break;
	case OP_loop_for: cu_for(k, op); break;
	case OP_mem_load: load(k, op); break;
	case OP_mem_store: store(k, op); break;
	case OP_kern_tile: cu_tile(k, op); break;
	case OP_kern_attend: cu_attend(k, op); break;
	default: cu_scalar_op(k, op); break;
	}
	cu_row_behind(k, op);
}

/* ---- kernels -------------------------------------------------------- */

static void find_shared(void *arg, struct op *op)
{
	struct cu *k = arg;

	if (op->code == OP_loop_for && op_int(op, A_width) > 1) {
		unsigned width = (unsigned)op_int(op, A_width);

		k->threads = target_lanes(k->c->target, 32);
		if (k->threads < width)
			k->threads = width;
		k->group = width == WARP ? WARP : k->threads;
	}
	if (op->code == OP_kern_tile)
		k->group = k->threads = cu_tile_threads(k, op);
	if (op->code == OP_kern_attend)
		k->group = k->threads = cu_attend_threads(k, op);
}

struct stored {
	const struct value *buf;
	bool yes;
};

static void find_store(void *arg, struct op *op)
{
	struct stored *s = arg;

	s->yes |= op->code == OP_mem_store && op->in[1].val == s->buf;
}

static bool is_stored(struct op *kernel, const struct value *buf)
{
	struct stored s = { buf, false };

	block_walk(op_body(kernel), find_store, &s);
	return s.yes;
}

static void put_params(struct cu *k, const struct kernel_args *args)
{
	fputs(k->boxes ? "(DL_MAP(map_a),\n\tDL_MAP(map_b),\n\tu32 *status"
		       : "(u32 *status", k->f);
	for (size_t i = 0; i < args->bufs.n; i++) {
		const struct value *v = args->bufs.v[i];

		map_put(&k->bufs, v->id, (void *)(uintptr_t)(i + 1));
		fprintf(k->f, ",\n\t%s%s *__restrict__ b%zu",
			is_stored(k->kernel, v) ? "" : "const ",
			cu_mem_type(v->type->dtype), i);
	}
	for (size_t i = 0; i < args->atoms.n; i++) {
		char *name = arena_fmt(&k->c->temp, "n%zu", i);

		map_put(&k->atoms, args->atoms.v[i]->serial, name);
		fprintf(k->f, ",\n\ti64 %s%s", name, k->wide ? "" : "_");
	}
	fputs(",\n\ti64 points)\n", k->f);
}

/* The last two variables: those at work at a time share rows and columns. */
static unsigned put_raster(struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	unsigned n = body->n_iv - 2;
	const char *name[2];

	for (unsigned i = 0; i < 2; i++) {
		const struct atom *iv = expr_atom(body->iv[n + i]);

		name[i] = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
		map_put(&k->atoms, iv->serial, (void *)(uintptr_t)name[i]);
	}
	cu_line(k, "%s %s, %s;", t, name[0], name[1]);
	cu_line(k, "dl_raster<%s>(q, %s, %s, %s, %s);", u,
		cu_expr(k, k->kernel, expr_atom(body->iv[n])->a),
		cu_expr(k, k->kernel, expr_atom(body->iv[n + 1])->a),
		name[0], name[1]);
	return n;
}

/* The point's number becomes what counts points, the last one fastest. */
static void put_point(struct cu *k)
{
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	unsigned n = k->n_point;

	if (n > 1)
		cu_line(k, "%s q = (%s)p;", u, u);
	if (k->boxes && n > 1)
		n = put_raster(k);
	for (unsigned i = n; i-- > 0;) {
		const char *name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);

		if (k->n_point == 1) {
			cu_line(k, "const %s %s = p;", t, name);
		} else if (!i) {
			cu_line(k, "const %s %s = (%s)q;", t, name, t);
		} else {
			const char *e = cu_expr(k, k->kernel,
						k->point[i].extent);

			cu_line(k, "const %s %s = (%s)(q %% (%s)%s);", t, name,
				t, u, e);
			cu_line(k, "q /= (%s)%s;", u, e);
		}
		map_put(&k->atoms, k->point[i].iv->serial,
			(void *)(uintptr_t)name);
	}
}

/* What the compiler may know of a buffer's address. */
static void put_aligned(struct cu *k, const struct kernel_args *args)
{
	for (size_t i = 0; i < args->bufs.n; i++)
		cu_line(k, "DL_ALIGNED(b%zu);", i);
}

void cu_for_points(struct cu *k)
{
	const char *t = k->wide ? "i64" : "int";

	if (k->threads == 1)
		cu_line(k, "for (%s p = 0; p < (%s)points; p++) {", t, t);
	else if (k->group == k->threads)
		cu_line(k, "for (%s p = dl_block(); p < (%s)points; "
			"p += dl_blocks()) {", t, t);
	else if (k->group > 1)
		cu_line(k, "for (%s p = (%s)dl_block() * %u + dl_thread() / %u;"
			" p < (%s)points; p += (%s)dl_blocks() * %u) {", t, t,
			k->threads / k->group, k->group, t, t,
			k->threads / k->group);
	else
		cu_line(k, "for (%s p = (%s)dl_block() * %u + dl_thread(); "
			"p < (%s)points; p += (%s)dl_blocks() * %u) {", t, t,
			k->threads, t, t, k->threads);
	k->depth++;
	if (k->vector == 1)
		put_point(k);
}

static void put_ops(struct cu *k)
{
	for (struct op *op = op_body(k->kernel)->first; op; op = op->next)
		cu_op(k, op);
	k->depth--;
	cu_line(k, "}");
}

static void put_loop(struct cu *k)
{
	const char *t = k->wide ? "i64" : "int";
	unsigned v = k->vector;

	cu_for_points(k);
	if (v == 1) {
		put_ops(k);
		return;
	}
	cu_vector_point(k);
	k->depth--;
	cu_line(k, "}");
	if (!k->rest)
		return;
	cu_line(k, "for (%s p = (%s)points * %u + (%s)dl_block() * %u + "
		"dl_thread(); p < (%s)all; p += (%s)dl_blocks() * %u) {", t, t,
		v, t, k->threads, t, t, k->threads);
	k->depth++;
	put_point(k);
	put_ops(k);
}

static void put_body(struct cu *k, const struct kernel_args *args)
{
	fputs("{\n", k->f);
	k->depth = 1;
	put_aligned(k, args);
	/* All are known to fit. */
	for (size_t i = 0; i < args->atoms.n && !k->wide; i++)
		cu_line(k, "const int n%zu = (int)n%zu_;", i, i);
	if (k->rest)
		cu_line(k, "const i64 all = points;");
	if (k->vector > 1)
		cu_line(k, "points /= %u;", k->vector);
	if (k->boxes)
		cu_boxes_body(k);
	else
		put_loop(k);
	fputs("}\n", k->f);
}

/* The form of a kernel that is printed. */
struct form {
	bool wide, boxes;
};

/* The kernel behind its name, malloc'ed. */
static char *kernel_text(struct ctx *c, struct op *op, struct form form,
			 const struct kernel_args *args,
			 struct gpu_kernel *row)
{
	struct cu k = { .c = c, .kernel = op, .group = 1, .wide = form.wide,
			.boxes = form.boxes };
	unsigned vector;
	char *text = NULL;
	size_t size;

	k.f = open_memstream(&text, &size);
	if (!k.f)
		fatal(EXIT_LIMIT, "out of memory");
	if (form.boxes)
		k.group = k.threads = cu_boxes_threads(&k);
	else if (kernel_is_serial(op))
		k.threads = 1;
	else
		block_walk(op_body(op), find_shared, &k);
	cu_points_find(&k);
	if (k.threads != 1)
		cu_row_find(&k);
	k.vector = vector = k.threads || k.row ? 1 : cu_vector(&k);
	if (!k.threads)
		k.threads = FLAT_THREADS;
	put_params(&k, args);
	put_body(&k, args);
	fclose(k.f);
	row->threads = k.threads;
	row->shared_bytes = k.shared_bytes;
	row->points = k.threads == 1 ? 0
				     : k.threads / k.group * vector;
	cu_row_free(&k);
	map_free(&k.gone);
	map_free(&k.near_ops);
	map_free(&k.vals);
	map_free(&k.atoms);
	map_free(&k.bufs);
	return text;
}

/* ---- modules -------------------------------------------------------- */

static void add_node(void *arg, struct op *op)
{
	struct cuda_kernel *k = arg;

	if (!op->loc || !op->loc->name || !*op->loc->name)
		return;
	for (size_t i = 0; i < k->nodes.n; i++)
		if (k->nodes.v[i] == op->loc)
			return;
	vec_push(&k->nodes, op->loc);
}

/* Its row; kernels of the same text are one. */
static unsigned add_text(struct cuda_kernels *all, struct op *op,
			 struct form form, const struct gpu_launch *launch,
			 const struct kernel_args *args)
{
	struct cuda_kernel k = { .wide = form.wide };
	unsigned at = 0;

	k.text = kernel_text(all->c, op, form, args, &k.row);
	k.row.n_box = form.boxes ? launch->n_map : 0;
	for (unsigned i = 0; i < k.row.n_box; i++)
		k.row.box[i] = launch->map[i].box;
	while (at < all->kernel.n && strcmp(all->kernel.v[at].text, k.text))
		at++;
	if (at < all->kernel.n) {
		free(k.text);
	} else {
		k.row.name = arena_fmt(&all->c->perm, "k%u", at);
		vec_push(&all->kernel, k);
	}
	add_node(&all->kernel.v[at], op);
	block_walk(op_body(op), add_node, &all->kernel.v[at]);
	return at;
}

static struct gpu_rows add_forms(struct cuda_kernels *all, struct op *op,
				 bool wide, const struct gpu_launch *launch,
				 const struct kernel_args *args)
{
	struct gpu_rows r = { 0 };

	r.row = add_text(all, op, (struct form){ .wide = wide }, launch, args);
	if (launch->n_map)
		r.boxes = add_text(all, op, (struct form){ wide, true },
				   launch, args);
	return r;
}

static const struct expr *when_of(struct ctx *c, const struct op *kernel)
{
	size_t n;
	const struct expr *const *when = op_exprs(kernel, A_when, &n);
	const struct expr *least = n ? when[0] : NULL;

	for (size_t i = 1; i < n; i++)
		least = expr_min(c, least, when[i]);
	return least;
}

static void add_kernel(void *arg, struct op *op)
{
	struct cuda_kernels *all = arg;
	struct gpu_launch launch = { 0 };
	const struct expr *bound;
	struct kernel_args args;
	int64_t most;

	if (op->code != OP_loop_kernel)
		return;
	kernel_args(op, &args);
	launch.n_map = cu_boxes(all->c, op, launch.map);
	bound = cu_int_bound(all->c, op, &args);
	if (bound && expr_is_const(bound, &most)) {
		launch.wide = add_forms(all, op, most > INT32_MAX, &launch,
					&args);
	} else {
		launch.wide = add_forms(all, op, true, &launch, &args);
		launch.bound = bound;
		if (bound)
			launch.narrow = add_forms(all, op, false, &launch,
						  &args);
	}
	launch.points = kernel_points(all->c, op);
	launch.when = when_of(all->c, op);
	vec_push(&all->launch, launch);
	kernel_args_free(&args);
}

void cuda_kernels(struct module *m, struct cuda_kernels *all)
{
	*all = (struct cuda_kernels){ .c = m->ctx };
	block_walk(op_body(m->func), add_kernel, all);
}

void cuda_kernels_free(struct cuda_kernels *all)
{
	for (size_t i = 0; i < all->kernel.n; i++) {
		free(all->kernel.v[i].text);
		vec_free(&all->kernel.v[i].nodes);
	}
	vec_free(&all->kernel);
	vec_free(&all->launch);
}

/* Names of nodes are any bytes: none may end the comment or the line. */
void cuda_put_node(FILE *f, const struct loc *node)
{
	for (const char *s = node->name; *s; s++)
		fputc(*s == '\\' || (unsigned char)*s < ' ' ? '?' : *s, f);
	fprintf(f, " (%s)", node->op);
}

void cuda_put(FILE *f, const struct cuda_kernel *k)
{
	enum { MAX_NODES = 16 };

	for (size_t i = 0; i < k->nodes.n && i < MAX_NODES; i++) {
		fputs("// ", f);
		cuda_put_node(f, k->nodes.v[i]);
		fputc('\n', f);
	}
	if (k->nodes.n > MAX_NODES)
		fprintf(f, "// and %zu more\n", k->nodes.n - MAX_NODES);
	if (k->row.n_box)
		fputs("#if DL_BOXES\n", f);
	fprintf(f, "extern \"C\" __global__ void DL_BOUNDS%s(%u)\n%s%s",
		k->row.n_box ? "_ALONE" : "", k->row.threads, k->row.name,
		k->text);
	fputs(k->row.n_box ? "#endif\n\n" : "\n", f);
}

bool codegen_cuda(struct module *m, const struct codegen_options *o,
		  struct codegen_out *out)
{
	struct cuda_kernels all;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)o;
	if (!f)
		fatal(EXIT_LIMIT, "out of memory");
	fputs(gpu_prelude, f);
	fputc('\n', f);
	cuda_kernels(m, &all);
	for (size_t i = 0; i < all.kernel.n; i++)
		cuda_put(f, &all.kernel.v[i]);
	cuda_kernels_free(&all);
	fclose(f);
	out->head = (struct blob){ text, size };
	return true;
}
