/* SPDX-License-Identifier: Apache-2.0 */
/* dlcc run: compiles a model into this process, or evaluates it, and calls
 * it. */
#include "run.h"

#include <string.h>

void run_use_table(struct run *r, const struct dlrt_model *m)
{
	r->n_in = m->n_inputs;
	r->n_out = m->n_outputs;
	r->n_dim = m->n_dims;
	r->in_type = m->inputs;
	r->out_type = m->outputs;
	r->dim_name = m->dim_names;
}

/* The status as one line that names the node, and the exit status. */
static int report(const struct options *o, int32_t ret, const char *node)
{
	if (!ret)
		return EXIT_OK;
	fprintf(stderr, "%s: error: the model returned: %s%s%s%s\n", o->model,
		dlrt_status_text(ret), node && *node ? " in '" : "",
		node ? node : "", node && *node ? "'" : "");
	return EXIT_STATUS;
}

int run_report(struct run *r, const struct loaded *l, int32_t ret)
{
	const char *node = NULL;

	if (DLRT_NODE(ret) && DLRT_NODE(ret) < l->model->n_nodes)
		node = arena_fmt(&r->a, "%s",
				 l->model->node_names[DLRT_NODE(ret)]);
	return report(r->o, ret, node);
}

static int run_compiled(struct run *r)
{
	if (!is_object(r->o->model) &&
	    (!job_import(&r->job) || !job_compile(&r->job, CODEGEN_OBJ)))
		return job_status(&r->job);
	struct loaded l = model_load(r);

	run_use_table(r, l.model);
	run_inputs(r);
	/* The names in out_type live in the object: it stays open. */
	return run_report(r, &l, run_call(r, &l));
}

static int run_evaluated(struct run *r)
{
	int32_t ret = 0;

	if (is_object(r->o->model))
		fatal(EXIT_USAGE, "--eval wants a model, not an object");
	if (!job_import(&r->job) || !eval_prepare(r))
		return job_status(&r->job);
	run_inputs(r);
	if (!eval_run(r, &ret))
		return job_status(&r->job);
	return report(r->o, ret, NULL);
}

int run_main(const struct options *o)
{
	struct options own = *o;
	struct run r = { .o = &own, .job = { .o = &own, .prefix = "run" } };

	/* The code runs here and nowhere else. */
	if (!own.target && !own.cpu)
		own.cpu = "native";
	int status = own.eval ? run_evaluated(&r) : run_compiled(&r);

	if (!status && own.save)
		results_save(&r);
	if (!status && r.want)
		status = results_compare(&r) ? EXIT_OK : EXIT_DIFFER;
	else if (!status && !own.bench && !own.save)
		results_print(&r);
	if (fflush(stdout) || ferror(stdout))
		fatal(EXIT_IO, "cannot write to the standard output");
	job_free(&r.job);
	arena_free(&r.a);
	return status;
}
