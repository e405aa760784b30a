/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a profile:
 *
 *	dlcc-profile 2
 *	samples 100 synthetic 0 nodes 2 values 1
 *	seen 2 0123456789abcdef 123456789abcdef0
 *	node 0123456789abcdef "Conv 'conv1'"
 *	...
 *	value "image" axis 1 channels 1 count 64 nan 0 inf 0 exp -10 gram 0
 *	bins 2 1024 30 2047 34
 *	0x0p+0 0x1p+0 0x1.8p+4 0x1.2p+4
 *	end
 *
 * Values are sorted by name.  Under a value are the bins that are not empty,
 * each with its count; then a line of least, largest, sum and sum of squares
 * for each channel; then the lower half of the Gram matrix, each element by the
 * bits of an f32.  Floats are hexadecimal, so that nothing is lost.
 */
#include "passes/graph/quantize/profile.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum { VERSION = 2 };

void profile_free(struct profile *p)
{
	vec_free(&p->node);
	vec_free(&p->value);
	map_free(&p->of_value);
	arena_free(&p->a);
	*p = (struct profile){ 0 };
}

/* ---- writing -------------------------------------------------------- */

static void put_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == '"' || ch == '\\')
			fprintf(f, "\\%c", ch);
		else if (ch < ' ' || ch >= 0x7f)
			fprintf(f, "\\x%02x", ch);
		else
			putc(ch, f);
	}
	putc('"', f);
}

static void put_gram(FILE *f, const struct stats *s)
{
	for (int64_t i = 0; i < s->n_channel; i++)
		for (int64_t j = 0; j <= i; j++) {
			float x = (float)s->gram[i * s->n_channel + j];
			uint32_t bits;

			memcpy(&bits, &x, sizeof(bits));
			fprintf(f, "%08" PRIx32 "%c", bits,
				j == i ? '\n' : ' ');
		}
}

static void put_stats(FILE *f, const struct stats *s)
{
	int n = 0;

	fputs("value ", f);
	put_string(f, s->name);
	fprintf(f, " axis %d channels %" PRId64 " count %" PRIu64
		" nan %" PRIu64 " inf %" PRIu64 " exp %d gram %d\n",
		s->axis, s->n_channel, s->count, s->n_nan, s->n_inf,
		s->exp == INT_MIN ? 0 : s->exp, s->gram != NULL);
	for (int i = 0; i < HIST_BINS; i++)
		n += s->hist[i] != 0;
	fprintf(f, "bins %d", n);
	for (int i = 0; i < HIST_BINS; i++)
		if (s->hist[i])
			fprintf(f, " %d %" PRIu64, i, s->hist[i]);
	putc('\n', f);
	for (int64_t k = 0; k < s->n_channel; k++)
		fprintf(f, "%a %a %a %a\n", (double)s->min[k],
			(double)s->max[k], s->sum[k], s->square[k]);
	if (s->gram)
		put_gram(f, s);
}

void profile_write(const struct profile *p, FILE *f)
{
	fprintf(f, "dlcc-profile %d\n", VERSION);
	fprintf(f, "samples %" PRIu64 " synthetic %d nodes %zu values %zu\n",
		p->samples, p->synthetic, p->node.n, p->value.n);
	fprintf(f, "seen %zu", p->n_seen);
	for (size_t i = 0; i < p->n_seen; i++)
		fprintf(f, " %016" PRIx64, p->seen[i]);
	putc('\n', f);
	for (size_t i = 0; i < p->node.n; i++) {
		fprintf(f, "node %016" PRIx64 " ", p->node.v[i].hash);
		put_string(f, p->node.v[i].label);
		putc('\n', f);
	}
	for (size_t i = 0; i < p->value.n; i++)
		put_stats(f, p->value.v[i]);
	fputs("end\n", f);
}

/* ---- reading -------------------------------------------------------- */

struct reader {
	struct arena *a;
	const char *s, *end;
	unsigned line;
	const char *want;	/* what was not found, once ok is false */
	bool ok;
};

static void fail(struct reader *r, const char *want)
{
	if (r->ok)
		r->want = want;
	r->ok = false;
}

static void skip_space(struct reader *r)
{
	for (; r->s < r->end && isspace((unsigned char)*r->s); r->s++)
		r->line += *r->s == '\n';
}

static void read_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	skip_space(r);
	if ((size_t)(r->end - r->s) < n || memcmp(r->s, word, n))
		fail(r, word);
	else
		r->s += n;
}

