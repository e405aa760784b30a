/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, by the rows of options.def. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "dlrt.h"
#include "ir/op.h"
#include "passes/pass.h"

enum { COMPILE = 1, RUN = 2, ONE_DASH = 4, CALIBRATE = 8, INSPECT = 16 };

enum option_id {
	OPT_BASE = 256,		/* beyond the short options */
#define OPTION(id, name, letter, arg, commands, help) OPT_##id,
#include "options.def"
#undef OPTION
};

static const struct row {
	enum option_id id;
	const char *name;
	char letter;
	const char *arg;
	unsigned commands;
	const char *help;
} rows[] = {
#define OPTION(id, name, letter, arg, commands, help) \
	{ OPT_##id, name, letter, arg, commands, help },
#include "options.def"
#undef OPTION
};

static const struct emit_row {
	const char *name, *suffix;
} emits[] = {
#define EMIT(id, name, suffix) { name, suffix },
	EMIT_KINDS
#undef EMIT
};

NORETURN static void usage(const char *fmt, ...) PRINTF_LIKE(1, 2);
NORETURN static void usage(const char *fmt, ...)
{
	va_list ap;

	fputs("dlcc: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; see dlcc --help\n", stderr);
	exit(EXIT_USAGE);
}

/* ---- what options print --------------------------------------------- */

NORETURN static void finish_stdout(void)
{
	if (ferror(stdout) || fflush(stdout))
		fatal(EXIT_IO, "cannot write to the standard output");
	exit(EXIT_OK);
}

static void help_row(const struct row *r)
{
	char left[64];
	const char *dash = r->commands & ONE_DASH ? "-" : "--";

	if (r->letter)
		snprintf(left, sizeof(left), "-%c, %s%s%s%s", r->letter, dash,
			 r->name, r->arg ? "=" : "", r->arg ? r->arg : "");
	else
		snprintf(left, sizeof(left), "    %s%s%s%s", dash, r->name,
			 r->arg ? "=" : "", r->arg ? r->arg : "");
	printf("  %-26s %s\n", left, r->help);
}

NORETURN static void help(unsigned command)
{
	if (command == RUN)
		puts("usage: dlcc run [options] MODEL\n"
		     "Compiles MODEL (.onnx, .dl), or takes an object (.o, .so)"
		     " made by dlcc, and runs it.\n");
	else if (command == CALIBRATE)
		puts("usage: dlcc calibrate --data=DIR [options] MODEL\n"
		     "       dlcc calibrate --merge -o FILE PROFILE...\n"
		     "Runs MODEL over samples and writes what values it had,"
		     " for --quantize.\n");
	else if (command == INSPECT)
		puts("usage: dlcc inspect --quant [options] MODEL\n"
		     "Says what MODEL holds as integers.\n");
	else
		puts("usage: dlcc [options] MODEL\n"
		     "       dlcc run [options] MODEL\n"
		     "       dlcc calibrate [options] MODEL\n"
		     "       dlcc inspect --quant [options] MODEL\n"
		     "Compiles MODEL (.onnx or .dl) to an object and a C "
		     "header.\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].commands & command)
			help_row(&rows[i]);
	puts("\nexit status: 0 done; 1 wrong usage; 2 invalid model; "
	     "3 unsupported; 4 a limit;\n5 input or output; 6 the model "
	     "returned an error status; 7 an accuracy bound\nwas not met; "
	     "8 outputs differ; 70 a bug of dlcc");
	finish_stdout();
}

/* The command as a bit of the rows' sets. */
static unsigned command_of(const struct options *o)
{
	return o->run ? RUN
	       : o->calibrate ? CALIBRATE
	       : o->inspect ? INSPECT : COMPILE;
}

NORETURN static void version(void)
{
	printf("dlcc %s\nLLVM %s\nruntime interface %d\n", DLCC_VERSION,
	       codegen_llvm_version(), DLRT_ABI_VERSION);
	finish_stdout();
}

NORETURN static void list_ops(void)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		if (d->domain && d->since)
			printf("%s%s%s %d\n", d->domain, *d->domain ? "." : "",
			       op_type(d), d->since);
	}
	finish_stdout();
}

NORETURN static void list_passes(void)
{
	pipeline_list(stdout);
	for (int i = 0; i <= 3; i++)
		printf("-O%d: %s\n", i, pipeline_text(i, NULL));
	finish_stdout();
}

/* ---- parsing -------------------------------------------------------- */

static int64_t parse_int(const char *option, const char *s, int64_t lo,
			 int64_t hi)
{
	char *end;

	errno = 0;
	long long v = strtoll(s, &end, 10);

	if (errno || end == s || *end || v < lo || v > hi)
		usage("--%s wants a number from %lld to %lld, not '%s'",
		      option, (long long)lo, (long long)hi, s);
	return v;
}

