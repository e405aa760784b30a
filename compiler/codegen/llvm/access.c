/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores.  A guarded load reads a place that is safe when the guard
 * fails, so that nothing branches; lanes that are not neighbours in memory are
 * gathered one by one.
 */
#include "codegen/llvm/cg.h"
#include "ir/layout.h"

static LLVMValueRef base_of(struct cg *g, const struct value *buf)
{
	LLVMValueRef base = map_get(&g->bufs, buf->id);

	if (!base)
		bug(&g->c->diag, "no address for buffer %%%u", buf->id);
	return base;
}

static LLVMValueRef address(struct cg *g, enum dtype t, const struct value *buf,
			    LLVMValueRef offset)
{
	return LLVMBuildGEP2(g->b, cg_mem_type(g, t), base_of(g, buf), &offset,
			     1, "");
}

/* Is it a tensor of the caller's, which may begin anywhere? */
static bool is_callers(const struct value *buf)
{
	return !buf->def || (buf->def->code == OP_mem_alloc &&
			     op_int(buf->def, A_output) >= 0);
}

unsigned cg_align(struct cg *g, const struct value *buf)
{
	return g->t->isa->aligned && is_callers(buf)
		       ? 1
		       : (unsigned)dtype_size(buf->type->dtype);
}

static LLVMValueRef plain_load(struct cg *g, LLVMTypeRef t, LLVMValueRef p,
			       const struct value *buf)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, t, p, "");

	LLVMSetAlignment(v, cg_align(g, buf));
	return v;
}

/* Can a masked load or store of this type be one instruction? */
static bool can_mask(struct cg *g, enum dtype t, bool store)
{
	if (dtype_is_packed(t))
		return false;
	if (g->t->isa->masked)
		return true;
	return !store && g->t->isa->vector_bits == 256 && dtype_size(t) >= 4;
}

/* All guards hold: i1, or lanes of it; NULL when there are none. */
static struct cv guard_cond(struct cg *g, struct op *op)
{
	struct cv all = { NULL, false };
	size_t n;
	const struct expr *const *guard = op_exprs(op, A_guard, &n);

	for (size_t i = 0; i < n; i++) {
		struct cv e = cg_expr_lanes(g, op, guard[i]);
		LLVMValueRef ok = LLVMBuildICmp(
			g->b, LLVMIntSGE, e.v,
			LLVMConstNull(LLVMTypeOf(e.v)), "");

		if (!all.v) {
			all = (struct cv){ ok, e.vec };
		} else if (all.vec == e.vec) {
			all.v = LLVMBuildAnd(g->b, all.v, ok, "");
		} else {
			LLVMValueRef x = e.vec ? cg_splat(g, all.v) : all.v;
			LLVMValueRef y = e.vec ? ok : cg_splat(g, ok);

			all = (struct cv){ LLVMBuildAnd(g->b, x, y, ""), true };
		}
	}
	return all;
}

/* One element, or a contiguous group, at p; elsewhere when cond is false. */
static LLVMValueRef safe_load(struct cg *g, LLVMTypeRef t,
			      const struct value *buf, LLVMValueRef p,
			      LLVMValueRef cond)
{
	if (cond)
		p = LLVMBuildSelect(g->b, cond, p, g->zeros, "");
	return plain_load(g, t, p, buf);
}

/* The element at an offset; 0 when cond is false. */
static LLVMValueRef load_one(struct cg *g, const struct value *buf,
			     LLVMValueRef off, LLVMValueRef cond)
{
	enum dtype dt = buf->type->dtype;

	if (dtype_is_packed(dt))
		return packed_load(g, dt, base_of(g, buf), off, cond);
	return safe_load(g, cg_mem_type(g, dt), buf, address(g, dt, buf, off),
			 cond);
}

/* As many as there are lanes. */
static LLVMValueRef load_group(struct cg *g, const struct value *buf,
			       LLVMValueRef off, LLVMValueRef cond)
{
	enum dtype dt = buf->type->dtype;

	if (dtype_is_packed(dt))
		return packed_load_group(g, dt, base_of(g, buf), off, cond);
	return safe_load(g, LLVMVectorType(cg_mem_type(g, dt), g->lanes), buf,
			 address(g, dt, buf, off), cond);
}

/* Can neighbours be loaded and stored as a group? */
static bool can_group(struct cg *g, enum dtype t)
{
	return !g->mask && (!dtype_is_packed(t) || packed_fits_group(g, t));
}

static LLVMValueRef gather(struct cg *g, struct op *op, const struct expr *off,
			   enum dtype dt, struct cv cond)
{
	LLVMTypeRef t = cg_mem_type(g, dt);
	LLVMValueRef v = LLVMGetPoison(LLVMVectorType(t, g->lanes));

