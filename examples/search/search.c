/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads lines and prints, for each query, the ones nearest in meaning.
 *
 * Usage: search VOCABULARY LINES <QUERIES
 *        search VOCABULARY <LINES      prints ids and embeddings instead
 */
#include "minilm.h"
#include "tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 256		/* what the model was trained for */
#define WIDTH MINILM_OUT_EMBEDDING_ELEMS
#define NEAREST 3

struct engine {
	struct vocabulary *vocabulary;
	struct dlrt_pool *pool;
	void *workspace;
	size_t workspace_bytes;
};

struct line {
	char *text;
	float embedding[WIDTH];
};

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "search: %s: %s\n", what, why);
	exit(5);
}

static void engine_open(struct engine *e, const char *vocabulary)
{
	e->vocabulary = vocabulary_read(vocabulary);
	if (!e->vocabulary)
		fail(vocabulary, errno ? strerror(errno) : "no vocabulary");
	e->pool = dlrt_pool_create(0);
	/* A shorter sentence never needs more. */
	e->workspace_bytes = minilm_workspace_bytes(TOKENS);
	if (posix_memalign(&e->workspace, MINILM_WORKSPACE_ALIGN,
			   e->workspace_bytes + MINILM_WORKSPACE_ALIGN))
		fail("workspace", "out of memory");
}

static void engine_close(struct engine *e)
{
	vocabulary_free(e->vocabulary);
	dlrt_pool_destroy(e->pool);
	free(e->workspace);
}

/* Returns the number of tokens, whose ids are stored too. */
static size_t embed(const struct engine *e, const char *text, int64_t *ids,
		    float embedding[WIDTH])
{
	size_t n = tokenize(e->vocabulary, text, ids, TOKENS);
	int32_t ret = minilm_run_pool(e->pool, (int64_t)n, ids, embedding,
				      e->workspace, e->workspace_bytes);

	if (ret != DLRT_OK)
		fail("model", dlrt_status_text(ret));
	return n;
}

/* The next line without its end, or NULL; the caller frees it. */
static char *line_take(FILE *f)
{
	char *text = NULL;
	size_t room = 0;

	if (getline(&text, &room, f) < 0) {
		free(text);
		return NULL;
	}
	text[strcspn(text, "\r\n")] = 0;
	return text;
}

static void embeddings_print(const struct engine *e)
{
	float embedding[WIDTH];
	int64_t ids[TOKENS];
	char *text;

	while ((text = line_take(stdin))) {
		size_t n = embed(e, text, ids, embedding);

		for (size_t i = 0; i < n; i++)
			printf("%lld%c", (long long)ids[i],
			       i + 1 < n ? ' ' : '\n');
		for (int i = 0; i < WIDTH; i++)
			printf("%.9g%c", embedding[i],
			       i + 1 < WIDTH ? ' ' : '\n');
		free(text);
	}
}

static struct line *lines_read(const struct engine *e, const char *path,
			       size_t *n)
{
	FILE *f = fopen(path, "r");
	struct line *lines = NULL;
	int64_t ids[TOKENS];
	char *text;

	if (!f)
		fail(path, strerror(errno));
	for (*n = 0; (text = line_take(f)); (*n)++) {
		lines = realloc(lines, (*n + 1) * sizeof(*lines));
		if (!lines)
			fail(path, "out of memory");
		lines[*n].text = text;
		embed(e, text, ids, lines[*n].embedding);
	}
	fclose(f);
	return lines;
}

/* Both are of length one, so this is the cosine of their angle. */
static float dot(const float *a, const float *b)
{
	float sum = 0;

	for (int i = 0; i < WIDTH; i++)
		sum += a[i] * b[i];
	return sum;
}

static void nearest_print(const struct line *lines, size_t n,
			  const float query[WIDTH])
{
	size_t best[NEAREST];
	float score[NEAREST];
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		float s = dot(lines[i].embedding, query);
		size_t at = found;

		while (at > 0 && score[at - 1] < s)
			at--;
		if (at >= NEAREST)
			continue;
		found += found < NEAREST;
		for (size_t k = found - 1; k > at; k--) {
			best[k] = best[k - 1];
			score[k] = score[k - 1];
		}
		best[at] = i;
		score[at] = s;
	}
	for (size_t k = 0; k < found; k++)
		printf("  %.3f  %s\n", score[k], lines[best[k]].text);
}

static void queries_answer(const struct engine *e, struct line *lines,
			   size_t n)
{
	float embedding[WIDTH];
	int64_t ids[TOKENS];
	char *text;

	while ((text = line_take(stdin))) {
		embed(e, text, ids, embedding);
		printf("%s\n", text);
		nearest_print(lines, n, embedding);
		free(text);
	}
}

int main(int argc, char **argv)
{
	struct engine e = { 0 };
	struct line *lines;
	size_t n;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: search VOCABULARY [LINES]\n");
		return 1;
	}
	errno = 0;
	engine_open(&e, argv[1]);
	if (argc == 2) {
		embeddings_print(&e);
	} else {
		lines = lines_read(&e, argv[2], &n);
		queries_answer(&e, lines, n);
		for (size_t i = 0; i < n; i++)
			free(lines[i].text);
		free(lines);
	}
	engine_close(&e);
	return 0;
}
