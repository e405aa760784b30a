/* SPDX-License-Identifier: Apache-2.0 */
/* Types, layouts and attributes of .dl text. */
#include <math.h>
#include <string.h>

#include "base/vec.h"
#include "ir/parse.h"

/* ---- types ---------------------------------------------------------- */

static bool dtype_word(struct parser *p, enum dtype *t)
{
	if (p->tok == TOK_WORD)
		for (int i = 0; i < DT_COUNT; i++)
			if (!strcmp(p->text, dtype_info[i].name)) {
				*t = (enum dtype)i;
				parse_next(p);
				return true;
			}
	return parse_error(p, "expected an element type");
}

bool parse_dims(struct parser *p, unsigned *rank, const struct expr **dim,
		enum dtype *t)
{
	unsigned n = 0;
	int64_t k;

	if (!parse_expect(p, '['))
		return false;
	while (!parse_accept(p, ']')) {
		if (n && !parse_expect(p, ','))
			return false;
		if (n == MAX_RANK)
			return parse_error(p, "more than %d dims", MAX_RANK);
		if (!(dim[n] = parse_expr(p)))
			return false;
		if (expr_is_const(dim[n], &k) && k < 0)
			return parse_error(p, "a dim is negative");
		n++;
	}
	*rank = n;
	return dtype_word(p, t);
}

const struct type *parse_type(struct parser *p)
{
	const struct expr *dim[MAX_RANK];
	unsigned rank;
	enum dtype t;

	if (parse_accept_word(p, "none"))
		return type_none(p->c);
	if (!parse_accept_word(p, "tensor"))
		return dtype_word(p, &t) ? type_scalar(p->c, t) : NULL;
	if (!parse_expect(p, '<') || !parse_dims(p, &rank, dim, &t) ||
	    !parse_expect(p, '>'))
		return NULL;
	return type_tensor(p->c, t, rank, dim);
}

/* "name=[1,2,...]" with one small number for each dim. */
static bool layout_list(struct parser *p, const char *name, uint32_t rank,
			int64_t *v, int64_t max)
{
	if (!parse_accept_word(p, name))
		return parse_error(p, "expected '%s' of a layout", name);
	if (!parse_expect(p, '=') || !parse_expect(p, '['))
		return false;
	for (uint32_t i = 0; i < rank; i++) {
		if ((i && !parse_expect(p, ',')) || !parse_int(p, &v[i]))
			return false;
		if (v[i] < 0 || v[i] > max)
			return parse_error(p, "'%s' is out of range", name);
	}
	return parse_expect(p, ']') && parse_expect(p, ',');
}

const struct layout *parse_layout(struct parser *p, const struct type *t)
{
	struct layout *l = NEW(&p->c->perm, struct layout);
	int64_t perm[MAX_RANK], lo[MAX_RANK], hi[MAX_RANK], pad;
	uint32_t seen = 0;

	if (!parse_expect(p, '{') ||
	    !layout_list(p, "perm", t->rank, perm, (int64_t)t->rank - 1) ||
	    !layout_list(p, "lo", t->rank, lo, UINT16_MAX) ||
	    !layout_list(p, "hi", t->rank, hi, UINT16_MAX))
		return NULL;
	if (!parse_accept_word(p, "pad")) {
		parse_error(p, "expected 'pad' of a layout");
		return NULL;
	}
	if (!parse_expect(p, '=') || !parse_int(p, &pad))
		return NULL;
	for (uint32_t i = 0; i < t->rank; i++) {
		seen |= 1u << perm[i];
		l->perm[i] = (uint8_t)perm[i];
		l->lo[i] = (uint16_t)lo[i];
		l->hi[i] = (uint16_t)hi[i];
	}
	if (pad < 0 || pad > UINT32_MAX ||
	    seen != (uint32_t)((UINT64_C(1) << t->rank) - 1)) {
		parse_error(p, "the layout has no permutation or a bad pad");
		return NULL;
	}
	l->pad = (uint32_t)pad;
	return parse_expect(p, '}') ? l : NULL;
}

/* ---- numbers -------------------------------------------------------- */

