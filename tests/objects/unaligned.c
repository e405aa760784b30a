/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of the caller's at any address: the same bits everywhere. */
#include <stdio.h>
#include <string.h>

#include "digits.h"

enum { MOST = 8 };

static _Alignas(64) unsigned char workspace[DIGITS_WORKSPACE_BYTES + 1];
static unsigned char in[DIGITS_IN_IMAGE_ELEMS * sizeof(float) + MOST];
static unsigned char out[10 * sizeof(float) + MOST];

int main(void)
{
	float image[DIGITS_IN_IMAGE_ELEMS], first[10];

	for (int i = 0; i < (int)DIGITS_IN_IMAGE_ELEMS; i++)
		image[i] = (float)(i % 17);
	for (int k = 0; k < MOST; k++) {
		const void *inputs[] = { in + k };
		void *outputs[] = { out + k };
		struct dlrt_call call = { .inputs = inputs,
					  .outputs = outputs,
					  .workspace = workspace,
					  .workspace_bytes =
						  sizeof(workspace) };

		memcpy(in + k, image, sizeof(image));
		if (digits_model.invoke(&call))
			return 1;
		if (!k)
			memcpy(first, out, sizeof(first));
		if (memcmp(first, out + k, sizeof(first))) {
			printf("other numbers at %d\n", k);
			return 1;
		}
	}
	return 0;
}