static double parse_float(const char *option, const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !isfinite(v) || v < 0)
		usage("--%s wants a number >= 0, not '%s'", option, s);
	return v;
}

/* Of a number from 0 to 1. */
static int64_t parse_hundredths(const char *option, const char *s)
{
	double v = parse_float(option, s);

	if (v > 1)
		usage("--%s wants a number from 0 to 1, not '%s'", option, s);
	return (int64_t)(v * 100 + 0.5);
}

static void parse_dim(struct options *o, struct arena *a, const char *s)
{
	const char *eq = strrchr(s, '=');

	if (!eq || eq == s)
		usage("--dim wants NAME=N, not '%s'", s);
	o->dim[o->n_dim++] = (struct frontend_dim){
		.name = arena_str(a, s, (size_t)(eq - s)),
		.value = parse_int("dim", eq + 1, 0, INT64_MAX),
	};
}

static enum fp32_form parse_fp32(const char *s)
{
	static const char *const names[] = { "ieee", "tf32", "tf32x3" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(s, names[i]))
			return (enum fp32_form)i;
	usage("--fp32=%s is none of ieee, tf32 and tf32x3", s);
}

static enum emit parse_emit(const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(emits); i++)
		if (!strcmp(s, emits[i].name))
			return (enum emit)i;
	usage("--emit does not know '%s'", s);
}

static int parse_winograd(const char *s)
{
	static const struct {
		const char *name;
		int m;
	} form[] = { { "auto", -1 }, { "off", 0 }, { "f2", 2 }, { "f4", 4 } };

	for (size_t i = 0; i < ARRAY_SIZE(form); i++)
		if (!strcmp(s, form[i].name))
			return form[i].m;
	usage("--winograd does not know '%s'", s);
}

static void check_prefix(const char *s)
{
	bool ok = isalpha((unsigned char)*s);

	for (const char *p = s; *p && ok; p++)
		ok = isalnum((unsigned char)*p) || *p == '_';
	if (!ok || strlen(s) > 64)
		usage("--prefix wants a letter, then letters, digits and _, "
		      "at most 64, not '%s'", s);
}

/* Options of dlcc run alone. */
static bool set_run(struct options *o, enum option_id id, const char *arg)
{
	switch ((int)id) {
	case OPT_INPUT: o->input[o->n_input++] = arg; return true;
	case OPT_DATA: o->data = arg; return true;
	case OPT_RTOL: o->rtol = parse_float("rtol", arg); return true;
	case OPT_ATOL: o->atol = parse_float("atol", arg); return true;
	case OPT_SEED:
		o->seed = (uint64_t)parse_int("seed", arg, 0, INT64_MAX);
		return true;
	case OPT_SAVE: o->save = arg; return true;
	case OPT_SAVE_PB: o->save_pb = true; return true;
	case OPT_PRINT:
		o->print = parse_int("print", arg, 0, INT64_MAX);
		return true;
	case OPT_BENCH: o->bench = true; return true;
	case OPT_THREADS:
		o->threads = (unsigned)parse_int("threads", arg, 0, 4096);
		return true;
	case OPT_EVAL: o->eval = true; return true;
	default: return false;
	}
}

static bool parse_switch(const char *option, const char *s)
{
	if (strcmp(s, "on") && strcmp(s, "off"))
		usage("--%s wants on or off, not '%s'", option, s);
	return !strcmp(s, "on");
}

/* I/N: every N-th sample, from the I-th on. */
static void parse_part(struct options *o, const char *s)
{
	char *slash = NULL, *end = NULL;
	long long i = strtoll(s, &slash, 10), n = 0;

	if (*slash == '/')
		n = strtoll(slash + 1, &end, 10);
	if (!end || *end || n < 1 || n > 1000000 || i < 1 || i > n)
		usage("--part wants I/N with I from 1 to N, not '%s'", s);
	o->part = (size_t)i - 1;
	o->n_part = (size_t)n;
}

