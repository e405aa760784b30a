/* SPDX-License-Identifier: Apache-2.0 */
/* BERT's tokenizer for lower-case models: words, then pieces of words. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

struct vocabulary;

/* Reads a file of one piece per line; NULL when it cannot, with errno. */
struct vocabulary *vocabulary_read(const char *path);
void vocabulary_free(struct vocabulary *v);

/*
 * Writes at most max ids for text, which is UTF-8: [CLS], pieces, [SEP].
 * Longer texts lose their end.  Returns how many; max is at least 2.
 */
size_t tokenize(const struct vocabulary *v, const char *text, int64_t *ids,
		size_t max);

#endif
