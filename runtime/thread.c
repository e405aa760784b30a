/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread pool.  A call is cut into a few chunks per thread; chunks are
 * claimed one by one from a counter, by the caller and by the workers alike,
 * and the call is over when all are done.  No worker has to take part, so one
 * that the system does not schedule delays nobody.
 *
 * Invariant: the job's fields are written only while no chunk is claimable or
 * unfinished, and read only by who has claimed a chunk.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE		/* sched_getaffinity() */
#endif
#include "dlrt.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE = 64,		/* bytes that move between cores together */
	MAX_THREADS = 4096,
	CHUNKS_PER_THREAD = 4,
	SPIN_NS = 30000,	/* about what a wake-up costs */
	SPIN_BATCH = 32,	/* pauses between two looks at the clock */
	STACK_BYTES = 1 << 20,
};

struct job {
	void (*fn)(void *arg, int64_t lo, int64_t hi);
	void *arg;
	int64_t n;
	uint32_t n_chunks;
};

struct pool {
	struct dlrt_pool base;	/* first: what callers see */
	unsigned n_threads;	/* wanted, the caller's included */
	unsigned n_workers;	/* running; set by the first call */
	bool started;
	bool spin;		/* every thread can have a CPU */
	pthread_t *worker;
	struct job job;
	pthread_mutex_t lock;	/* of the two conditions */
	pthread_cond_t work, finished;
	atomic_long pid;	/* whose workers these are; -1: being reset */
	atomic_bool busy;	/* a call is running */
	atomic_bool stop;

	/* Low half: chunks nobody has claimed.  High half: number of the
	 * call, so that a stale claim fails. */
	_Alignas(LINE) _Atomic uint64_t claim;
	_Alignas(LINE) atomic_uint done;	/* finished chunks */
	atomic_bool caller_sleeps;
	_Alignas(LINE) atomic_uint sleepers;	/* workers that wait */
};

static void cpu_pause(void)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
	__builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
	__asm__ __volatile__("yield");
#else
	sched_yield();
#endif
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef bool ready_fn(struct pool *p);

/* True as soon as ready() is; false when it was not for SPIN_NS. */
static bool spin_until(struct pool *p, ready_fn *ready)
{
	if (ready(p))
		return true;
	if (!p->spin)
		return false;
	int64_t end = now_ns() + SPIN_NS;

	do {
		for (int i = 0; i < SPIN_BATCH; i++) {
			if (ready(p))
				return true;
			cpu_pause();
		}
	} while (now_ns() < end);
	return false;
}

/* ---- chunks --------------------------------------------------------- */

static bool claim_chunk(struct pool *p, uint32_t *left)
{
	uint64_t old = atomic_load(&p->claim);

	do {
		*left = (uint32_t)old;
		if (!*left)
			return false;
	} while (!atomic_compare_exchange_weak(&p->claim, &old, old - 1));
	return true;
}

static void run_chunk(const struct job *job, uint32_t i)
{
	int64_t size = job->n / job->n_chunks, more = job->n % job->n_chunks;
	int64_t lo = i * size + (i < more ? i : more);

	job->fn(job->arg, lo, lo + size + (i < more));
}

/* Runs chunks until none is left to claim. */
static void run_chunks(struct pool *p)
{
	uint32_t left, n_run = 0, n_chunks = 0;

	while (claim_chunk(p, &left)) {
		n_chunks = p->job.n_chunks;
		run_chunk(&p->job, n_chunks - left);
		n_run++;
	}
	if (!n_run)
		return;
	/* From here on the next call may have begun. */
	if (atomic_fetch_add(&p->done, n_run) + n_run == n_chunks &&
	    atomic_load(&p->caller_sleeps)) {
		pthread_mutex_lock(&p->lock);
		pthread_cond_signal(&p->finished);
		pthread_mutex_unlock(&p->lock);
	}
}

/* ---- workers -------------------------------------------------------- */

static bool has_work(struct pool *p)
{
	return (uint32_t)atomic_load(&p->claim) || atomic_load(&p->stop);
}

static void *worker_main(void *arg)
{
	struct pool *p = arg;

	while (!atomic_load(&p->stop)) {
		if (!spin_until(p, has_work)) {
			pthread_mutex_lock(&p->lock);
			/* Either this is seen by who publishes work, or the
			 * work is seen here. */
			atomic_fetch_add(&p->sleepers, 1);
			while (!has_work(p))
				pthread_cond_wait(&p->work, &p->lock);
			atomic_fetch_sub(&p->sleepers, 1);
			pthread_mutex_unlock(&p->lock);
		}
		run_chunks(p);
	}
	return NULL;
}

static void start_workers(struct pool *p)
{
	sigset_t all, old;
	pthread_attr_t attr;

	p->started = true;
	p->n_workers = 0;
	if (pthread_attr_init(&attr))
		return;
	/* The program's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (p->n_workers + 1 < p->n_threads &&
	       !pthread_create(&p->worker[p->n_workers], &attr, worker_main,
			       p))
		p->n_workers++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

static void wake_workers(struct pool *p, uint32_t n_chunks)
{
	uint32_t asleep = atomic_load(&p->sleepers);

	if (!asleep)
		return;
	pthread_mutex_lock(&p->lock);
	if (n_chunks > asleep)
		pthread_cond_broadcast(&p->work);
	else
		/* One chunk is for the caller. */
		for (uint32_t i = 1; i < n_chunks; i++)
			pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

/* ---- calls ---------------------------------------------------------- */

static bool all_done(struct pool *p)
{
	return atomic_load(&p->done) == p->job.n_chunks;
}

static void wait_done(struct pool *p)
{
	if (spin_until(p, all_done))
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->caller_sleeps, true);
	while (!all_done(p))
		pthread_cond_wait(&p->finished, &p->lock);
	atomic_store(&p->caller_sleeps, false);
	pthread_mutex_unlock(&p->lock);
}

