/* SPDX-License-Identifier: Apache-2.0 */
#include "ptx.h"
const struct special specials_mma[] = { { 0 } };
