/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads images of digits, asks the compiled network for each and prints how
 * often it is right.
 *
 * Usage: digits [-v | -q] TEST.csv [FIRST]
 * A line holds the digit and 64 pixels of 0 to 16; those before line FIRST,
 * counted from 0, are skipped.  -v prints each answer, -q no image.
 */
#include "digits.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIXELS DIGITS_IN_IMAGE_ELEMS
#define CLASSES DIGITS_OUT_SCORES_ELEMS

/* Returns false at the end of the file and when a line is no image. */
static bool read_image(FILE *f, int *digit, float image[PIXELS])
{
	if (fscanf(f, "%d", digit) != 1)
		return false;
	for (int i = 0; i < PIXELS; i++) {
		if (fscanf(f, ",%f", &image[i]) != 1)
			return false;
		image[i] /= 16;
	}
	return true;
}

static int largest(const float scores[CLASSES])
{
	int best = 0;

	for (int i = 1; i < CLASSES; i++)
		if (scores[i] > scores[best])
			best = i;
	return best;
}

static void print_image(const float image[PIXELS], int digit)
{
	for (int i = 0; i < PIXELS; i++) {
		putchar(" .:-=+*#@"[(int)(image[i] * 8)]);
		if (i % 8 == 7)
			putchar('\n');
	}
	printf("the network says: %d\n\n", digit);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	static alignas(64) unsigned char workspace[DIGITS_WORKSPACE_BYTES + 1];
	bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	bool quiet = argc > 1 && strcmp(argv[1], "-q") == 0;
	int at = 1 + (verbose || quiet);
	const char *path = argc > at ? argv[at] : NULL;
	long first = argc > at + 1 ? atol(argv[at + 1]) : 0;
	int digit, n = 0, right = 0;
	float image[PIXELS], scores[CLASSES];
	double start, spent = 0;
	FILE *f;

	if (!path) {
		fprintf(stderr, "usage: digits [-v | -q] TEST.csv [FIRST]\n");
		return 1;
	}
	f = fopen(path, "r");
	if (!f) {
		perror(path);
		return 5;
	}
	while (first-- > 0)
		read_image(f, &digit, image);
	for (; read_image(f, &digit, image); n++) {
		int32_t ret;

		start = seconds();
		ret = digits_run(image, scores, workspace);
		spent += seconds() - start;
		if (ret != DLRT_OK) {
			fprintf(stderr, "digits: status %d\n",
				(int)DLRT_STATUS(ret));
			return 6;
		}
		right += largest(scores) == digit;
		if (verbose)
			printf("%d %d\n", digit, largest(scores));
		else if (n < 2 && !quiet)
			print_image(image, largest(scores));
	}
	fclose(f);
	if (!n)
		return 2;
	if (!verbose)
		printf("%d of %d images right (%.1f %%), %.1f us each\n",
		       right, n, 100.0 * right / n, 1e6 * spent / n);
	return 0;
}
