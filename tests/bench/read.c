/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times reading memory.
 *
 * Usage: read BYTES THREADS
 * Each line `N` of the standard input is answered with the seconds of N passes
 * over that many bytes, one per line.  Each thread sums a part of its own in
 * several streams of vectors, which is as fast as loads go.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 64, STREAMS = 8 };

typedef uint64_t wide __attribute__((vector_size(32)));

static struct {
	unsigned n_threads;
	size_t n;		/* vectors of a thread */
	wide *data;
	wide sum[MAX_THREADS][2];
	pthread_barrier_t begin, end;
} all;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pass(unsigned thread)
{
	const wide *p = all.data + thread * all.n;
	wide s[STREAMS] = { { 0 } };

	for (size_t i = 0; i + STREAMS <= all.n; i += STREAMS)
		for (size_t k = 0; k < STREAMS; k++)
			s[k] += p[i + k];
	for (size_t k = 1; k < STREAMS; k++)
		s[0] += s[k];
	all.sum[thread][0] += s[0];
}

static void *worker(void *arg)
{
	unsigned thread = (unsigned)(uintptr_t)arg;

	for (;;) {
		pthread_barrier_wait(&all.begin);
		pass(thread);
		pthread_barrier_wait(&all.end);
	}
	return NULL;
}

static double timed_pass(void)
{
	double start = seconds();

	if (all.n_threads > 1)
		pthread_barrier_wait(&all.begin);
	pass(0);
	if (all.n_threads > 1)
		pthread_barrier_wait(&all.end);
	return seconds() - start;
}

int main(int argc, char **argv)
{
	char line[32];
	size_t bytes;
	void *data;

	if (argc != 3) {
		fprintf(stderr, "usage: read BYTES THREADS\n");
		return 1;
	}
	bytes = strtoull(argv[1], NULL, 10);
	all.n_threads = (unsigned)strtoul(argv[2], NULL, 10);
	if (!all.n_threads || all.n_threads > MAX_THREADS)
		return 1;
	all.n = bytes / sizeof(wide) / all.n_threads;
	if (posix_memalign(&data, 4096, bytes + 4096))
		return 5;
	memset(data, 1, bytes + 4096);
	all.data = data;
	pthread_barrier_init(&all.begin, NULL, all.n_threads);
	pthread_barrier_init(&all.end, NULL, all.n_threads);
	for (unsigned i = 1; i < all.n_threads; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, worker, (void *)(uintptr_t)i))
			return 5;
	}
	while (fgets(line, sizeof(line), stdin)) {
		for (long n = strtol(line, NULL, 10); n > 0; n--)
			printf("%.9f\n", timed_pass());
		fflush(stdout);
	}
	/* What was read is used. */
	return all.sum[0][0][0] == 1;
}