static bool init_sync(struct pool *p)
{
	if (pthread_mutex_init(&p->lock, NULL))
		return false;
	if (pthread_cond_init(&p->work, NULL))
		goto no_work;
	if (!pthread_cond_init(&p->finished, NULL))
		return true;
	pthread_cond_destroy(&p->work);
no_work:
	pthread_mutex_destroy(&p->lock);
	return false;
}

/*
 * In the child of a fork the workers do not exist and a call of another
 * thread may have left anything behind: begin anew.  False when another thread
 * of the child is at it.
 */
static bool reset_after_fork(struct pool *p, long owner)
{
	if (owner < 0 ||
	    !atomic_compare_exchange_strong(&p->pid, &owner, -1))
		return false;
	bool ok = init_sync(p);

	p->started = !ok;
	p->n_workers = 0;
	atomic_store(&p->claim, 0);
	atomic_store(&p->sleepers, 0);
	atomic_store(&p->caller_sleeps, false);
	atomic_store(&p->busy, false);
	atomic_store(&p->pid, (long)getpid());
	return true;
}

static bool take_pool(struct pool *p)
{
	long owner = atomic_load(&p->pid);

	if (owner != (long)getpid() && !reset_after_fork(p, owner))
		return false;
	if (atomic_exchange(&p->busy, true))
		return false;
	if (!p->started)
		start_workers(p);
	if (p->n_workers)
		return true;
	atomic_store(&p->busy, false);
	return false;
}

static uint32_t count_chunks(const struct pool *p, int64_t n, int64_t grain)
{
	int64_t most = (int64_t)p->n_threads * CHUNKS_PER_THREAD;
	int64_t chunks = n / (grain > 0 ? grain : 1);

	return (uint32_t)(chunks < most ? chunks : most);
}

static void pool_for(struct dlrt_pool *self,
		     void (*fn)(void *arg, int64_t lo, int64_t hi), void *arg,
		     int64_t n, int64_t grain)
{
	struct pool *p = (struct pool *)self;
	uint32_t n_chunks = n > 0 ? count_chunks(p, n, grain) : 0;

	if (n <= 0)
		return;
	/* A call from inside a call, or from a second thread, finds the pool
	 * taken and runs here. */
	if (n_chunks < 2 || p->n_threads < 2 || !take_pool(p)) {
		fn(arg, 0, n);
		return;
	}
	p->job = (struct job){ fn, arg, n, n_chunks };
	atomic_store(&p->done, 0);
	uint64_t call = (atomic_load(&p->claim) >> 32) + 1;

	atomic_store(&p->claim, call << 32 | n_chunks);
	wake_workers(p, n_chunks);
	run_chunks(p);
	wait_done(p);
	atomic_store(&p->busy, false);
}

/* ---- life ----------------------------------------------------------- */

static unsigned count_cpus(void)
{
#ifdef __linux__
	cpu_set_t set;

	/* What this process may use; fails beyond 1024 CPUs. */
	if (!sched_getaffinity(0, sizeof(set), &set))
		return (unsigned)CPU_COUNT(&set);
#endif
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned)n : 1;
}

struct dlrt_pool *dlrt_pool_create(unsigned threads)
{
	unsigned cpus = count_cpus();
	void *mem;

	if (!threads)
		threads = cpus;
	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	if (posix_memalign(&mem, LINE, sizeof(struct pool)))
		return NULL;
	struct pool *p = mem;

	*p = (struct pool){ .base.parallel_for = pool_for,
			    .n_threads = threads, .spin = threads <= cpus };
	atomic_init(&p->pid, (long)getpid());
	p->worker = malloc(threads * sizeof(*p->worker));
	if (!p->worker || !init_sync(p)) {
		free(p->worker);
		free(p);
		return NULL;
	}
	return &p->base;
}

void dlrt_pool_destroy(struct dlrt_pool *pool)
{
	struct pool *p = (struct pool *)pool;

	if (!p)
		return;
	/* After a fork there is nobody to join, and no lock to trust. */
	if (atomic_load(&p->pid) == (long)getpid()) {
		pthread_mutex_lock(&p->lock);
		atomic_store(&p->stop, true);
		pthread_cond_broadcast(&p->work);
		pthread_mutex_unlock(&p->lock);
		for (unsigned i = 0; i < p->n_workers; i++)
			pthread_join(p->worker[i], NULL);
		pthread_cond_destroy(&p->work);
		pthread_cond_destroy(&p->finished);
		pthread_mutex_destroy(&p->lock);
	}
	free(p->worker);
	free(p);
}

unsigned dlrt_pool_threads(const struct dlrt_pool *pool)
{
	const struct pool *p = (const struct pool *)pool;

	if (!p)
		return 1;
	return p->started ? p->n_workers + 1 : p->n_threads;
}
