/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread pool: every element exactly once, whatever the sizes, the number
 * of threads and the callers; pieces not below the grain; nested calls, calls
 * from several threads, and calls after a fork.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dlrt.h"

#define CHECK(cond)                                                        \
	do {                                                               \
		if (!(cond)) {                                             \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, \
				#cond);                                    \
			exit(1);                                           \
		}                                                          \
	} while (0)

enum { MAX_N = 100000 };

/* The sanitizers' own threads and memory do not survive some tests. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

struct task {
	struct dlrt_pool *pool;
	int64_t n, grain;
	pthread_t caller;
	atomic_int bad;
	atomic_uchar *seen;
};

static struct task task_new(struct dlrt_pool *pool)
{
	return (struct task){ .pool = pool,
			      .seen = calloc(MAX_N, sizeof(atomic_uchar)) };
}

static void mark(void *arg, int64_t lo, int64_t hi)
{
	struct task *t = arg;

	if (lo < 0 || hi > t->n || lo >= hi ||
	    (hi - lo < t->grain && hi - lo < t->n))
		atomic_fetch_add(&t->bad, 1);
	for (int64_t i = lo; i < hi; i++)
		atomic_fetch_add(&t->seen[i], 1);
}

static void run(struct task *t, int64_t n, int64_t grain)
{
	t->n = n;
	t->grain = grain;
	for (int64_t i = 0; i < n; i++)
		atomic_store(&t->seen[i], 0);
	t->pool->parallel_for(t->pool, mark, t, n, grain);
	CHECK(!atomic_load(&t->bad));
	for (int64_t i = 0; i < n; i++)
		CHECK(atomic_load(&t->seen[i]) == 1);
}

static void test_sizes(unsigned threads)
{
	static const int64_t n[] = { 0, 1, 2, 3, 7, 8, 9, 63, 1000, MAX_N };
	static const int64_t grain[] = { -1, 0, 1, 2, 5, 64, 1 << 20 };
	struct dlrt_pool *pool = dlrt_pool_create(threads);
	struct task t = task_new(pool);

	CHECK(pool);
	for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++)
		for (size_t k = 0; k < sizeof(grain) / sizeof(*grain); k++)
			run(&t, n[i], grain[k]);
	for (int i = 0; i < 3000; i++)
		run(&t, i % 50, 1);
	CHECK(dlrt_pool_threads(pool) >= 1);
	free(t.seen);
	dlrt_pool_destroy(pool);
}

/* Workers fall asleep between the calls. */
static void test_sleep(void)
{
	struct dlrt_pool *pool = dlrt_pool_create(3);
	struct task t = task_new(pool);
	struct timespec ms = { 0, 1000000 };

	for (int i = 0; i < 50; i++) {
		run(&t, 100, 1);
		nanosleep(&ms, NULL);
	}
	free(t.seen);
	dlrt_pool_destroy(pool);
}

static void outer(void *arg, int64_t lo, int64_t hi)
{
	struct task *t = arg;

	for (int64_t i = lo; i < hi; i++) {
		struct task inner = task_new(t->pool);

		run(&inner, 200, 1);
		free(inner.seen);
		atomic_fetch_add(&t->seen[i], 1);
	}
}

static void test_nested(void)
{
	struct dlrt_pool *pool = dlrt_pool_create(4);
	struct task t = task_new(pool);

	pool->parallel_for(pool, outer, &t, 50, 1);
	for (int i = 0; i < 50; i++)
		CHECK(atomic_load(&t.seen[i]) == 1);
	free(t.seen);
	dlrt_pool_destroy(pool);
}

static void *caller(void *arg)
{
	struct task t = task_new(arg);

	for (int i = 0; i < 500; i++)
		run(&t, 300, 1);
	free(t.seen);
	return NULL;
}

static void test_callers(void)
{
	struct dlrt_pool *pool = dlrt_pool_create(3);
	pthread_t th[6];

	for (int i = 0; i < 6; i++)
		CHECK(!pthread_create(&th[i], NULL, caller, pool));
	for (int i = 0; i < 6; i++)
		pthread_join(th[i], NULL);
	dlrt_pool_destroy(pool);
}

static void test_life(void)
{
	for (int i = 0; i < 200; i++) {
		struct dlrt_pool *pool = dlrt_pool_create(4);
		struct task t = task_new(pool);

		if (i % 2)
			run(&t, 100, 1);
		free(t.seen);
		dlrt_pool_destroy(pool);
	}
	dlrt_pool_destroy(NULL);
}

static void wait_ok(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The child has no workers; it gets its own, or none, and never hangs. */
static void test_fork(void)
{
	struct dlrt_pool *pool = dlrt_pool_create(4);
	struct task t = task_new(pool);

	run(&t, 1000, 1);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		alarm(20);
		run(&t, 1000, 1);
		run(&t, 1000, 1);
		dlrt_pool_destroy(pool);
		_exit(0);
	}
	wait_ok(pid);
	run(&t, 1000, 1);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		alarm(20);
		dlrt_pool_destroy(pool);
		_exit(0);
	}
	wait_ok(pid);
	free(t.seen);
	dlrt_pool_destroy(pool);
}

/* No thread may be started: everything runs on the caller's.  The limit does
 * not bind root, so the address space is limited as well. */
static void test_refused(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		struct dlrt_pool *pool = dlrt_pool_create(8);
		struct task t = task_new(pool);
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_NPROC, &none);
		setrlimit(RLIMIT_AS, &none);
		run(&t, 1000, 1);
		_exit(0);
	}
	wait_ok(pid);
}

static void check_mask(void *arg, int64_t lo, int64_t hi)
{
	struct task *t = arg;
	sigset_t mask;

	(void)lo;
	(void)hi;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (!pthread_equal(t->caller, pthread_self()) &&
	    !sigismember(&mask, SIGUSR1))
		atomic_fetch_add(&t->bad, 1);
}

static void test_signals(void)
{
	struct dlrt_pool *pool = dlrt_pool_create(4);
	struct task t = { .pool = pool, .caller = pthread_self() };
	sigset_t mask;

	for (int i = 0; i < 100; i++)
		pool->parallel_for(pool, check_mask, &t, 100, 1);
	CHECK(!atomic_load(&t.bad));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGUSR1));
	dlrt_pool_destroy(pool);
}

static void test_status(void)
{
	CHECK(dlrt_version() == DLRT_ABI_VERSION);
	CHECK(!strcmp(dlrt_status_text(0), "ok"));
	CHECK(strstr(dlrt_status_text(DLRT_INDEX | 7 << 8), "index"));
	CHECK(dlrt_status_text(255) && dlrt_status_text(-1));
	CHECK(DLRT_NODE(DLRT_INDEX | 7 << 8) == 7);
}

int main(void)
{
	test_status();
	for (unsigned threads = 1; threads <= 7; threads++)
		test_sizes(threads);
	test_sizes(0);
	test_sizes(100);
	test_sleep();
	test_nested();
	test_callers();
	test_life();
	if (!SANITIZED) {
		test_fork();
		test_refused();
	}
	test_signals();
	puts("runtime: ok");
	return 0;
}
