// SPDX-License-Identifier: Apache-2.0
// Blocks of a kernel on the host, one after another.  Each thread is a fiber
// that runs until all that it has to meet are there: the block at a barrier,
// the warp at a shuffle or a matrix instruction, the warpgroup at the wait for
// wgmma.  The last one to come computes for all.  What a GPU may do late is
// done as late as it may, and is NaN until then.
#include "twin.h"
#include "../emulator/tensor_map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

enum {
	WARP = 32,
	GROUP = 128,		// threads of a warpgroup
	MAX_THREADS = 1024,
	STACK = 1 << 18,	// of a fiber, the last page of it a guard
	PAGE = 1 << 16,
	SHARED = 1 << 18,	// of a block, with the arrays of the text
	FAILED = 719,		// CUDA_ERROR_LAUNCH_FAILED
};

// Where a fiber is.
enum place {
	RUNNING, EXITED, BARRIER, SHUFFLE, MATRICES, MMA, WGMMA, PHASES
};
static const char *const place_names[] = {
	"runs", "has exited", "is at a barrier", "is at a shuffle",
	"is at ldmatrix", "is at mma", "waits for wgmma",
	"waits for a phase",
};

struct copy {
	u8 *to;
	const u8 *from;		// NULL: zeros
	u32 group;
};

// A wgmma that was started; d has NaN until the wait.
struct product {
	twin_type type[2];
	u64 desc[2];
	u32 group;
	bool turned[2];
};

// A barrier in shared memory; `bytes` are announced and not there.
struct phases {
	const u64 *bar;
	int n, pending;
	long long bytes;
	bool phase;
};

// A box on its way.
struct box {
	tensor_map map;
	int at[5];
	u32 to;
	phases *done;
};

struct fiber {
	void *stack;		// when it does not run
	place at;
	bool ready;
	// What it brings to a rendezvous.
	u64 value;
	int lanes, n;
	const u8 *row;
	u32 *words;
	twin_type type[2];
	void *d;
	const u32 *a, *b;
	// Copies and matrices on their way.
	std::vector<copy> copies;
	u32 group;
	bool unfenced;		// copies have come since the proxy fence
	bool registers_fenced;	// since the last wait for wgmma
	std::vector<product> products;
	u32 wgmma_group;
	std::vector<u32> sums;	// of all of d, all four of each lane
	void *sums_at;		// d, which has NaN; NULL: none on its way
	const phases *waits_for;
};

int twin_thread, twin_block, twin_blocks;
u8 *dl_dynamic;

static fiber fibers[MAX_THREADS];
static void *main_stack;
static u8 *stacks;
static int n_threads, n_exited;
static bool failed;
static u32 shared_used, seed;
static enum { FORWARD, REVERSE, RANDOM } order;
static struct array {
	const void *place;
	u32 at;
} arrays[64];
static int n_arrays;
static const twin_kernel *kernel;
static const u8 *kernel_args;
static void *(*host)(u64 address);
static phases barriers[64];
static int n_barriers;
static bool barriers_fenced;
static std::vector<box> boxes;

// ---- fibers ----------------------------------------------------------

// Keeps what a call keeps on the stack, stores the stack's address to *from
// and goes on with the other.
extern "C" void twin_switch(void **from, void *to)
	__attribute__((visibility("hidden")));
