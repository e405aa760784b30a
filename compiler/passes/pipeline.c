/* SPDX-License-Identifier: Apache-2.0 */
/* The default pipelines, as text, and what runs them. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ir/op.h"
#include "ir/target.h"
#include "passes/pass.h"

#define X(name) extern const struct pass_def pass_def_##name;
#include "passes.inc"
#undef X

static const struct pass_def *const passes[] = {
#define X(name) &pass_def_##name,
#include "passes.inc"
#undef X
};

/* Order matters where a comment says so. */
static const char pipeline_o0[] =
	"fold,"
	"lower_graph,"
	"lower_loops,"
	"check_bounds,"
	"plan_memory";

static const char pipeline_o2[] =
	"fold,"
	"lower_graph,"
	"fold_statements,"
	/* States what fusion then takes into the producers. */
	"widen,"
	"integer,"
	/* What stayed float, and the constants of integer sums. */
	"fold_statements{bytes=1},"
	"fuse,"
	"requantize,"
	"table,"
	"narrow,"
	/* Fusion substitutes at whole elements. */
	"split,"
	/* These recognise what fusion has left as one statement; the first
	 * leaves contractions to the second. */
	"winograd,"
	"contract,"
	/* Follows the layouts that contractions chose. */
	"layout,"
	/* Asks for the memory order; the others' statements have a schedule. */
	"window,"
	"lower_loops,"
	"check_bounds,"
	"plan_memory,"
	/* Other passes know panels as what they were. */
	"chain";

/* Without what is made for register tiles and caches of a CPU. */
static const char pipeline_gpu[] =
	"fold,"
	"lower_graph,"
	"fold_statements,"
	"widen{rows=0},"
	"integer,"
	"fold_statements{bytes=1},"
	"fuse,"
	"requantize,"
	"table,"
	"narrow{casts=1},"
	"split,"
	"tile_layout,"
	/* Follows the layouts that tiles chose. */
	"layout,"
	"window,"
	"best,"
	"share,"
	/* Fusion would undo it; goes by where neighbours lie. */
	"parts,"
	"lower_loops,"
	"check_bounds,"
	"plan_memory";

const char *pipeline_text(int level, const struct target *t)
{
	if (!level)
		return pipeline_o0;
	return t && t->gpu[0] ? pipeline_gpu : pipeline_o2;
}

void pipeline_list(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(passes); i++) {
		const struct pass_def *p = passes[i];

		fprintf(out, "%-16s %s\n", p->name, p->summary);
		for (int k = 0; k < MAX_PARAMS && p->param[k].name; k++)
			fprintf(out, "    %s=%lld  %s\n", p->param[k].name,
				(long long)p->param[k].value,
				p->param[k].help);
	}
}

static const struct pass_def *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(passes); i++)
		if (strlen(passes[i]->name) == len &&
		    !memcmp(passes[i]->name, name, len))
			return passes[i];
	return NULL;
}

/* "name" or "name{a=1 b=2}"; moves *s behind it. */
static const struct pass_def *parse_one(struct ctx *c, const char **s,
					struct pass_args *args)
{
	const char *p = *s;
	size_t n = strcspn(p, ",{");

	while (n && isspace((unsigned char)*p))
		p++, n--;
	const struct pass_def *d = find(p, n);

	if (!d) {
		diag_error(&c->diag, EXIT_USAGE, NULL,
			   "no pass is named '%.*s'; --list-passes lists them",
			   (int)n, p);
		return NULL;
	}
	for (int k = 0; k < MAX_PARAMS; k++)
		args->param[k] = d->param[k].value;
	p += n;
	if (*p == '{') {
		p++;
		while (*p && *p != '}') {
			size_t len = strcspn(p, "=} ");
			int k = 0;

			while (k < MAX_PARAMS && d->param[k].name &&
			       (strlen(d->param[k].name) != len ||
				memcmp(d->param[k].name, p, len)))
				k++;
			if (k == MAX_PARAMS || !d->param[k].name ||
			    p[len] != '=') {
				diag_error(&c->diag, EXIT_USAGE, NULL,
					   "pass %s has no parameter '%.*s'",
					   d->name, (int)len, p);
				return NULL;
			}
			char *end;

			args->param[k] = strtoll(p + len + 1, &end, 10);
			p = end;
			while (*p == ' ')
				p++;
		}
		p += *p == '}';
	}
	while (*p == ',' || isspace((unsigned char)*p))
		p++;
	*s = p;
	return d;
}

static bool print_wanted(const struct pipeline_options *o, const char *name)
{
	return o->print_after && (!strcmp(o->print_after, "all") ||
				  !strcmp(o->print_after, name));
}

static bool run_one(struct module *m, const struct pass_def *d,
		    const struct pass_args *args,
		    const struct pipeline_options *o)
{
	struct timespec t0, t1;

	if (!(m->levels & d->needs)) {
		diag_error(&m->ctx->diag, EXIT_USAGE, NULL,
			   "pass %s does not apply to a module at this level",
			   d->name);
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (!d->run(m, args))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &t1);
	if (d->leaves)
		m->levels = d->leaves;
	if (o->time_passes)
		fprintf(stderr, "%10.3f ms  %s\n",
			(double)(t1.tv_sec - t0.tv_sec) * 1e3 +
				(double)(t1.tv_nsec - t0.tv_nsec) * 1e-6,
			d->name);
	if (print_wanted(o, d->name)) {
		char *text = module_print(m);

		fprintf(o->out ? o->out : stderr, "// after %s\n%s", d->name,
			text);
		free(text);
	}
	if (o->verify_each && !module_verify(m, d->name))
		return false;
	arena_free(&m->ctx->temp);
	return true;
}

bool pipeline_run(struct module *m, const struct pipeline_options *o)
{
	const char *s = o->passes ? o->passes
				  : pipeline_text(o->level, m->ctx->target);
	unsigned n = 1, i = 0;

	for (const char *p = s; *p; p++)
		n += *p == ',';
	while (*s) {
		struct pass_args args;
		const struct pass_def *d = parse_one(m->ctx, &s, &args);

		if (!d)
			return false;
		if (o->progress)
			o->progress(o->arg, d->name, i++, n);
		if (!run_one(m, d, &args, o))
			return false;
		if (o->stop_after && !strcmp(o->stop_after, d->name))
			break;
	}
	return true;
}