	for (unsigned i = 0; i < g->lanes; i++) {
		LLVMValueRef k = cond.v, x;

		if (k && cond.vec)
			k = LLVMBuildExtractElement(g->b, k, cg_int(g, i), "");
		if (g->mask) {
			LLVMValueRef in = LLVMBuildExtractElement(
				g->b, g->mask, cg_int(g, i), "");

			k = k ? LLVMBuildAnd(g->b, k, in, "") : in;
		}
		x = load_one(g, op->in[0].val, cg_expr(g, op, off, i), k);
		v = LLVMBuildInsertElement(g->b, v, x, cg_int(g, i), "");
	}
	return v;
}

static LLVMValueRef masked_load(struct cg *g, LLVMTypeRef vt, enum dtype dt,
				LLVMValueRef p, LLVMValueRef mask)
{
	LLVMTypeRef over[] = { vt, g->ptr };
	unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", 16);
	LLVMValueRef arg[] = { p,
			       LLVMConstInt(g->i32, dtype_size(dt), false),
			       mask, LLVMConstNull(vt) };

	return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			      LLVMGetIntrinsicDeclaration(g->mod, id, over, 2),
			      arg, 4, "");
}

/* +0 or integer 0: what is read from g->zeros and from masked lanes. */
static bool is_zero(const struct value *v)
{
	const struct op *k = def_of(v, OP_arith_const);
	const struct attr *a = k ? op_attr(k, A_value) : NULL;
	union scalar s = { 0 };

	/* Zero bits are a power of two there. */
	if (!a || v->type->dtype == DT_F8E8M0)
		return false;
	if (a->kind == AT_INT)
		return a->i == 0;
	s.d = a->f;
	return s.u == 0;
}

/* A group at p, or the one element there in all lanes: where a dim that may be
 * 1 broadcasts, its step is 0.  The branch goes one way for the whole call. */
static LLVMValueRef step_load(struct cg *g, const struct value *buf,
			      LLVMValueRef p, LLVMValueRef step,
			      LLVMValueRef cond)
{
	enum dtype dt = buf->type->dtype;
	LLVMTypeRef t = cg_mem_type(g, dt), vt = LLVMVectorType(t, g->lanes);
	LLVMBasicBlockRef each = cg_block(g, "each"), one = cg_block(g, "one");
	LLVMBasicBlockRef next = cg_block(g, "loaded"), from[2];
	LLVMValueRef v[2], phi;

	g->n_steps++;
	if (cond)
		p = LLVMBuildSelect(g->b, cond, p, g->zeros, "");
	LLVMBuildCondBr(g->b,
			LLVMBuildICmp(g->b, LLVMIntNE, step, cg_int(g, 0), ""),
			each, one);
	LLVMPositionBuilderAtEnd(g->b, each);
	v[0] = g->mask ? masked_load(g, vt, dt, p, g->mask)
		       : plain_load(g, vt, p, buf);
	from[0] = LLVMGetInsertBlock(g->b);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, one);
	v[1] = cg_splat(g, plain_load(g, t, p, buf));
	from[1] = LLVMGetInsertBlock(g->b);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, next);
	phi = LLVMBuildPhi(g->b, vt, "");
	LLVMAddIncoming(phi, v, from, 2);
	return phi;
}

/* Where an op reads or writes, lane by lane. */
struct access {
	const struct expr *off, *step;	/* in elements; from lane to lane */
	enum lane_class k;
	struct cv cond;			/* of its guards, see guard_cond() */
};

static struct access find_access(struct cg *g, struct op *op,
				 const struct value *buf)
{
	struct access a;
	size_t n;

	a.off = layout_offset(g->c, buf, op_exprs(op, A_idx, &n));
	a.k = cg_lane_class(g, op, a.off, &a.step);
	a.cond = guard_cond(g, op);
	return a;
}

/* The lanes that run and whose guards hold; NULL: all. */
static LLVMValueRef active_lanes(struct cg *g, struct cv cond)
{
	LLVMValueRef mask = cond.v ? cg_lanes(g, cond) : NULL;

	if (!g->mask)
		return mask;
	return mask ? LLVMBuildAnd(g->b, mask, g->mask, "") : g->mask;
}

struct cv cg_load(struct cg *g, struct op *op)
{
	const struct value *buf = op->in[0].val;
	enum dtype dt = buf->type->dtype;
	struct access a = find_access(g, op, buf);
	const struct expr *off = a.off;
	struct cv cond = a.cond, r = { NULL, false };
	LLVMTypeRef t = cg_mem_type(g, dt);

