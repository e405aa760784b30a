/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of com.microsoft that ONNX took over: their newest form in ONNX's
 * own domain does all that they do. */
#include "ir/op.h"

#define SHARED(type_) .domain = "com.microsoft", .since = 1, \
	.type = type_, .shared = true

OP(MicrosoftDequantizeLinear, SHARED("DequantizeLinear"));
OP(MicrosoftGelu, SHARED("Gelu"));
OP(MicrosoftQuantizeLinear, SHARED("QuantizeLinear"));
