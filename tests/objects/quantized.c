/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One model twice: floats for the caller (real.h), and 8-bit numbers that the
 * header's own functions make (net.h).  Both give the same bits.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "net.h"
#include "real.h"

enum { N = 4096 };

static float x[N], b[N];
static int failed;

static void expect(int ok, const char *what, int i)
{
	if (ok)
		return;
	printf("%s differs at %d: x %.9g, b %.9g\n", what, i, x[i], b[i]);
	failed = 1;
}

/* All integers of 8 bits and the halves between, beyond the range, too, with
 * what is next to them; then what is no such number. */
static void fill(float *v, float scale, int shift)
{
	static const float odd[] = {
		NAN, -NAN, INFINITY, -INFINITY, 3e9f, -3e9f, 3e38f, -3e38f,
		0.0f, -0.0f, 1e-45f, -1e-45f, 1e-38f,
	};
	unsigned n = 0, seed = 1;

	for (int k = -640; k <= 640; k++) {
		float half = (float)k / 2 * scale;

		v[n++] = half;
		v[n++] = nextafterf(half, INFINITY);
		v[n++] = nextafterf(half, -INFINITY);
	}
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
		v[n++] = odd[i];
	while (n < N) {
		seed = seed * 1664525 + 1013904223;
		v[n++] = ((float)(seed >> 8) / (1 << 24) - 0.5f) * 300 * scale;
	}
	/* Rare values of one input meet common ones of the other. */
	for (int i = 0; shift && i < N / 2; i++) {
		float t = v[i];

		v[i] = v[N - 1 - i];
		v[N - 1 - i] = t;
	}
}

static void check_table(void)
{
	const struct dlrt_tensor *in = net_model.inputs;
	const struct dlrt_tensor *out = net_model.outputs;

	expect(net_model.abi == DLRT_ABI_VERSION &&
	       net_model.size == sizeof(net_model), "the table", 0);
	expect(in[0].scale == NET_IN_X_SCALE && in[0].zero_point == -3 &&
	       in[0].axis == -1 && in[0].dtype == 3, "x in the table", 0);
	expect(in[1].scale == NET_IN_B_SCALE && in[1].zero_point == 131 &&
	       in[1].dtype == 2, "b in the table", 0);
	expect(out[1].scale == NET_OUT_Z_SCALE && out[1].zero_point == 127,
	       "z in the table", 0);
	expect(out[2].scale == 0 && out[2].dtype == 1, "sum in the table", 0);
	expect(real_model.inputs[0].scale == 0, "a float in the table", 0);
}

int main(void)
{
	static _Alignas(64) unsigned char ws[1 << 20];
	static float y[N], z[N], sum[N], qsum[N];
	static int8_t xq[N], zq[N];
	static uint8_t bq[N], yq[N];

	fill(x, NET_IN_X_SCALE, 0);
	fill(b, NET_IN_B_SCALE, 1);
	for (int i = 0; i < N; i++) {
		xq[i] = net_quantize_x(x[i]);
		bq[i] = net_quantize_b(b[i]);
	}
	if (real_workspace_bytes(N) > sizeof(ws) ||
	    net_workspace_bytes(N) > sizeof(ws) ||
	    real_run(N, x, b, y, z, sum, ws, sizeof(ws)) ||
	    net_run(N, xq, bq, yq, zq, qsum, ws, sizeof(ws)))
		return 1;
	for (int i = 0; i < N; i++) {
		float yf = net_dequantize_y(yq[i]);
		float zf = net_dequantize_z(zq[i]);

		expect(!memcmp(&yf, &y[i], sizeof(yf)), "y", i);
		expect(!memcmp(&zf, &z[i], sizeof(zf)), "z", i);
		expect(!memcmp(&qsum[i], &sum[i], sizeof(*sum)), "sum", i);
	}
	check_table();
	return failed;
}