	if (a.k == LANE_SAME && !cond.vec) {
		r.v = load_one(g, buf, cg_expr(g, op, off, 0), cond.v);
	} else if (a.k == LANE_UNIT && !cond.vec && can_group(g, dt)) {
		r.v = load_group(g, buf, cg_expr(g, op, off, 0), cond.v);
		r.vec = true;
	} else if (a.k == LANE_UNIT && can_mask(g, dt, false)) {
		LLVMValueRef mask = active_lanes(g, cond);

		r.v = masked_load(g, LLVMVectorType(t, g->lanes), dt,
				  address(g, dt, buf, cg_expr(g, op, off, 0)),
				  mask);
		r.vec = true;
	} else if (a.k == LANE_STEP && broadcast_is_step(a.step) && !cond.vec &&
		   !dtype_is_packed(dt) &&
		   (!g->mask || can_mask(g, dt, false))) {
		r.v = step_load(g, buf,
				address(g, dt, buf, cg_expr(g, op, off, 0)),
				cg_expr(g, op, a.step, 0), cond.v);
		r.vec = true;
	} else {
		r.v = gather(g, op, off, dt, cond);
		r.vec = true;
	}
	r.v = cg_from_mem(g, dt, r.v);
	/* Where a guard fails zeros are read: often that is what is wanted. */
	if (cond.v && !is_zero(op->in[1].val)) {
		struct cv other = cg_get(g, op->in[1].val);
		bool vec = r.vec || other.vec || cond.vec;

		if (vec) {
			r.v = cg_lanes(g, r);
			other.v = cg_lanes(g, other);
			/* A scalar condition selects whole vectors. */
		}
		r.v = LLVMBuildSelect(g->b, cond.v, r.v, other.v, "");
		r.vec = vec;
	}
	return r;
}

/* One element, when cond (NULL: always) holds. */
static void store_one(struct cg *g, struct op *op, const struct expr *off,
		      LLVMValueRef x, unsigned lane, LLVMValueRef cond)
{
	enum dtype dt = op->in[1].val->type->dtype;
	LLVMBasicBlockRef then = NULL, next = NULL;

	if (cond) {
		then = cg_block(g, "lane");
		next = cg_block(g, "next");
		LLVMBuildCondBr(g->b, cond, then, next);
		LLVMPositionBuilderAtEnd(g->b, then);
	}
	LLVMValueRef at = cg_expr(g, op, off, lane);

	if (dtype_is_packed(dt))
		packed_store(g, dt, base_of(g, op->in[1].val), at, x);
	else
		LLVMSetAlignment(
			LLVMBuildStore(g->b, x,
				       address(g, dt, op->in[1].val, at)),
			cg_align(g, op->in[1].val));
	if (next) {
		LLVMBuildBr(g->b, next);
		LLVMPositionBuilderAtEnd(g->b, next);
	}
}

/* Lane by lane: those of the mask for which the guards hold. */
static void store_lanes(struct cg *g, struct op *op, const struct expr *off,
			LLVMValueRef x, struct cv cond)
{
	LLVMValueRef mask = active_lanes(g, cond);

	for (unsigned i = 0; i < g->lanes; i++) {
		LLVMValueRef k = cg_int(g, i);

		store_one(g, op, off, LLVMBuildExtractElement(g->b, x, k, ""),
			  i,
			  mask ? LLVMBuildExtractElement(g->b, mask, k, "")
			       : NULL);
	}
}

void cg_store(struct cg *g, struct op *op)
{
	struct cv v = cg_get(g, op->in[0].val);
	const struct value *buf = op->in[1].val;
	enum dtype dt = buf->type->dtype;
	struct access a = find_access(g, op, buf);
	const struct expr *off = a.off;
	struct cv cond = a.cond;
	LLVMValueRef p, st;

	if (a.k == LANE_SAME) {
		if (v.vec)
			bug(&g->c->diag, "lanes are stored to one element");
		if (cond.vec)
			bug(&g->c->diag, "lanes guard one element");
		store_one(g, op, off, cg_to_mem(g, dt, v.v), 0, cond.v);
		return;
	}
	LLVMValueRef x = cg_to_mem(g, dt, cg_lanes(g, v));

	if (a.k == LANE_UNIT && can_group(g, dt) && !cond.v) {
		if (dtype_is_packed(dt)) {
			packed_store_group(g, dt, base_of(g, buf),
					   cg_expr(g, op, off, 0), x);
			return;
		}
		p = address(g, dt, buf, cg_expr(g, op, off, 0));
		st = LLVMBuildStore(g->b, x, p);
		LLVMSetAlignment(st, cg_align(g, buf));
		return;
	}
	if (a.k == LANE_UNIT && !cond.v && !dtype_is_packed(dt)) {
		LLVMTypeRef over[] = { LLVMTypeOf(x), g->ptr };
		unsigned id = LLVMLookupIntrinsicID("llvm.masked.store", 17);
		LLVMValueRef arg[] = {
			x, address(g, dt, buf, cg_expr(g, op, off, 0)),
			LLVMConstInt(g->i32, dtype_size(dt), false), g->mask
		};

		LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			       LLVMGetIntrinsicDeclaration(g->mod, id, over,
							   2),
			       arg, 4, "");
		return;
	}
	store_lanes(g, op, off, x, cond);
}
