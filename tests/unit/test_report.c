/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a GPU's kernels, from a log like NVRTC's. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/ptx/kernels.h"
#include "codegen/ptx/report.h"

static const char text[] =
	"kernels.cu(594): warning #177-D: variable \"k7 registers\" unused\n"
	"ptxas info    : 0 bytes gmem\n"
	"ptxas info    : Compiling entry function 'k1' for 'sm_80'\n"
	"ptxas info    : Function properties for k1\n"
	"ptxas         .     48 bytes stack frame, 12 bytes spill stores, "
	"20 bytes spill loads\n"
	"ptxas info    : Used 168 registers, used 1 barriers, 33792 bytes "
	"smem\n"
	"ptxas info    : Compile time = 20.277 ms\n"
	"ptxas info    : Compiling entry function 'k0' for 'sm_80'\n"
	"ptxas info    : Function properties for k0\n"
	"ptxas         .     0 bytes stack frame, 0 bytes spill stores, "
	"0 bytes spill loads\n"
	"ptxas info    : Used 32 registers, used 0 barriers\n";

static struct target target;

static void set(const char *list)
{
	const char *unknown;

	target = (struct target){ 0 };
	cr_assert(target_set_gpus(&target, list, &unknown));
}

Test(report, reads_log)
{
	struct report r = { 0 };

	set("sm_80");
	report_read(&r, target.gpu[0], text);
	cr_assert_eq(r.n, 2);
	cr_assert_eq(r.v[0].kernel, 1);
	cr_assert_eq(r.v[0].registers, 168);
	cr_assert_eq(r.v[0].stack, 48);
	cr_assert_eq(r.v[0].spill, 32);
	cr_assert_eq(r.v[0].shared, 33792);
	cr_assert_eq(r.v[1].kernel, 0);
	cr_assert_eq(r.v[1].registers, 32);
	cr_assert_eq(r.v[1].spill + r.v[1].stack + r.v[1].shared, 0);
	report_read(&r, target.gpu[0], "no kernels");
	cr_assert_eq(r.n, 2);
	vec_free(&r);
}

/* The blocks of a multiprocessor, as NVIDIA's occupancy tables have them. */
Test(report, resident_blocks)
{
	static const struct {
		const char *gpu;
		unsigned threads, registers, shared, want;
	} row[] = {
		{ "sm_75", 256, 32, 0, 4 },	/* threads */
		{ "sm_80", 256, 32, 0, 8 },
		{ "sm_86", 256, 32, 0, 6 },
		{ "sm_120", 256, 32, 0, 6 },
		{ "sm_80", 32, 16, 0, 32 },	/* blocks */
		{ "sm_86", 32, 16, 0, 16 },
		{ "sm_89", 32, 16, 0, 24 },
		{ "sm_90", 256, 128, 0, 2 },	/* registers */
		{ "sm_90", 256, 129, 0, 1 },	/* by 8 of a thread */
		{ "sm_90", 128, 255, 0, 2 },
		{ "sm_80", 64, 16, 40960, 4 },	/* shared memory, 1 KiB more */
		{ "sm_80", 64, 16, 41984 - 1024, 4 },
		{ "sm_90", 128, 64, 115712, 2 },
		{ "sm_90", 128, 64, 115713, 1 },
		{ "sm_75", 64, 16, 32768, 2 },
		{ "sm_90", 128, 32, 232448, 1 },	/* all there is */
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct gpu_kernel k = { .threads = row[i].threads,
					.shared_bytes = row[i].shared / 2 };

		set(row[i].gpu);
		struct usage u = { .gpu = target.gpu[0],
				   .registers = row[i].registers,
				   .shared = row[i].shared -
					     row[i].shared / 2 };

		cr_assert_eq(report_resident(&u, &k), row[i].want,
			     "row %zu: %u", i, report_resident(&u, &k));
	}
}