bool parse_int(struct parser *p, int64_t *v)
{
	bool minus = parse_accept(p, '-');

	if (p->tok != TOK_INT)
		return parse_error(p, "expected an integer");
	if (p->huge || p->u > (uint64_t)INT64_MAX + minus)
		return parse_error(p, "number does not fit 64 bits");
	*v = (int64_t)(minus ? 0 - p->u : p->u);
	parse_next(p);
	return true;
}

/* A decimal number, inf or nan. */
static bool parse_float(struct parser *p, double *v)
{
	bool minus = parse_accept(p, '-');

	if (p->tok == TOK_FLOAT)
		*v = p->d;
	else if (p->tok == TOK_INT && !p->huge)
		*v = (double)p->u;
	else if (p->tok == TOK_WORD && !strcmp(p->text, "inf"))
		*v = INFINITY;
	else if (p->tok == TOK_WORD && !strcmp(p->text, "nan"))
		*v = NAN;
	else
		return parse_error(p, "expected a number");
	parse_next(p);
	if (minus)
		*v = -*v;
	return true;
}

/* One element of a constant; hexadecimal gives the bits of a float. */
static bool element(struct parser *p, enum dtype t, char *out)
{
	unsigned bits = dtype_info[t].bits;
	union scalar s = { 0 };
	uint64_t max = ~UINT64_C(0) >> (64 - bits);

	if (p->tok == TOK_INT && (p->hex || dtype_info[t].kind >= DK_UINT)) {
		if (p->huge || p->u > max)
			return parse_error(p, "number does not fit %s",
					   dtype_info[t].name);
		memcpy(out, &p->u, dtype_size(t)); /* little endian */
		parse_next(p);
		return true;
	}
	if (dtype_is_float(t)) {
		if (!parse_float(p, &s.d))
			return false;
	} else {
		if (!parse_int(p, &s.i))
			return false;
		if (dtype_info[t].kind != DK_INT || s.i > (int64_t)(max >> 1) ||
		    s.i < -(int64_t)(max >> 1) - 1)
			return parse_error(p, "number does not fit %s",
					   dtype_info[t].name);
	}
	scalar_store(t, out, s);
	return true;
}

/* ---- constants ------------------------------------------------------ */

/* Elements of a type with static shape; false when it is not or too large. */
static bool static_elems(struct parser *p, const struct type *t, size_t *elems)
{
	int64_t n;

	if (!type_is_static(t) || !expr_is_const(type_elems(p->c, t), &n) ||
	    n > INT64_MAX / 16)
		return parse_error(p, "a constant needs a static shape");
	*elems = (size_t)n;
	return true;
}

static bool dense(struct parser *p, const struct type *t, struct blob *b)
{
	VEC(char) bytes = { 0 };
	size_t es = dtype_size(t->dtype), want = 0, size;
	bool ok = static_elems(p, t, &want);
	char one[8] = { 0 };

	while (ok && parse_accept(p, ',')) {
		ok = element(p, t->dtype, one);
		for (size_t i = 0; ok && i < es; i++)
			vec_push(&bytes, one[i]);
	}
	if (ok && bytes.n / es != want)
		ok = parse_error(p, "%zu elements are given, the type has %zu",
				 bytes.n / es, want);
	size = dtype_bytes(t->dtype, bytes.n / es);
	char *data = arena_alloc(&p->c->perm, size + 1);

	for (size_t i = 0; i < bytes.n / es; i++)
		element_copy(t->dtype, data, i, bytes.v + i * es, 0);
	*b = (struct blob){ data, size };
	vec_free(&bytes);
	return ok;
}

static uint64_t load64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* The blob with that hash and size in the sidecar file. */
static bool sidecar_find(struct parser *p, uint64_t hash, size_t size,
			 struct blob *b)
{
	const char *at = p->sidecar.data;
	size_t left = p->sidecar.size;

	if (!at)
		return parse_error(p, "the bytes of fnv:%016llx are not in the "
				      "text; give their file with --blobs",
				   (unsigned long long)hash);
	at += 8;
	left -= 8;
	while (left >= 16) {
		uint64_t h = load64(at), n = load64(at + 8);

		if (n > left - 16)
			return parse_error(p, "the file of --blobs is cut off");
		if (h == hash && n == size) {
			*b = (struct blob){ at + 16, size };
			if (fnv_bytes(FNV_INIT, b->data, size) != hash)
				break;
			return true;
		}
		n += 16 + (0 - n % 8) % 8;
		if (n > left)
			break;
		at += n;
		left -= (size_t)n;
	}
	return parse_error(p, "the file of --blobs has no intact fnv:%016llx",
			   (unsigned long long)hash);
}

