/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognizes digits on the GPU when the machine has one, else on the CPU.
 *
 *	digits FILE	lines of a digit and 64 pixels from 0 to 16
 */
#include <stdio.h>

#include "digits_cpu.h"
#include "digits_gpu.h"

#define PIXELS DIGITS_CPU_IN_IMAGE_ELEMS
#define CLASSES DIGITS_CPU_OUT_SCORES_ELEMS

static _Alignas(64) unsigned char workspace[DIGITS_CPU_WORKSPACE_BYTES];

static int read_image(FILE *f, float *image, int *digit)
{
	if (fscanf(f, "%d", digit) != 1)
		return 0;
	for (int i = 0; i < PIXELS; i++) {
		if (fscanf(f, ",%f", &image[i]) != 1)
			return 0;
		image[i] /= 16;
	}
	return 1;
}

int main(int argc, char **argv)
{
	FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
	float image[PIXELS], scores[CLASSES];
	int digit, n = 0, right = 0;
	char why[256];

	if (!f) {
		fprintf(stderr, "usage: digits FILE\n");
		return 2;
	}
	struct dlrt_gpu *gpu = digits_gpu_open(0, NULL, why, sizeof(why));

	if (!gpu)
		printf("on the CPU: %s\n", why);
	for (; read_image(f, image, &digit); n++) {
		int best = 0;
		int32_t ret = gpu ? digits_gpu_run(image, scores, gpu)
				  : digits_cpu_run(image, scores, workspace);

		if (ret) {
			fprintf(stderr, "%s: %s\n", dlrt_status_text(ret),
				gpu ? dlrt_gpu_message(gpu) : "");
			return 1;
		}
		for (int i = 1; i < CLASSES; i++)
			if (scores[i] > scores[best])
				best = i;
		right += best == digit;
	}
	dlrt_gpu_close(gpu);
	fclose(f);
	printf("%d of %d right\n", right, n);
	return 0;
}