/* Options about quantization. */
static bool set_quantize(struct options *o, enum option_id id,
			 const char *arg)
{
	switch ((int)id) {
	case OPT_QUANTIZE: o->quantize = arg; return true;
	case OPT_PROFILE: o->profile = arg; return true;
	case OPT_KEEP_FLOAT: o->keep[o->n_keep++] = arg; return true;
	case OPT_SPLIT:
		o->split = parse_int("split", arg, 0, 1024);
		return true;
	case OPT_SMOOTH:
		o->smooth = parse_hundredths("smooth", arg);
		return true;
	case OPT_RANGE: o->range = arg; return true;
	case OPT_CLE: o->no_cle = !parse_switch("cle", arg); return true;
	case OPT_MAX_ERROR: o->max_error = arg; return true;
	case OPT_MAX_DROP: o->max_drop = arg; return true;
	case OPT_LABELS: o->labels = arg; return true;
	case OPT_QUANT_REPORT: o->quant_report = arg; return true;
	case OPT_GATE:
		if (strcmp(arg, "fail") && strcmp(arg, "warn"))
			usage("--gate wants fail or warn, not '%s'", arg);
		o->gate_warn = !strcmp(arg, "warn");
		return true;
	case OPT_GATE_BUDGET:
		o->gate_budget = parse_int("gate-budget", arg, 0, 1000000);
		return true;
	case OPT_REQUANT:
		if (strcmp(arg, "f32") && strcmp(arg, "q31"))
			usage("--requant wants f32 or q31, not '%s'", arg);
		o->q31 = !strcmp(arg, "q31");
		return true;
	case OPT_PRECISION: o->precision = arg; return true;
	case OPT_IO:
		if (strcmp(arg, "float") && strcmp(arg, "quantized"))
			usage("--io wants float or quantized, not '%s'", arg);
		o->io_quantized = !strcmp(arg, "quantized");
		return true;
	case OPT_HESSIAN: o->hessian = true; return true;
	case OPT_QUANT: o->quant = true; return true;
	case OPT_MERGE: o->merge = true; return true;
	case OPT_PART: parse_part(o, arg); return true;
	default: return false;
	}
}

static void set_option(struct options *o, struct arena *a, enum option_id id,
		       const char *arg)
{
	if (set_run(o, id, arg) || set_quantize(o, id, arg))
		return;
	switch ((int)id) {
	case OPT_OUTPUT: o->output = arg; break;
	case OPT_EMIT: o->emit = parse_emit(arg); break;
	case OPT_PREFIX: check_prefix(arg); o->prefix = arg; break;
	case OPT_HEADER: o->header = arg; break;
	case OPT_WEIGHTS: o->weights = arg; break;
	case OPT_DIM: parse_dim(o, a, arg); break;
	case OPT_TARGET: o->target = arg; break;
	case OPT_MCPU: o->cpu = arg; break;
	case OPT_MATTR: o->features = arg; break;
	case OPT_FP32: o->fp32 = parse_fp32(arg); break;
	case OPT_MARCH: o->march = arg; break;
	case OPT_NVRTC: o->nvrtc = arg; break;
	case OPT_LEVEL:
		o->level = (int)parse_int("optimize", arg, 0, 3);
		break;
	case OPT_WINOGRAD: o->winograd = parse_winograd(arg); break;
	case OPT_STRICT_QDQ: o->strict_qdq = true; break;
	case OPT_PASSES: o->passes = arg; break;
	case OPT_PRINT_AFTER: o->print_after = arg; break;
	case OPT_VERIFY_EACH: o->verify_each = true; break;
	case OPT_TIME_PASSES: o->time_passes = true; break;
	case OPT_BLOBS: o->blobs = arg; break;
	case OPT_SAVE_BLOBS: o->save_blobs = arg; break;
	case OPT_DATA_ROOT: o->data_root = arg; break;
	case OPT_LENIENT: o->lenient = true; break;
	case OPT_CC: o->cc = arg; break;
	case OPT_DEPS: o->deps = true; break;
	case OPT_DEPFILE: o->deps = true; o->depfile = arg; break;
	case OPT_VERBOSE: o->verbose = true; break;
	case OPT_LIST_OPS: list_ops();
	case OPT_LIST_PASSES: list_passes();
	case OPT_HELP: help(command_of(o));
	case OPT_VERSION: version();
	}
}

/* The tables of getopt_long() for one command. */
struct tables {
	struct option lng[ARRAY_SIZE(rows) + 1];
	char letters[2 * ARRAY_SIZE(rows) + 2];
};

static struct tables make_tables(unsigned command)
{
	struct tables t = { .letters = ":" };
	size_t n = 0, k = 1;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (!(r->commands & command))
			continue;
		t.lng[n++] = (struct option){
			.name = r->name,
			.has_arg = r->arg ? required_argument : no_argument,
			.val = (int)r->id,
		};
		if (r->letter) {
			t.letters[k++] = r->letter;
			if (r->arg)
				t.letters[k++] = ':';
		}
	}
	return t;
}

/* Does the next argument belong to this one?  "-o" and "--output" do so. */
static bool takes_next(const char *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (!r->arg || arg[0] != '-')
			continue;
		if (r->letter && arg[1] == r->letter && !arg[2])
			return true;
		if (!strcmp(arg + 1 + (arg[1] == '-'), r->name))
			return true;
	}
	return false;
}

