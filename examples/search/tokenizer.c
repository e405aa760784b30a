/* SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer.h"

#include "unicode.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 131072		/* a power of two, well above the pieces */
#define WORD_CHARS 100		/* longer words are unknown */
#define WORD_BYTES (WORD_CHARS * 4)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct piece {
	const char *text;
	size_t size;
	int64_t id;
};

struct vocabulary {
	char *data;
	struct piece slot[SLOTS];
	int64_t unknown, first, last;	/* [UNK], [CLS], [SEP] */
};

/* A word as it grows and where its pieces go. */
struct words {
	const struct vocabulary *v;
	char text[WORD_BYTES];
	size_t size, chars;
	int64_t *ids;
	size_t n, max;
};

/* ---- vocabulary ----------------------------------------------------- */

static uint32_t hash(const char *prefix, const char *text, size_t size)
{
	uint32_t h = 2166136261u;

	for (; *prefix; prefix++)
		h = (h ^ (unsigned char)*prefix) * 16777619u;
	for (size_t i = 0; i < size; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619u;
	return h & (SLOTS - 1);
}

/* The id of prefix and text as one piece, or -1. */
static int64_t piece_find(const struct vocabulary *v, const char *prefix,
			  const char *text, size_t size)
{
	size_t before = strlen(prefix);

	for (uint32_t h = hash(prefix, text, size); v->slot[h].text;
	     h = (h + 1) & (SLOTS - 1)) {
		const struct piece *p = &v->slot[h];

		if (p->size == before + size &&
		    memcmp(p->text, prefix, before) == 0 &&
		    memcmp(p->text + before, text, size) == 0)
			return p->id;
	}
	return -1;
}

static bool pieces_add(struct vocabulary *v)
{
	char *line = v->data;

	for (int64_t id = 0; *line; id++) {
		size_t size = strcspn(line, "\r\n");
		uint32_t h = hash("", line, size);

		/* Half full: searches stay short and end. */
		if (id >= SLOTS / 2)
			return false;
		while (v->slot[h].text)
			h = (h + 1) & (SLOTS - 1);
		v->slot[h] = (struct piece){ line, size, id };
		line += size;
		line += *line == '\r';
		line += *line == '\n';
	}
	v->unknown = piece_find(v, "", "[UNK]", 5);
	v->first = piece_find(v, "", "[CLS]", 5);
	v->last = piece_find(v, "", "[SEP]", 5);
	return v->unknown >= 0 && v->first >= 0 && v->last >= 0;
}

static char *file_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *data = NULL;
	long size = -1;

	if (!f)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	rewind(f);
	if (size >= 0)
		data = calloc((size_t)size + 1, 1);
	if (data && fread(data, 1, (size_t)size, f) != (size_t)size) {
		free(data);
		data = NULL;
	}
	fclose(f);
	return data;
}

struct vocabulary *vocabulary_read(const char *path)
{
	struct vocabulary *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->data = file_read(path);
	if (v->data && pieces_add(v))
		return v;
	vocabulary_free(v);
	return NULL;
}

void vocabulary_free(struct vocabulary *v)
{
	if (v)
		free(v->data);
	free(v);
}

/* ---- characters ----------------------------------------------------- */

/* Decodes one character; a byte that begins none is U+FFFD. */
static uint32_t utf8_take(const char **text)
{
	const unsigned char *s = (const unsigned char *)*text;
	int more = s[0] < 0x80 ? 0 : s[0] >> 5 == 6 ? 1 : s[0] >> 4 == 14 ? 2 :
		s[0] >> 3 == 30 ? 3 : -1;
	uint32_t c = more <= 0 ? s[0] : s[0] & (0x3fu >> more);

	for (int i = 1; i <= more; i++) {
		if (s[i] >> 6 != 2) {
			more = -1;
			break;
		}
		c = c << 6 | (s[i] & 0x3f);
	}
	*text += more < 0 ? 1 : more + 1;
	return more < 0 ? 0xfffd : c;
}

static bool in_ranges(const uint32_t (*list)[2], size_t n, uint32_t c)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c > list[mid][1])
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && c >= list[lo][0];
}

/* Lower case without accents, or NULL when c stays as it is. */
static const char *fold(uint32_t c)
{
	size_t lo = 0, hi = COUNT(folds);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c > folds[mid].from)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < COUNT(folds) && folds[lo].from == c ? folds[lo].to : NULL;
}

/* ---- words ---------------------------------------------------------- */

static void id_add(struct words *w, int64_t id)
{
	if (w->n < w->max)
		w->ids[w->n++] = id;
}

/* Cuts the word into the longest pieces from its start; when some part of it
 * is no piece, the whole word is unknown. */
static void word_end(struct words *w)
{
	size_t n = w->n;

	if (!w->size)
		return;
	for (size_t at = 0, end; at < w->size && w->chars <= WORD_CHARS;
	     at = end) {
		int64_t id = -1;

		for (end = w->size; end > at && id < 0; end -= id < 0)
			id = piece_find(w->v, at ? "##" : "", w->text + at,
					end - at);
		if (id < 0) {
			w->chars = WORD_CHARS + 1;
			break;
		}
		id_add(w, id);
	}
	if (w->chars > WORD_CHARS) {
		w->n = n;
		id_add(w, w->v->unknown);
	}
	w->size = 0;
	w->chars = 0;
}

static void word_append(struct words *w, const char *text, size_t size)
{
	w->chars++;
	if (w->chars <= WORD_CHARS && w->size + size <= sizeof(w->text)) {
		memcpy(w->text + w->size, text, size);
		w->size += size;
	}
}

/* What a character becomes may itself be punctuation. */
static void text_append(struct words *w, const char *text, size_t size)
{
	const char *end = text + size;

	while (text < end) {
		const char *start = text;
		uint32_t c = utf8_take(&text);
		bool alone = in_ranges(words, COUNT(words), c);

		if (alone)
			word_end(w);
		word_append(w, start, (size_t)(text - start));
		if (alone)
			word_end(w);
	}
}

size_t tokenize(const struct vocabulary *v, const char *text, int64_t *ids,
		size_t max)
{
	struct words w = { .v = v, .ids = ids, .max = max - 1 };

	id_add(&w, v->first);
	while (*text) {
		const char *start = text;
		uint32_t c = utf8_take(&text);
		const char *folded;

		if (in_ranges(dropped, COUNT(dropped), c))
			continue;
		if (in_ranges(spaces, COUNT(spaces), c)) {
			word_end(&w);
			continue;
		}
		folded = fold(c);
		if (folded)
			text_append(&w, folded, strlen(folded));
		else
			text_append(&w, start, (size_t)(text - start));
	}
	word_end(&w);
	w.max = max;
	id_add(&w, v->last);
	return w.n;
}