static uint64_t read_number(struct reader *r, int base, uint64_t max)
{
	char *end;

	skip_space(r);
	if (!r->ok || !isxdigit((unsigned char)*r->s)) {
		fail(r, "a number");
		return 0;
	}
	errno = 0;
	uint64_t v = strtoull(r->s, &end, base);

	if (errno || end == r->s || v > max) {
		fail(r, "a number within limits");
		return 0;
	}
	r->s = end;
	return v;
}

static int read_int(struct reader *r, int lo, int hi)
{
	char *end;

	skip_space(r);
	if (!r->ok)
		return 0;
	long v = strtol(r->s, &end, 10);

	if (end == r->s || v < lo || v > hi) {
		fail(r, "an integer within limits");
		return 0;
	}
	r->s = end;
	return (int)v;
}

static double read_float(struct reader *r)
{
	char *end;

	skip_space(r);
	if (!r->ok)
		return 0;
	double v = strtod(r->s, &end);

	if (end == r->s || isnan(v)) {
		fail(r, "a float");
		return 0;
	}
	r->s = end;
	return v;
}

static char unescape(struct reader *r)
{
	char hex[3] = { 0 }, *end;

	if (*r->s != '\\')
		return *r->s++;
	r->s++;
	if (*r->s != 'x')
		return r->s < r->end ? *r->s++ : '\0';
	r->s++;
	for (int i = 0; i < 2 && r->s < r->end; i++)
		hex[i] = *r->s++;
	char ch = (char)strtol(hex, &end, 16);

	if (end != hex + 2 || !ch)
		fail(r, "an escape");
	return ch;
}

static const char *read_string(struct reader *r)
{
	const char *close;
	size_t n = 0;

	read_word(r, "\"");
	if (!r->ok)
		return "";
	for (close = r->s; close < r->end && *close != '"' && *close != '\n';
	     close++)
		close += *close == '\\' && close + 1 < r->end;
	char *text = arena_alloc(r->a, (size_t)(close - r->s) + 1);

	while (r->ok && r->s < close)
		text[n++] = unescape(r);
	read_word(r, "\"");
	return text;
}

/* As many as the rest of the text could hold, each in `least` bytes. */
static uint64_t room(const struct reader *r, size_t least)
{
	return (uint64_t)(r->end - r->s) / least;
}

static void read_gram(struct reader *r, struct stats *s)
{
	for (int64_t i = 0; i < s->n_channel && r->ok; i++)
		for (int64_t j = 0; j <= i && r->ok; j++) {
			uint32_t bits = (uint32_t)read_number(r, 16,
							      UINT32_MAX);
			float x;

			memcpy(&x, &bits, sizeof(x));
			if (!isfinite(x))
				fail(r, "a finite float");
			s->gram[i * s->n_channel + j] = (double)x;
		}
}

static void read_bins(struct reader *r, struct stats *s)
{
	read_word(r, "bins");
	for (uint64_t n = read_number(r, 10, HIST_BINS); n > 0 && r->ok; n--) {
		uint64_t i = read_number(r, 10, HIST_BINS - 1);

		s->hist[i] = read_number(r, 10, UINT64_MAX / 2);
	}
}

static void read_channels(struct reader *r, struct stats *s)
{
	for (int64_t k = 0; k < s->n_channel && r->ok; k++) {
		s->min[k] = (float)read_float(r);
		s->max[k] = (float)read_float(r);
		s->sum[k] = read_float(r);
		s->square[k] = read_float(r);
		bool none = s->min[k] > s->max[k];

		if (!isfinite(s->sum[k]) || !isfinite(s->square[k]) ||
		    (none ? s->sum[k] != 0
			  : !isfinite(s->min[k]) || !isfinite(s->max[k])))
			fail(r, "finite statistics");
	}
}

static struct stats *read_stats(struct reader *r)
{
	struct stats head = { 0 };

	read_word(r, "value");
	head.name = read_string(r);
	read_word(r, "axis");
	head.axis = read_int(r, -1, MAX_RANK - 1);
	read_word(r, "channels");
	head.n_channel = (int64_t)read_number(r, 10, room(r, 8));
	read_word(r, "count");
	head.count = read_number(r, 10, UINT64_MAX / 2);
	read_word(r, "nan");
	head.n_nan = read_number(r, 10, UINT64_MAX / 2);
	read_word(r, "inf");
	head.n_inf = read_number(r, 10, UINT64_MAX / 2);
	read_word(r, "exp");
	head.exp = read_int(r, -1000, 1000);
	read_word(r, "gram");
	bool gram = read_int(r, 0, 1) == 1;
	uint64_t n = (uint64_t)head.n_channel;

