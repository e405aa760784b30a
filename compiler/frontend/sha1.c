/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-1 (FIPS 180-4, section 6.1), the checksum that ONNX defines for external
 * data.  It finds damage, not attacks.
 */
#include <stdio.h>
#include <string.h>

#include "frontend/internal.h"

struct sha1 {
	uint32_t h[5];
};

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void sha1_block(struct sha1 *s, const uint8_t *p)
{
	uint32_t w[80], v[5];

	for (int t = 0; t < 16; t++)
		w[t] = (uint32_t)p[4 * t] << 24 | (uint32_t)p[4 * t + 1] << 16 |
		       (uint32_t)p[4 * t + 2] << 8 | p[4 * t + 3];
	for (int t = 16; t < 80; t++)
		w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	memcpy(v, s->h, sizeof(v));
	for (int t = 0; t < 80; t++) {
		uint32_t f, k;

		if (t < 20) {
			f = (v[1] & v[2]) | (~v[1] & v[3]);
			k = 0x5a827999;
		} else if (t < 40) {
			f = v[1] ^ v[2] ^ v[3];
			k = 0x6ed9eba1;
		} else if (t < 60) {
			f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
			k = 0x8f1bbcdc;
		} else {
			f = v[1] ^ v[2] ^ v[3];
			k = 0xca62c1d6;
		}
		uint32_t next = rotate(v[0], 5) + f + v[4] + k + w[t];

		v[4] = v[3];
		v[3] = v[2];
		v[2] = rotate(v[1], 30);
		v[1] = v[0];
		v[0] = next;
	}
	for (int i = 0; i < 5; i++)
		s->h[i] += v[i];
}

bool sha1_file(const struct file *f, char hex[41])
{
	enum { CHUNK = 1 << 16 };
	struct sha1 s = { { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
			    0xc3d2e1f0 } };
	uint8_t buf[CHUNK + 128];
	int64_t at = 0;

	for (; f->size - at >= CHUNK; at += CHUNK) {
		if (!model_file_read(f, buf, at, CHUNK))
			return false;
		for (int i = 0; i < CHUNK; i += 64)
			sha1_block(&s, buf + i);
	}
	size_t rest = (size_t)(f->size - at);
	size_t padded = (rest + 8) / 64 * 64 + 64;
	uint64_t bits = (uint64_t)f->size * 8;

	if (!model_file_read(f, buf, at, (int64_t)rest))
		return false;
	memset(buf + rest, 0, padded - rest);
	buf[rest] = 0x80;
	for (int i = 0; i < 8; i++)
		buf[padded - 1 - (size_t)i] = (uint8_t)(bits >> (8 * i));
	for (size_t i = 0; i < padded; i += 64)
		sha1_block(&s, buf + i);
	for (int i = 0; i < 5; i++)
		snprintf(hex + 8 * i, 9, "%08x", s.h[i]);
	return true;
}
