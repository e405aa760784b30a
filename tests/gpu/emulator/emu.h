/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for the CUDA driver: what its files share.
 *
 * A module is PTX text, parsed into instructions (ptx.h), which decode.c turns
 * into calls of functions over the 32 lanes of a warp.  A register is an array
 * of 32 values of 32 or 64 bits; narrower types lie in 32 bits; a predicate is
 * one word with a bit per lane.
 */
#ifndef EMU_H
#define EMU_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANES 32
#define FULL 0xffffffffu
#define MAX_WARPS 32
#define N_BARS 17 /* the last is that of the cluster */
#define MAX_PC UINT32_MAX

/* Where generic addresses of these spaces begin: no address that the host
 * can have. */
#define SHARED_WIN 0x0100000000000000ull
#define LOCAL_WIN 0x0200000000000000ull
#define PARAM_WIN 0x0300000000000000ull
#define WIN_MASK 0xff00000000000000ull

/* The driver's error codes, as its interface has them. */
enum {
	EMU_OK = 0,
	EMU_INVALID_VALUE = 1,
	EMU_OUT_OF_MEMORY = 2,
	EMU_NOT_INITIALIZED = 3,
	EMU_NO_DEVICE = 100,
	EMU_INVALID_DEVICE = 101,
	EMU_INVALID_IMAGE = 200,
	EMU_INVALID_CONTEXT = 201,
	EMU_NO_BINARY = 209,
	EMU_INVALID_PTX = 218,
	EMU_INVALID_HANDLE = 400,
	EMU_NOT_FOUND = 500,
	EMU_NOT_READY = 600,
	EMU_ILLEGAL_ADDRESS = 700,
	EMU_OUT_OF_RESOURCES = 701,
	EMU_TIMEOUT = 702,
	EMU_ILLEGAL_INSTRUCTION = 715,
	EMU_MISALIGNED = 716,
	EMU_LAUNCH_FAILED = 719,
	EMU_NOT_SUPPORTED = 801,
	EMU_CAPTURE_UNSUPPORTED = 900,
	EMU_CAPTURE_INVALIDATED = 901,
	EMU_CAPTURE_UNMATCHED = 903,
	EMU_CAPTURE_IMPLICIT = 906,
	EMU_UNKNOWN = 999,
};

enum space {
	SP_GENERIC,
	SP_GLOBAL,
	SP_SHARED,
	SP_LOCAL,
	SP_PARAM,
	SP_CONST,
	SP_CLUSTER,
};

struct warp;
struct insn;
typedef void (*exec_fn)(struct warp *w, const struct insn *in, uint32_t m);

/*
 * One decoded instruction.  Operands are byte offsets into the registers of
 * the frame, or with CONST_BIT into the constants of the function.
 */
#define CONST_BIT 0x80000000u
struct insn {
	exec_fn fn;
	uint32_t op[6];
	uint32_t *more;  /* the elements of vectors, in order of the text */
	uint32_t guard;  /* a predicate, or 0 */
	uint32_t line;   /* of the PTX text */
	int64_t imm;     /* offset of an address, or of the row's choice */
	uint32_t target; /* of a branch */
	bool guard_not;
	uint8_t space;
	uint8_t size;  /* bytes of an element in memory */
	uint8_t count; /* elements of a vector */
	uint8_t reach; /* bytes of a load that have to be there; 0: all */
	uint8_t width; /* bytes of the register: 4 or 8 */
	uint8_t addr;  /* bytes of the address register: 0, 4 or 8 */
	bool is_signed;
	bool cluster; /* the barrier of the cluster */
	bool frame;   /* the address is relative to the frame's memory */
	uint8_t kind; /* an operation, comparison or type: enums below */
	uint8_t kind2;
	uint8_t flags; /* F_* */
	const struct func *callee;
	uint32_t *targets;
	const char *name; /* with its modifiers */
	struct bank_count *banks;
};

enum {
	F_FTZ = 1,
	F_SAT = 2,
	F_RZ = 4,
	F_RM = 8,
	F_RP = 16,
	F_RN = 32,
	F_RELU = 64,
	F_NAN = 128,
};
#define F_ROUND (F_RZ | F_RM | F_RP)

struct param {
	uint32_t offset, size;
};