static bool blob(struct parser *p, const struct type *t, struct blob *b)
{
	uint64_t hash = 0;
	size_t want;
	int64_t size;

	if (!parse_expect(p, ','))
		return false;
	if (p->tok != TOK_WORD || strcmp(p->text, "fnv") != 0)
		return parse_error(p, "expected 'fnv:' and 16 digits");
	/* The digits may look like any kind of number: read them raw. */
	if (p->end - p->p < 17 || *p->p != ':')
		return parse_error(p, "expected 'fnv:' and 16 digits");
	p->p++;
	for (int i = 0; i < 16; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *d = memchr(digits, *p->p++, 16);

		if (!d)
			return parse_error(p, "expected 'fnv:' and 16 digits");
		hash = hash << 4 | (uint64_t)(d - digits);
	}
	parse_next(p);
	if (!parse_expect(p, ',') || !parse_int(p, &size) ||
	    !static_elems(p, t, &want))
		return false;
	want = dtype_bytes(t->dtype, want);
	if (size < 0 || (size_t)size != want)
		return parse_error(p, "the type has %zu bytes", want);
	return sidecar_find(p, hash, want, b);
}

static const struct attr *tensor(struct parser *p, bool is_dense)
{
	const struct expr *dim[MAX_RANK];
	const struct type *t;
	struct blob b;
	unsigned rank;
	enum dtype dt;

	parse_next(p);
	if (!parse_expect(p, '<') || !parse_dims(p, &rank, dim, &dt))
		return NULL;
	t = type_tensor(p->c, dt, rank, dim);
	if (!(is_dense ? dense(p, t, &b) : blob(p, t, &b)) ||
	    !parse_expect(p, '>'))
		return NULL;
	return attr_tensor(p->c, t, b);
}

/* ---- attributes ----------------------------------------------------- */

static const struct attr *int_list(struct parser *p)
{
	VEC(int64_t) v = { 0 };
	int64_t k;
	bool ok = true;

	while (ok && !parse_accept(p, ']')) {
		ok = (!v.n || parse_expect(p, ',')) && parse_int(p, &k);
		if (ok)
			vec_push(&v, k);
	}
	const struct attr *a = attr_ints(p->c, v.n, v.v);

	vec_free(&v);
	return ok ? a : NULL;
}

static const struct attr *float_list(struct parser *p)
{
	struct attr *a = NEW(&p->c->perm, struct attr);
	VEC(double) v = { 0 };
	double d = 0;
	bool ok = true;

	while (ok && !parse_accept(p, ']')) {
		ok = (!v.n || parse_expect(p, ',')) &&
		     element(p, DT_F64, (char *)&d);
		if (ok)
			vec_push(&v, d);
	}
	*a = (struct attr){ .kind = AT_FLOATS, .n = v.n };
	a->floats = arena_copy(&p->c->perm, v.v, v.n * sizeof(*v.v));
	vec_free(&v);
	return ok ? a : NULL;
}

static const struct attr *str_list(struct parser *p)
{
	struct attr *a = NEW(&p->c->perm, struct attr);
	VEC(const char *) v = { 0 };
	bool ok = true;

	while (ok && !parse_accept(p, ']')) {
		ok = !v.n || parse_expect(p, ',');
		if (ok && p->tok != TOK_STR)
			ok = parse_error(p, "expected a string");
		if (ok) {
			vec_push(&v, ctx_intern(p->c, p->text, p->len));
			parse_next(p);
		}
	}
	*a = (struct attr){ .kind = AT_STRS, .n = v.n };
	a->strs = arena_copy(&p->c->perm, v.v, v.n * sizeof(*v.v));
	vec_free(&v);
	return ok ? a : NULL;
}

static const struct attr *expr_list(struct parser *p)
{
	VEC(const struct expr *) v = { 0 };
	const struct expr *e;
	bool ok = true;

	while (ok && !parse_accept(p, ']')) {
		ok = (!v.n || parse_expect(p, ',')) && (e = parse_expr(p));
		if (ok)
			vec_push(&v, e);
	}
	const struct attr *a = attr_exprs(p->c, v.n, v.v);

	vec_free(&v);
	return ok ? a : NULL;
}

