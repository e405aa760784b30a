/* SPDX-License-Identifier: Apache-2.0 */
/* Calls a compiled model once, on a thread pool. */
#include "digits.h"

#include <stdio.h>

int main(void)
{
	static _Alignas(64) unsigned char workspace[DIGITS_WORKSPACE_BYTES + 1];
	float image[DIGITS_IN_IMAGE_ELEMS] = { 0 };
	float scores[DIGITS_OUT_SCORES_ELEMS];
	struct dlrt_pool *pool = dlrt_pool_create(0);
	int32_t ret;

	/* A vertical stroke. */
	for (int row = 1; row < 7; row++)
		image[row * 8 + 3] = image[row * 8 + 4] = 1;
	ret = digits_run_pool(pool, image, scores, workspace);
	dlrt_pool_destroy(pool);
	if (ret != DLRT_OK) {
		fprintf(stderr, "digits: %s\n", dlrt_status_text(ret));
		return 1;
	}
	for (int i = 0; i < DIGITS_OUT_SCORES_ELEMS; i++)
		printf("%d %8.3f\n", i, scores[i]);
	return 0;
}