/* A kernel or a function. */
struct func {
	const char *name;
	struct module *mod;
	struct insn *code;
	uint32_t n_code;
	bool is_entry, is_defined;
	uint32_t reg_bytes; /* of a frame, for the 32 lanes */
	unsigned char *consts;
	uint32_t const_bytes;
	uint32_t shared_bytes; /* static, with alignment */
	uint32_t local_bytes;  /* per lane, with the parameters of calls */
	uint32_t param_bytes;  /* of a kernel */
	struct param *params, ret;
	uint32_t n_params;
	uint32_t max_threads; /* .maxntid or 0 */
	uint32_t req[3];      /* .reqntid or 0 */
	uint32_t dyn_limit;   /* set by cuFuncSetAttribute */
	struct func *next;
};

enum group_state { G_READY, G_PARKED, G_BAR, G_SPIN };

/* Lanes of a warp that stand at one instruction. */
struct group {
	uint32_t pc, mask;
	enum group_state state;
	uint32_t need; /* parked: until these lanes are there too */
	int bar;
};

/* A function in execution by some lanes of a warp. */
struct frame {
	const struct func *func;
	unsigned char *regs;
	uint32_t local_base; /* of each lane */
	uint32_t pc, mask;   /* of the caller's group, to go on with */
	uint32_t stop;
	struct group g[LANES];
	int n_groups;
	struct frame *up;
};

/* A cp.async under way. */
struct copy {
	uint32_t dst, group;
	uint8_t lane, size;
	unsigned char data[16];
};

struct warp {
	unsigned char *base[2]; /* registers and constants of the frame */
	const struct insn *code;
	uint32_t pc, next, mask, stop;
	uint32_t live;      /* lanes that have not exited */
	uint32_t bar_lanes; /* lanes that wait at a barrier */
	struct block *blk;
	struct frame *frame;
	struct frame *spare;
	int id;
	uint32_t tid[3][LANES];
	unsigned char *local;
	uint32_t local_size, local_top;
	uint64_t lo, span; /* the allocation that was used last */
	uint64_t delta;    /* from its addresses to its bytes */
	struct copy *copies;
	uint32_t n_copies, cap_copies;
	uint32_t open_group[LANES];
	uint8_t carry[LANES]; /* CC.CF */
	uint64_t stalls;           /* polls that found nothing */
	uint32_t clock[MAX_WARPS]; /* what of each warp is ordered before */
	struct warp_hopper *hopper;
};

/* Where bar.red puts its result once all are there. */
struct bar_result {
	uint32_t *reg;
	uint32_t mask;
	uint8_t kind;
};
enum { BAR_POPC = 1, BAR_AND, BAR_OR };

struct bar {
	uint32_t arrived, expected;
	uint32_t line;
	uint32_t votes, voters;
	uint32_t clock[MAX_WARPS];
	struct bar_result result[2 * MAX_WARPS];
	uint32_t n_results;
};

/* What is known of a word of shared memory, for the check of races. */
struct shadow {
	uint32_t clock; /* of the last writer */
	uint8_t warp, lane;
	bool is_atomic, in_flight;
	uint8_t halves; /* of the word: 1 the lower, 2 the upper */
	uint32_t line;
};
struct reader {
	uint32_t clock, lanes[2]; /* that read each half */
};

struct block {
	struct launch *launch;
	uint32_t ctaid[3];
	uint32_t n_threads, n_warps;
	unsigned char *shared;
	uint32_t shared_size;
	struct shadow *shadow;
	struct reader *readers; /* [word][warp] */
	bool races, banks;
	struct bar bar[N_BARS];
	struct warp *warps;
	uint32_t exited;
	uint32_t clock_base;
	bool progress;
	uint32_t n_rests; /* of warps that ran for very long */
};

struct launch {
	const struct func *func;
	uint32_t grid[3], dim[3];
	uint32_t dyn_shared;
	const unsigned char *params;
	jmp_buf fault;
	int status;
	uint64_t steps; /* instructions of warps */
	struct block blk;
};

/*
 * memory.c: device addresses lie in a reserved range that the host cannot
 * touch, and are never given twice; `host` is where the bytes are.
 */
struct alloc {
	uint64_t addr, size;
	unsigned char *host;
	bool is_host, is_module;
};
const struct alloc *mem_find(uint64_t addr);
const struct alloc *mem_before(uint64_t addr);
uint64_t mem_alloc(size_t size, bool is_module);
void *mem_alloc_host(size_t size);
bool mem_free(uint64_t addr, bool is_host);
/* The bytes of a range within one allocation, else NULL. */
void *mem_range(uint64_t addr, uint64_t size);
size_t mem_used(void);
size_t mem_total(void);
void mem_report_leaks(void);