/* A list of the given kind, whose '[' is the current token. */
static const struct attr *list(struct parser *p, enum attr_kind kind)
{
	if (!parse_expect(p, '['))
		return NULL;
	switch (kind) {
	case AT_INTS: return int_list(p);
	case AT_FLOATS: return float_list(p);
	case AT_STRS: return str_list(p);
	case AT_EXPRS: return expr_list(p);
	case AT_INT: case AT_FLOAT: case AT_STR: case AT_TENSOR: break;
	}
	parse_error(p, "a list here needs its kind, as in ints[1, 2]");
	return NULL;
}

static const struct attr *str_value(struct parser *p)
{
	struct attr *a = NEW(&p->c->perm, struct attr);

	*a = (struct attr){ .kind = AT_STR, .n = p->len };
	a->s = ctx_intern(p->c, p->text, p->len);
	parse_next(p);
	return a;
}

static const struct attr *value(struct parser *p, const struct attr_def *d)
{
	static const struct {
		const char *name;
		enum attr_kind kind;
	} lists[] = { { "ints", AT_INTS }, { "floats", AT_FLOATS },
		      { "strs", AT_STRS }, { "exprs", AT_EXPRS } };
	double v;
	int64_t k;

	if (p->tok == TOK_STR)
		return str_value(p);
	if (p->tok == TOK_PUNCT && p->punct == '[')
		return list(p, d ? d->kind : AT_INT);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (parse_accept_word(p, lists[i].name))
			return list(p, lists[i].kind);
	if (p->tok == TOK_WORD &&
	    (!strcmp(p->text, "dense") || !strcmp(p->text, "blob")))
		return tensor(p, *p->text == 'd');
	bool minus = parse_accept(p, '-');

	if (p->tok == TOK_INT) {
		if (p->huge || p->u > (uint64_t)INT64_MAX + minus) {
			parse_error(p, "number does not fit 64 bits");
			return NULL;
		}
		k = (int64_t)(minus ? 0 - p->u : p->u);
		parse_next(p);
		return attr_int(p->c, k);
	}
	if (!parse_float(p, &v))
		return NULL;
	return attr_float(p->c, minus ? -v : v);
}

/* Records are strict about kinds: hooks read attributes unchecked. */
static bool fits(struct parser *p, enum opcode code, const char *name,
		 const struct attr_def *d, const struct attr **a)
{
	if (!d)
		return !op_defs[code]->domain ||
		       parse_error(p, "%s has no attribute '%s'",
				   op_defs[code]->name, name);
	if ((*a)->kind == d->kind ||
	    (code == OP_arith_const && (*a)->kind == AT_INT))
		return true;
	if (d->kind == AT_FLOAT && (*a)->kind == AT_INT) {
		*a = attr_float(p->c, (double)(*a)->i);
		return true;
	}
	return parse_error(p, "attribute '%s' has another kind of value", name);
}

bool parse_attrs(struct parser *p, enum opcode code, unsigned *n,
		 struct named_attr **attr)
{
	VEC(struct named_attr) v = { 0 };
	bool ok = true;

	if (!parse_accept(p, '{'))
		return true;
	while (ok && !parse_accept(p, '}')) {
		struct named_attr na = { 0, NULL };
		const char *name;

		if (v.n && !(ok = parse_expect(p, ',')))
			break;
		name = p->text;
		ok = p->tok == TOK_WORD && attr_find(name, &na.name);
		if (!ok) {
			parse_error(p, "no op has the attribute '%s'", name);
			break;
		}
		for (size_t i = 0; ok && i < v.n; i++)
			if (v.v[i].name == na.name)
				ok = parse_error(p, "'%s' is set twice", name);
		parse_next(p);
		const struct attr_def *d = op_attr_def(op_defs[code], na.name);

		ok = ok && parse_expect(p, '=') && (na.val = value(p, d)) &&
		     fits(p, code, name, d, &na.val);
		if (ok && v.n == UINT16_MAX)
			ok = parse_error(p, "too many attributes");
		if (ok)
			vec_push(&v, na);
	}
	*n = (unsigned)v.n;
	*attr = arena_copy(&p->c->perm, v.v, v.n * sizeof(*v.v));
	vec_free(&v);
	return ok && !p->failed;
}
