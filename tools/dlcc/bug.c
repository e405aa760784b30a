/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left behind by a bug of dlcc: the module before the pass that failed
 * as a .dl file, and the command that shows the bug with it.  The state of the
 * failed run is not to be trusted; the module is made anew.
 */
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "passes/pass.h"

/* Where the n-th pass of the text begins; its end when there are fewer. */
static const char *skip_passes(const char *s, unsigned n)
{
	for (; n && *s; n--) {
		s += strcspn(s, ",");
		s += *s == ',';
	}
	return s;
}

static void show_option(const char *name, const char *value)
{
	if (value)
		fprintf(stderr, " %s=%s", name, value);
}

static void show_command(const struct options *o, const char *path,
			 const char *passes)
{
	fprintf(stderr, "dlcc: note: to reproduce: dlcc%s %s '--passes=%s' "
		"-O%d", o->run ? " run" : "", path, passes, o->level);
	show_option("-target", o->target);
	show_option("-mcpu", o->cpu);
	show_option("-mattr", o->features);
	fputs("\ndlcc: note: please report it with that file\n", stderr);
}

void bug_reproduce(void *arg)
{
	const struct job *failed = arg;
	const struct options *o = failed->o;
	struct job job = { .o = o, .prefix = failed->prefix };
	const char *all = job_pipeline(failed);
	const char *rest = skip_passes(all, failed->n_passed);

	if (!failed->pass) {
		fprintf(stderr, "dlcc: note: please report it with %s\n",
			o->model);
		return;
	}
	fprintf(stderr, "dlcc: note: in pass %s\n", failed->pass);
	if (!job_import(&job))
		return;
	/* A second bug on the way there is not reported again. */
	job.ctx->diag.bug_hook = NULL;
	job.ctx->target = codegen_target(job.ctx, o->target, o->cpu,
					 o->features,
					  o->march);
	struct pipeline_options po = {
		.passes = arena_str(&job.ctx->perm, all, (size_t)(rest - all)),
		.level = o->level, .out = stderr,
	};

	if (!job.ctx->target || (*po.passes && !pipeline_run(job.m, &po)))
		return;
	const char *path = o->run ? "dlcc-bug.dl"
				  : arena_fmt(&job.ctx->perm, "%s.bug.dl",
					      o->output);
	char *text = module_print(job.m);
	struct output out;

	output_open(&out, path);
	output_write(&out, text, strlen(text));
	output_commit(&out, 1);
	free(text);
	show_command(o, path, rest);
	job_free(&job);
}