/* fault.c */
void fault(struct warp *w, const struct insn *in, int lane, int status,
	   const char *fmt, ...)
	__attribute__((noreturn, format(printf, 5, 6)));
void block_fault(struct block *blk, int status, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
const char *emu_env(const char *name, const char *otherwise);
/* What has been said since it was cleared. */
extern char note_log[8192];
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* launch.c: a kernel over its grid; the driver's status. */
int launch_run(const struct func *f, const uint32_t grid[3],
	       const uint32_t dim[3], uint32_t dyn_shared, const void *params);
/* twin.c: the same by a library. */
int twin_run(const char *file, const struct func *f, const uint32_t grid[3],
	     const uint32_t dim[3], uint32_t dyn_shared, const void *params);

/* warp.c */
void warp_start(struct warp *w, const struct func *f, uint32_t lanes);
void warp_run(struct warp *w);
bool warp_done(const struct warp *w);
void warp_park(struct warp *w, uint32_t m, uint32_t need);
void warp_sync(struct warp *w);
void warp_wait(struct warp *w, uint32_t m, int bar);
bool warp_wake(struct warp *w, int bar);
void warp_spin(struct warp *w, uint32_t m, bool goes_on);
bool gather_lanes(struct warp *w, uint32_t m, uint32_t need);

/* race.c */
void race_read(struct warp *w, const struct insn *in, int lane, uint32_t off,
	       uint32_t size);
/* The same for lanes that each read n words at aligned addresses. */
void race_read_words(struct warp *w, const struct insn *in, uint32_t m,
		     const uint64_t off[LANES], uint32_t n);
void race_write(struct warp *w, const struct insn *in, int lane, uint32_t off,
		uint32_t size, bool is_atomic);
void race_stamp(struct warp *w, uint32_t off, uint32_t size, uint32_t clock);
void race_flight(struct warp *w, uint32_t off, uint32_t size, bool in_flight);

/* banks.c: an access of `size` bytes by each lane of m to shared memory. */
bool banks_wanted(void);
void banks_count(struct warp *w, const struct insn *in, uint32_t m,
		 const uint64_t at[LANES], uint32_t size);
void banks_report(const struct func *kernel);

/* exec_mem.c */
void *mem_at(struct warp *w, const struct insn *in, int lane, uint64_t addr,
	     uint32_t size, int space, bool is_write);
void addresses(struct warp *w, const struct insn *in, uint32_t op,
	       uint64_t a[LANES]);
/* Counts the banks of an access, where they are and it is of shared memory. */
void count_banks(struct warp *w, const struct insn *in, uint32_t m,
		 const uint64_t a[LANES], uint32_t size);

/* module.c */
struct var {
	const char *name;
	uint64_t addr, size;
	struct var *next;
};
struct module {
	struct func *funcs;
	struct var *vars;
	struct chunk *arena;
	struct module *next;
};
int module_load(const char *text, struct module **out);
void module_unload(struct module *mod);
void *mod_alloc(struct module *mod, size_t size);

static inline void *reg(const struct warp *w, uint32_t op)
{
	return w->base[op >> 31] + (op & ~CONST_BIT);
}

static inline uint32_t pred(const struct warp *w, uint32_t op)
{
	return *(const uint32_t *)reg(w, op);
}

/* Lanes do not depend on each other, though a result may be an operand. */
#ifdef __clang__
#define INDEPENDENT
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* Runs a statement for each active lane `l`; the first form vectorizes. */
#define EACH_LANE(m, stmt) \
	do { \
		if ((m) == FULL) { \
			INDEPENDENT for (int l = 0; l < LANES; l++) \
			{ \
				stmt; \
			} \
		} else { \
			for (uint32_t r_ = (m); r_; r_ &= r_ - 1) { \
				int l = __builtin_ctz(r_); \
				stmt; \
			} \
		} \
	} while (0)

/* A row of an instruction table: the name with its modifiers, the width of
 * each operand, the function, and the modifiers that it takes besides. */
struct row {
	const char *name;
	const char *sig;
	exec_fn fn;
	exec_fn slow; /* with modifiers other than rn */
	uint8_t flags, kind;
};
#define ROW(n, s, f) \
	{ \
		.name = n, .sig = s, .fn = f \
	}
#define ROWF(n, s, f, slowly, mods, k) \
	{ \
		.name = n, .sig = s, .fn = f, .slow = slowly, .flags = mods, \
		.kind = k \
	}
extern const struct row rows_int[], rows_logic[], rows_float[], rows_half[],
	rows_control[], rows_carry[];

#endif