#if defined(__x86_64__)
enum { FRAME = 7 };		// words that it takes from a stack
enum { RETURN = 6 };		// of which this is the address
asm(R"(
	.text
	.globl twin_switch
	.hidden twin_switch
	.type twin_switch, @function
twin_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size twin_switch, . - twin_switch
)");
#elif defined(__aarch64__)
enum { FRAME = 20 };
enum { RETURN = 11 };
asm(R"(
	.text
	.globl twin_switch
	.hidden twin_switch
	.type twin_switch, %function
twin_switch:
	sub sp, sp, #160
	stp x19, x20, [sp]
	stp x21, x22, [sp, #16]
	stp x23, x24, [sp, #32]
	stp x25, x26, [sp, #48]
	stp x27, x28, [sp, #64]
	stp x29, x30, [sp, #80]
	stp d8, d9, [sp, #96]
	stp d10, d11, [sp, #112]
	stp d12, d13, [sp, #128]
	stp d14, d15, [sp, #144]
	mov x9, sp
	str x9, [x0]
	mov sp, x1
	ldp x19, x20, [sp]
	ldp x21, x22, [sp, #16]
	ldp x23, x24, [sp, #32]
	ldp x25, x26, [sp, #48]
	ldp x27, x28, [sp, #64]
	ldp x29, x30, [sp, #80]
	ldp d8, d9, [sp, #96]
	ldp d10, d11, [sp, #112]
	ldp d12, d13, [sp, #128]
	ldp d14, d15, [sp, #144]
	add sp, sp, #160
	ret
	.size twin_switch, . - twin_switch
)");
#else
#error "no switch of stacks for this processor"
#endif

static fiber &self() { return fibers[twin_thread]; }

static void leave() { twin_switch(&self().stack, main_stack); }

// One line; the launch ends.
[[noreturn]] static void fail(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "twin: kernel %s, block %d, thread %d: ", kernel->name,
		twin_block, twin_thread);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	failed = true;
	for (;;)
		leave();
}

// How many threads of a block, a warpgroup or a warp wait where, and how many
// have exited.
struct scope {
	int at[WGMMA + 1], waiting, exited;
};
static scope block_scope, group_scope[MAX_THREADS / GROUP],
	warp_scope[MAX_THREADS / WARP];

static int size_of(place at)
{
	return at == BARRIER ? n_threads : at == WGMMA ? GROUP : WARP;
}

static scope &scope_of(place at)
{
	return at == BARRIER ? block_scope
	       : at == WGMMA ? group_scope[twin_thread / GROUP]
			     : warp_scope[twin_thread / WARP];
}

// Another thread of this one's warp, group or block in a state other than
// `at`: one that has exited, or one that waits.
[[noreturn]] static void fail_by(place at, int size, bool exited)
{
	for (int i = twin_thread / size * size; i < n_threads; i++)
		if (i != twin_thread && fibers[i].at != at &&
		    (exited ? fibers[i].at == EXITED : fibers[i].at > EXITED))
			fail("%s, while thread %d %s", place_names[at], i,
			     place_names[fibers[i].at]);
	fail("%s alone", place_names[at]);
}

// Comes to a place that some threads reach together.  True for the last one,
// which then calls release().
static bool meet(place at)
{
	const int size = size_of(at);
	scope &s = scope_of(at), &warp = warp_scope[twin_thread / WARP];

	self().at = at;
	warp.waiting++;
	warp.at[at]++;
	if (&s != &warp) {
		s.waiting++;
		s.at[at]++;
	}
	if (warp.at[at] != warp.waiting)
		fail_by(at, WARP, false);
	if (s.exited)
		fail_by(at, size, true);
	if (s.at[at] == size)
		return true;
	self().ready = false;
	leave();
	return false;
}

static void release(place at)
{
	const int size = size_of(at), first = twin_thread / size * size;

	for (int i = first; i < first + size; i++) {
		scope &warp = warp_scope[i / WARP];

		warp.at[at] = warp.waiting = 0;
		fibers[i].at = RUNNING;
		fibers[i].ready = true;
	}
	scope_of(at).at[at] = scope_of(at).waiting = 0;
}

static void begin()
{
	kernel->call(kernel_args);
	scope &group = group_scope[twin_thread / GROUP];
	scope &warp = warp_scope[twin_thread / WARP];

	self().at = EXITED;
	n_exited++;
	block_scope.exited++;
	group.exited++;
	warp.exited++;
	if (warp.waiting)
		fail_by(EXITED, WARP, false);
	if (group.waiting)
		fail_by(EXITED, GROUP, false);
	if (block_scope.waiting)
		fail_by(EXITED, n_threads, false);
	leave();
}

static void start_fiber(int i)
{
	u64 *top = (u64 *)(stacks + (u64)(i + 1) * STACK);

	// As at the entry of a function.
	top -= FRAME + (FRAME % 2 ? 1 : 2);
	memset(top, 0, FRAME * sizeof(*top));
	top[RETURN] = (u64)(void *)begin;
	fiber &f = fibers[i];

	f.stack = top;
	f.at = RUNNING;
	f.ready = true;
	f.copies.clear();
	f.products.clear();
	f.group = f.wgmma_group = 0;
	f.sums_at = NULL;
	f.unfenced = f.registers_fenced = false;
}

static u32 next_random()
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void permute(int *v, int n)
{
	for (int i = 0; i < n; i++)
		v[i] = order == REVERSE ? n - 1 - i : i;
	for (int i = n; order == RANDOM && i > 1; i--)
		std::swap(v[i - 1], v[next_random() % (u32)i]);
}

static void explain_deadlock()
{
	for (twin_thread = 0; fibers[twin_thread].at == EXITED; twin_thread++)
		;
	for (int i = 0; i < n_threads; i++)
		if (fibers[i].at != self().at) {
			fprintf(stderr, "twin: kernel %s, block %d: deadlock: "
				"thread %d %s, thread %d %s\n", kernel->name,
				twin_block, twin_thread,
				place_names[self().at], i,
				place_names[fibers[i].at]);
			return;
		}
	fprintf(stderr, "twin: kernel %s, block %d: deadlock\n", kernel->name,
		twin_block);
}

static bool deliver_box();

// False when a thread has failed.
static bool run_block()
{
	int sequence[MAX_THREADS];

	memset(dl_dynamic, 0xff, shared_used);
	n_exited = n_barriers = 0;
	barriers_fenced = false;
	boxes.clear();
	block_scope = {};
	memset(group_scope, 0, sizeof(group_scope));
	memset(warp_scope, 0, sizeof(warp_scope));
	for (int i = 0; i < n_threads; i++)
		start_fiber(i);
	while (n_exited < n_threads) {
		bool any = false;

		permute(sequence, n_threads);
		for (int i = 0; i < n_threads; i++) {
			fiber &f = fibers[sequence[i]];

			if (!f.ready || f.at == EXITED)
				continue;
			any = true;
			twin_thread = sequence[i];
			twin_switch(&main_stack, f.stack);
			if (failed)
				return false;
		}
		if (!any && !deliver_box()) {
			explain_deadlock();
			return false;
		}
		if (failed)
			return false;
	}
	return true;
}

// ---- shared memory ---------------------------------------------------

void *twin_shared(const void *place, u64 bytes)
{
	for (int i = 0; i < n_arrays; i++)
		if (arrays[i].place == place)
			return dl_dynamic + arrays[i].at;
	if (n_arrays == 64 || bytes > SHARED - shared_used)
		fail("too much shared memory");
	arrays[n_arrays] = { place, shared_used };
	memset(dl_dynamic + shared_used, 0xff, bytes);
	shared_used = (shared_used + (u32)bytes + 15) & ~15u;
	return dl_dynamic + arrays[n_arrays++].at;
}

static u8 *shared_at(u64 at, u32 bytes)
{
	if (at % bytes)
		fail("unaligned address %#llx of shared memory", at);
	if (at >= shared_used || bytes > shared_used - at)
		fail("address %#llx outside of shared memory", at);
	return dl_dynamic + at;
}

u32 twin_address(const void *p)
{
	return (u32)((const u8 *)p - dl_dynamic);
}

// ---- copies ----------------------------------------------------------

void twin_copy16(void *to, const void *from, bool there)
{
	u8 *d = shared_at((u64)((u8 *)to - dl_dynamic), 16);

	if (there && (u64)from % 16)
		fail("a copy from the unaligned address %p", from);
	memset(d, 0xff, 16);
	self().copies.push_back({ d, there ? (const u8 *)from : NULL,
				  self().group });
}

void twin_copy_commit() { self().group++; }

void twin_copy_wait(int left)
{
	fiber &f = self();
	size_t kept = 0;

	for (const copy &c : f.copies) {
		if (c.group + (u32)left >= f.group) {
			f.copies[kept++] = c;
			continue;
		}
		if (c.from)
			memcpy(c.to, c.from, 16);
		else
			memset(c.to, 0, 16);
		f.unfenced = true;
	}
	f.copies.resize(kept);
}

// ---- warps -----------------------------------------------------------

void twin_barrier()
{
	if (meet(BARRIER))
		release(BARRIER);
}

u64 twin_shuffle(u64 x, int lanes)
{
	fiber *warp = &fibers[twin_thread / WARP * WARP];

	self().value = x;
	self().lanes = lanes;
	if (meet(SHUFFLE)) {
		u64 all[WARP];

		for (int i = 0; i < WARP; i++) {
			if (warp[i].lanes != lanes)
				fail("lanes shuffle by %d and %d", lanes,
				     warp[i].lanes);
			all[i] = warp[(i ^ lanes) % WARP].value;
		}
		for (int i = 0; i < WARP; i++)
			warp[i].value = all[i];
		release(SHUFFLE);
	}
	return self().value;
}

void twin_matrices(u32 *x, int n, const void *row, bool turned)
{
	fiber *warp = &fibers[twin_thread / WARP * WARP];

	self().words = x;
	self().n = n;
	self().row = (const u8 *)row;
	if (!meet(MATRICES))
		return;
	for (int i = 0; i < n * 8; i++) {
		const u8 *p = shared_at((u64)(warp[i].row - dl_dynamic), 16);

		if (warp[i].n != n)
			fail("lanes load %d and %d matrices", n, warp[i].n);
		for (int word = 0; word < 4 && !turned; word++)
			memcpy(&warp[i % 8 * 4 + word].words[i / 8],
			       p + word * 4, 4);
		for (int half = 0; half < 8 && turned; half++)
			memcpy((u8 *)&warp[half * 4 + i % 8 / 2].words[i / 8] +
				       i % 2 * 2,
			       p + half * 2, 2);
	}
	release(MATRICES);
}

// Element i of a word: a float, or an integer that is one.
static float element(twin_type type, u32 word, int i)
{
	switch (type) {
	case TWIN_F16: return dl_f16_value((u16)(word >> 16 * i));
	case TWIN_BF16: return dl_f32((word >> 16 * i) << 16);
	// The tensor cores leave the last bits out.
	case TWIN_TF32: return dl_f32(word & 0xffffe000);
	case TWIN_I8: return (float)(i8)(word >> 8 * i);
	default: return (float)(u8)(word >> 8 * i);
	}
}

static int per_word(twin_type type)
{
	return type == TWIN_TF32 ? 1 : type < TWIN_TF32 ? 2 : 4;
}

// Elements of k of an instruction, 32 bytes.
static int depth(twin_type type) { return 8 * per_word(type); }

// sums[0..8) += a[0..n) * b[0..n)[0..8), by rising k.  Sums of bytes are
// exact as floats: 32 products of less than 2^16.
static void add_products(float *sums, const float *a, const float (*b)[8],
			 int n)
{
	float s[8];

	memcpy(s, sums, sizeof(s));
	for (int k = 0; k < n; k++)
		for (int j = 0; j < 8; j++)
			s[j] += a[k] * b[k][j];
	memcpy(sums, s, sizeof(s));
}

// The fragments of PTX ISA, "Matrix fragments for mma": word i of lane l has
// word l % 4 (4 more from i / 2 on) of row l / 4 (8 more for odd i).
static void multiply_warp(fiber *warp)
{
	const twin_type *type = warp->type;
	const int per = per_word(type[0]);
	const bool is_int = type[0] >= TWIN_I8;
	static float a[16][32], b[32][8], sums[16][8];

	for (int l = 0; l < WARP; l++)
		for (int i = 0; i < 4; i++) {
			const int row = l / 4 + i / 2 * 8;
			const int col = l % 4 * 2 + i % 2;

			sums[row][col] = is_int ? 0
						: dl_f32(((u32 *)warp[l].d)[i]);
			for (int e = 0; e < per; e++) {
				const int k = (l % 4 + i / 2 * 4) * per + e;

				a[l / 4 + i % 2 * 8][k] =
					element(type[0], warp[l].a[i], e);
				if (i % 2 == 0)
					b[k][l / 4] = element(
						type[1], warp[l].b[i / 2], e);
			}
		}
	for (int row = 0; row < 16; row++)
		add_products(sums[row], a[row], b, depth(type[0]));
	for (int l = 0; l < WARP; l++)
		for (int i = 0; i < 4; i++) {
			u32 *d = (u32 *)warp[l].d + i;
			const float sum = sums[l / 4 + i / 2 * 8]
					      [l % 4 * 2 + i % 2];

			*d = is_int ? *d + (u32)(i32)sum : dl_bits(sum);
		}
}

void twin_mma(twin_type a_type, twin_type b_type, void *d, const u32 *a,
	      const u32 *b)
{
	fiber &f = self(), *warp = &fibers[twin_thread / WARP * WARP];

	f.type[0] = a_type;
	f.type[1] = b_type;
	f.d = d;
	f.a = a;
	f.b = b;
	if (!meet(MMA))
		return;
	for (int i = 0; i < WARP; i++)
		if (warp[i].type[0] != a_type || warp[i].type[1] != b_type)
			fail("lanes multiply other types");
	multiply_warp(warp);
	release(MMA);
}

// ---- warpgroups ------------------------------------------------------

void twin_wgmma_fence() { self().registers_fenced = true; }

void twin_proxy_fence() { self().unfenced = false; }

void twin_wgmma(twin_type a_type, twin_type b_type, void *d, int n, u64 a,
		u64 b, bool a_turned, bool b_turned)
{
	fiber &f = self();

	if (f.unfenced)
		fail("wgmma reads what came by copies, and no proxy fence");
	if (!f.registers_fenced)
		fail("wgmma without a fence of its registers");
	if (!f.sums_at) {
		f.sums.assign((u32 *)d, (u32 *)d + n / 2);
		f.sums_at = d;
		memset(d, 0xff, (size_t)n * 2);
	} else if (f.sums_at != d || f.sums.size() != (size_t)n / 2) {
		fail("wgmma of two sums at a time");
	}
	f.products.push_back({ { a_type, b_type }, { a, b }, f.wgmma_group,
			       { a_turned, b_turned } });
}

void twin_wgmma_commit() { self().wgmma_group++; }

// Bits 4 to 6 of an address are exclusive or of them and bits 7 to 9.
static u32 swizzled(u32 at) { return at ^ (at >> 7 & 7) << 4; }

// The 32 bytes of k of a row, by a descriptor (PTX ISA, "Matrix descriptor
// format"): all offsets are by 16.  Turned: columns of 64 half floats, 128 bytes
// from one k to the next.
static void read_row(u64 desc, twin_type type, bool turned, int row,
		     float *out)
{
	const u32 start = (desc & 0x3fff) << 4;
	const u32 lead = (desc >> 16 & 0x3fff) << 4;
	const u32 stride = (desc >> 32 & 0x3fff) << 4;
	const int per = per_word(type);

	if (desc >> 62 != 1 || (desc >> 49 & 7))
		fail("descriptor %#llx is not swizzled by 128 bytes", desc);
	for (u32 k = 0; turned && k < 16; k++) {
		const u32 at = start + (u32)row / 64 * lead + k / 8 * stride +
			       k % 8 * 128 + (u32)row % 64 * 2;
		u16 x;

		memcpy(&x, shared_at(swizzled(at), 2), 2);
		*out++ = element(type, x, 0);
	}
	if (turned)
		return;
	for (u32 word = 0; word < 8; word++) {
		u32 at = start + (u32)row / 8 * stride + (u32)row % 8 * 128 +
			 word * 4, x;

		memcpy(&x, shared_at(swizzled(at), 4), 4);
		for (int e = 0; e < per; e++)
			*out++ = element(type, x, e);
	}
}

// sum += part, as floats or as integers that wrap.
static void add_sum(twin_type type, u32 *sum, float part)
{
	*sum = type >= TWIN_I8 ? *sum + (u32)(i32)part
			       : dl_bits(dl_f32(*sum) + part);
}

// Warp w of the group has the rows from 16 w on, in mma's fragments.
static void multiply_group(fiber *group, size_t which)
{
	const product p = group->products[which];
	const int n = depth(p.type[0]), cols = (int)group->sums.size() * 2;
	static float a[64][32], b[32][32][8], row_of_b[32];

	for (int row = 0; row < 64; row++)
		read_row(p.desc[0], p.type[0], p.turned[0], row, a[row]);
	for (int col = 0; col < cols; col++) {
		read_row(p.desc[1], p.type[1], p.turned[1], col, row_of_b);
		for (int k = 0; k < n; k++)
			b[col / 8][k][col % 8] = row_of_b[k];
	}
	for (int row = 0; row < 64; row++)
		for (int tile = 0; tile < cols / 8; tile++) {
			fiber *lanes = group + row / 16 * WARP + row % 8 * 4;
			const size_t at = (size_t)tile * 4 + row / 8 % 2 * 2;
			float sums[8] = {};

			add_products(sums, a[row], b[tile], n);
			for (int col = 0; col < 8; col++)
				add_sum(p.type[0],
					&lanes[col / 2].sums[at + col % 2],
					sums[col]);
		}
}

static bool same(const product &p, const product &q)
{
	return p.type[0] == q.type[0] && p.type[1] == q.type[1] &&
	       p.group == q.group && p.desc[0] == q.desc[0] &&
	       p.desc[1] == q.desc[1] && p.turned[0] == q.turned[0] &&
	       p.turned[1] == q.turned[1];
}

static void check_group(const fiber *group)
{
	for (int t = 0; t < GROUP; t++) {
		if (group[t].products.size() != group->products.size())
			fail("threads of a warpgroup start %zu and %zu wgmmas",
			     group[t].products.size(), group->products.size());
		for (size_t i = 0; i < group->products.size(); i++)
			if (!same(group[t].products[i], group->products[i]))
				fail("threads of a warpgroup start other "
				     "wgmmas");
	}
}

void twin_wgmma_wait(int left)
{
	fiber *group = &fibers[twin_thread / GROUP * GROUP];
	size_t done = 0;

	self().n = left;
	if (!meet(WGMMA))
		return;
	check_group(group);
	// What was not committed stays on its way, for ever.
	while (done < group->products.size() &&
	       group->products[done].group + (u32)left < group->wgmma_group)
		multiply_group(group, done++);
	for (int t = 0; t < GROUP; t++) {
		fiber &f = group[t];

		if (f.n != left)
			fail("threads of a warpgroup wait for all but %d and "
			     "%d wgmmas", f.n, left);
		f.registers_fenced = false;
		f.products.erase(f.products.begin(),
				 f.products.begin() + (long)done);
		if (!f.sums_at || !f.products.empty())
			continue;
		memcpy(f.sums_at, f.sums.data(), f.sums.size() * 4);
		f.sums_at = NULL;
	}
	release(WGMMA);
}

// ---- copies of boxes -------------------------------------------------

static phases &phases_at(const u64 *bar)
{
	for (int i = 0; i < n_barriers; i++)
		if (barriers[i].bar == bar)
			return barriers[i];
	fail("a barrier that is not initialised");
}

void twin_phases_init(u64 *bar, int n)
{
	shared_at((u64)((u8 *)bar - dl_dynamic), 8);
	if (n_barriers == 64)
		fail("too many barriers");
	barriers[n_barriers++] = { bar, n, n, 0, false };
}

void twin_phases_fence() { barriers_fenced = true; }

// The phase ends when nothing is missing.
static void update(phases &b)
{
	if (b.pending || b.bytes)
		return;
	b.phase = !b.phase;
	b.pending = b.n;
	for (int i = 0; i < n_threads; i++)
		if (fibers[i].at == PHASES && fibers[i].waits_for == &b) {
			fibers[i].at = RUNNING;
			fibers[i].ready = true;
		}
}

void twin_phases_arrive(u64 *bar, int bytes)
{
	phases &b = phases_at(bar);

	if (!b.pending)
		fail("an arrival too many");
	b.pending--;
	b.bytes += bytes;
	update(b);
}

void twin_phases_wait(u64 *bar, int parity)
{
	phases &b = phases_at(bar);

	while (b.phase == (parity & 1)) {
		self().at = PHASES;
		self().ready = false;
		self().waits_for = &b;
		leave();
	}
}

// The 128 bytes of a row of the box: zeros outside of the tensor.
static void read_line(const box &b, u32 row, u8 *line)
{
	const tensor_map &m = b.map;
	const u8 *from = (const u8 *)host(m.addr);
	bool inside = true;

	memset(line, m.nan_fill ? 0xff : 0, 128);
	for (int d = 1; d < m.rank; d++) {
		const long long x = b.at[d] + (long long)(row % m.box[d]);

		row /= m.box[d];
		inside = inside && x >= 0 && x < m.dim[d];
		from += inside ? x * (long long)m.stride[d - 1] : 0;
	}
	for (int i = 0; inside && i < m.box[0]; i++) {
		const long long x = b.at[0] + (long long)i;

		if (x >= 0 && x < m.dim[0])
			memcpy(line + i * m.bytes, from + x * m.bytes,
			       m.bytes);
	}
}

static u32 rows_of(const tensor_map &m)
{
	u32 n = 1;

	for (int d = 1; d < m.rank; d++)
		n *= m.box[d];
	return n;
}

// One that was started arrives, when no thread can go on; false: there is none.
static bool deliver_box()
{
	if (boxes.empty())
		return false;
	const size_t which = order == REVERSE ? boxes.size() - 1 : 0;
	const box b = boxes[which];

	boxes.erase(boxes.begin() + (long)which);
	for (u32 row = 0; row < rows_of(b.map); row++) {
		u8 line[128];

		read_line(b, row, line);
		for (u32 i = 0; i < 128; i += 16) {
			const u32 at = b.to + row * 128 + i;

			memcpy(dl_dynamic + (at ^ (at >> 7 & 7) << 4),
			       line + i, 16);
		}
	}
	b.done->bytes -= rows_of(b.map) * 128;
	update(*b.done);
	return true;
}

void twin_copy_box(void *to, const void *map, u64 *bar, int rank,
		   const int *at)
{
	box b = {};

	memcpy(&b.map, map, sizeof(b.map));
	if (b.map.magic != MAP_MAGIC || b.map.rank != rank ||
	    b.map.swizzle != 3 || b.map.box[0] * b.map.bytes != 128)
		fail("another map of a tensor");
	if (!barriers_fenced)
		fail("a copy to barriers without a fence");
	b.to = (u32)((u8 *)to - dl_dynamic);
	if (b.to % 1024 || b.to + rows_of(b.map) * 128 > shared_used)
		fail("a box at %#x of shared memory", b.to);
	memset(to, 0xff, rows_of(b.map) * 128);
	memcpy(b.at, at, (size_t)rank * sizeof(*at));
	b.done = &phases_at(bar);
	boxes.push_back(b);
}

// ---- launches --------------------------------------------------------

static void read_order()
{
	const char *s = getenv("TWIN_ORDER"), *colon;

	s = s ? s : "forward";
	order = !strncmp(s, "reverse", 7) ? REVERSE
		: !strncmp(s, "random", 6) ? RANDOM : FORWARD;
	colon = strchr(s, ':');
	seed = colon ? (u32)strtoul(colon + 1, NULL, 0) * 2654435761u + 1 : 1;
	seed = seed ? seed : 1;
}

static bool make_memory()
{
	if (stacks)
		return true;
	void *p = mmap(NULL, (size_t)MAX_THREADS * STACK,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	stacks = (u8 *)p;
	for (int i = 0; i < MAX_THREADS; i++)
		mprotect(stacks + (u64)i * STACK, PAGE, PROT_NONE);
	dl_dynamic = (u8 *)aligned_alloc(1024, SHARED);
	return dl_dynamic != NULL;
}

static int refuse(const char *name, const char *why)
{
	fprintf(stderr, "twin: kernel %s: %s\n", name, why);
	return FAILED;
}

// As cuLaunchKernel; args are the kernel's parameters, of which host() turns
// addresses of the device into those of its bytes.  The driver's status.
extern "C" __attribute__((visibility("default")))
int twin_launch(const char *name, const u32 grid[3], const u32 block[3],
		u32 shared_bytes, const void *args, u64 bytes,
		void *(*to_host)(u64 address))
{
	alignas(64) static u8 arg[4096];

	for (int i = 0; i < twin_n_kernels; i++)
		if (!strcmp(twin_kernels[i].name, name))
			kernel = &twin_kernels[i];
	if (!kernel || strcmp(kernel->name, name))
		return refuse(name, "is not in the library");
	if (bytes != (u64)kernel->bytes || bytes > sizeof(arg))
		return refuse(name, "has other parameters");
	if (grid[1] * grid[2] * block[1] * block[2] != 1 ||
	    block[0] > MAX_THREADS || shared_bytes > SHARED || !make_memory())
		return refuse(name, "cannot be started");
	memcpy(arg, args, bytes);
	host = to_host;
	for (int i = 0; i < kernel->n_args; i++) {
		u64 *const p = (u64 *)(arg + kernel->at[i]);

		if (kernel->is_pointer[i])
			*p = (u64)host(*p);
	}
	read_order();
	kernel_args = arg;
	n_threads = (int)block[0];
	twin_blocks = (int)grid[0];
	shared_used = (shared_bytes + 15) & ~15u;
	n_arrays = 0;
	failed = false;
	for (int i = 0; i < twin_blocks; i++) {
		twin_block = order == REVERSE ? twin_blocks - 1 - i : i;
		if (!run_block())
			return FAILED;
	}
	return 0;
}
