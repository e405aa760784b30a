/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a library of an object: -include P.h -DMODEL=P_model. */
DLRT_API const struct dlrt_model *test_model(void);

const struct dlrt_model *test_model(void)
{
	return &MODEL;
}
