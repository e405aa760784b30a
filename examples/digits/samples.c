/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes images of digits as samples for dlcc calibrate and for its accuracy
 * gate: FOLDER/<n>/input_0.npy, and FOLDER/labels with the digits.
 *
 * Usage: samples TEST.csv FIRST COUNT FOLDER
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PIXELS = 64, HEADER = 128 };

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "wb");

	if (!f) {
		perror(path);
		exit(5);
	}
	return f;
}

static void make_folder(const char *path)
{
	if (mkdir(path, 0777) && errno != EEXIST) {
		perror(path);
		exit(5);
	}
}

/* NumPy's format, version 1.0, for a machine that is little-endian. */
static void write_image(const char *path, const float *image)
{
	static const char dict[] = "{'descr': '<f4', 'fortran_order': False, "
				   "'shape': (1, 1, 8, 8), }";
	unsigned char head[HEADER];
	FILE *f = create(path);

	memset(head, ' ', HEADER);
	memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
	memcpy(head + 10, dict, sizeof(dict) - 1);
	head[HEADER - 1] = '\n';
	fwrite(head, 1, HEADER, f);
	fwrite(image, sizeof(*image), PIXELS, f);
	if (fclose(f)) {
		perror(path);
		exit(5);
	}
}

int main(int argc, char **argv)
{
	char path[4096];
	float image[PIXELS];
	int digit;

	if (argc != 5) {
		fprintf(stderr, "usage: samples TEST.csv FIRST COUNT FOLDER\n");
		return 1;
	}
	FILE *in = fopen(argv[1], "r");
	long first = atol(argv[2]), end = first + atol(argv[3]);

	if (!in) {
		perror(argv[1]);
		return 5;
	}
	make_folder(argv[4]);
	snprintf(path, sizeof(path), "%s/labels", argv[4]);
	FILE *labels = create(path);

	for (long n = 0; n < end && fscanf(in, "%d", &digit) == 1; n++) {
		for (int i = 0; i < PIXELS; i++) {
			if (fscanf(in, ",%f", &image[i]) != 1)
				return 2;
			image[i] /= 16;
		}
		if (n < first)
			continue;
		fprintf(labels, "%d\n", digit);
		snprintf(path, sizeof(path), "%s/%05ld", argv[4], n);
		make_folder(path);
		snprintf(path, sizeof(path), "%s/%05ld/input_0.npy", argv[4],
			 n);
		write_image(path, image);
	}
	fclose(in);
	return fclose(labels) ? 5 : 0;
}