	if (gram && n && (n + 1) / 2 > room(r, 8) / n)
		fail(r, "a Gram matrix of that size");
	if (!r->ok)
		return NULL;
	struct stats *s = stats_new(r->a, head.name, head.axis,
				    head.n_channel, gram);

	s->count = head.count;
	s->n_nan = head.n_nan;
	s->n_inf = head.n_inf;
	s->exp = s->count > s->n_nan + s->n_inf ? head.exp : INT_MIN;
	read_bins(r, s);
	read_channels(r, s);
	if (gram)
		read_gram(r, s);
	return s;
}

static void read_seen(struct reader *r, struct profile *p)
{
	read_word(r, "seen");
	for (uint64_t n = read_number(r, 10, MAX_SEEN); n > 0 && r->ok; n--) {
		uint64_t hash = read_number(r, 16, UINT64_MAX);

		if (p->n_seen && hash <= p->seen[p->n_seen - 1])
			fail(r, "hashes in order");
		else
			p->seen[p->n_seen++] = hash;
	}
}

static void read_all(struct reader *r, struct profile *p)
{
	const char *last = NULL;

	read_word(r, "dlcc-profile");
	read_int(r, VERSION, VERSION);
	read_word(r, "samples");
	p->samples = read_number(r, 10, UINT64_MAX / 2);
	read_word(r, "synthetic");
	p->synthetic = read_int(r, 0, 1);
	read_word(r, "nodes");
	uint64_t n_node = read_number(r, 10, room(r, 8));

	read_word(r, "values");
	uint64_t n_value = read_number(r, 10, room(r, 8));

	read_seen(r, p);
	for (; n_node && r->ok; n_node--) {
		struct node_hash h;

		read_word(r, "node");
		h.hash = read_number(r, 16, UINT64_MAX);
		h.label = read_string(r);
		vec_push(&p->node, h);
	}
	for (; n_value && r->ok; n_value--) {
		struct stats *s = read_stats(r);

		if (s && last && strcmp(last, s->name) >= 0)
			fail(r, "values in order");
		if (!s || !r->ok)
			break;
		last = s->name;
		vec_push(&p->value, s);
	}
	read_word(r, "end");
	skip_space(r);
	if (r->ok && r->s != r->end)
		fail(r, "the end of the file");
}

bool profile_parse(struct profile *p, struct diag *d, const char *file,
		   const char *text, size_t size)
{
	*p = (struct profile){ 0 };
	struct reader r = { .a = &p->a, .s = text, .end = text + size,
			    .line = 1, .ok = true };
	struct loc loc = { .file = file, .node = -1 };

	read_all(&r, p);
	if (r.ok)
		return true;
	diag_error(d, EXIT_MODEL, &loc,
		   "line %u: not a profile of this version: expected %s",
		   r.line, r.want);
	profile_free(p);
	return false;
}

/* ---- merging -------------------------------------------------------- */

static bool same_values(const struct profile *a, const struct profile *b)
{
	bool same = a->value.n == b->value.n && a->node.n == b->node.n;

	for (size_t i = 0; same && i < a->node.n; i++)
		same = a->node.v[i].hash == b->node.v[i].hash;
	for (size_t i = 0; same && i < a->value.n; i++) {
		const struct stats *x = a->value.v[i], *y = b->value.v[i];

		same = !strcmp(x->name, y->name) && x->axis == y->axis &&
		       x->n_channel == y->n_channel;
	}
	return same;
}

bool profile_merge(struct profile *a, const struct profile *b,
		   struct diag *d, const char *file_a, const char *file_b)
{
	struct loc loc = { .file = file_b, .node = -1 };

	if (!same_values(a, b))
		return diag_error(d, EXIT_MODEL, &loc,
				  "it is a profile of another model than %s",
				  file_a);
	a->samples += b->samples;
	a->synthetic |= b->synthetic;
	for (size_t i = 0; i < b->n_seen; i++)
		profile_see(a, b->seen[i]);
	for (size_t i = 0; i < a->value.n; i++)
		stats_merge(a->value.v[i], b->value.v[i]);
	return true;
}