/* "-mcpu=native" as "--mcpu=native", which getopt_long() understands. */
static char *two_dashes(struct arena *a, char *arg)
{
	if (arg[0] != '-' || arg[1] == '-')
		return arg;
	size_t n = strcspn(arg + 1, "=");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].commands & ONE_DASH && strlen(rows[i].name) == n &&
		    !memcmp(rows[i].name, arg + 1, n))
			return arena_fmt(a, "-%s", arg);
	return arg;
}

static enum option_id by_letter(int letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].letter == letter)
			return rows[i].id;
	return OPT_BASE;
}

/* The option that getopt_long() complains about, for the message. */
static const char *bad_option(struct arena *a, char **argv)
{
	if (optopt && optopt < OPT_BASE)
		return arena_fmt(a, "-%c", optopt);
	return argv[optind - 1];
}

static void parse_all(struct options *o, struct arena *a, int argc,
		      char **argv)
{
	struct tables t = make_tables(command_of(o));
	int id;

	opterr = 0;
	while ((id = getopt_long(argc, argv, t.letters, t.lng, NULL)) != -1) {
		if (id == '?')
			usage("unknown option '%s'", bad_option(a, argv));
		if (id == ':')
			usage("option '%s' wants an argument",
			      argv[optind - 1]);
		set_option(o, a, id < OPT_BASE ? by_letter(id)
					       : (enum option_id)id, optarg);
	}
	if (optind == argc)
		usage("no model is given");
	o->model_list = (const char **)argv + optind;
	o->n_model = (unsigned)(argc - optind);
	if (optind + 1 < argc && !o->merge)
		usage("one model at a time: '%s' is too many",
		      argv[optind + 1]);
	o->model = argv[optind];
}

/* ---- what follows from the options ---------------------------------- */

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n > k && !strcmp(s + n - k, suffix);
}

static const char *stem(struct arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');

	return arena_str(a, base, dot && dot != base ? (size_t)(dot - base)
						     : strlen(base));
}

static void choose_output(struct options *o, struct arena *a)
{
	bool to_stdout = o->output && !strcmp(o->output, "-");

	if (o->emit == EMIT_UNSET && o->output && !to_stdout)
		for (size_t i = 0; i < ARRAY_SIZE(emits); i++)
			if (ends_with(o->output, emits[i].suffix))
				o->emit = (enum emit)i;
	if (o->emit == EMIT_UNSET)
		o->emit = EMIT_OBJ;
	if (!o->output)
		o->output = arena_fmt(a, "%s%s", stem(a, o->model),
				      emits[o->emit].suffix);
	if (!o->prefix) {
		const char *s = stem(a, to_stdout ? o->model : o->output);
		char *p = arena_fmt(a, "%s%.60s",
				    isalpha((unsigned char)*s) ? "" : "m", s);

		for (char *q = p; *q; q++)
			if (!isalnum((unsigned char)*q))
				*q = '_';
		o->prefix = p;
	}
}

struct options options_parse(struct arena *a, int argc, char **argv)
{
	struct options o = {
		.emit = EMIT_UNSET,
		.level = 2,
		.winograd = -1,
		.cc = "cc",
		.rtol = 1e-3,
		.atol = 1e-7,
		.threads = 1,
		.print = 16,
		.gate_budget = 600,
		.n_part = 1,
	};

	argv = response_expand(a, &argc, argv);
	o.run = argc > 1 && !strcmp(argv[1], "run");
	o.calibrate = argc > 1 && !strcmp(argv[1], "calibrate");
	o.inspect = argc > 1 && !strcmp(argv[1], "inspect");
	if (o.run || o.calibrate || o.inspect) {
		argc--;
		argv++;
	}
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		bool skip = takes_next(argv[i]);

		argv[i] = two_dashes(a, argv[i]);
		i += skip;
	}
	o.dim = NEW_ARRAY(a, (size_t)argc + 1, struct frontend_dim);
	o.input = NEW_ARRAY(a, (size_t)argc + 1, const char *);
	o.keep = NEW_ARRAY(a, (size_t)argc + 1, const char *);
	parse_all(&o, a, argc, argv);
	if (!*o.model)
		usage("the model's name is empty");
	if (o.inspect && !o.quant)
		usage("inspect needs --quant");
	if (!o.run && !o.calibrate && !o.inspect)
		choose_output(&o, a);
	quantize_check(&o);
	if (o.save_blobs && o.emit != EMIT_IR && o.emit != EMIT_NEST &&
	    o.emit != EMIT_LOOP)
		usage("--save-blobs needs --emit=ir, nest or loop");
	return o;
}
