/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's handles, and what its files share.
 */
#ifndef EMU_DRIVER_H
#define EMU_DRIVER_H

#include "emu.h"

#include <pthread.h>

#define EXPORT __attribute__((visibility("default")))
#define ILLEGAL_STATE 401

struct context {
	int retained;
	int error; /* of a kernel: all calls give it from then on */
};
extern struct context primary;

enum node_kind { N_KERNEL, N_COPY, N_SET, N_EVENT };
enum direction { TO_DEVICE, TO_HOST, ON_DEVICE };
struct node {
	enum node_kind kind;
	const struct func *func;
	uint32_t grid[3], dim[3], shared;
	unsigned char *params;
	enum direction dir;
	uint64_t dst, src, size;
	unsigned char value;
	struct event *event;
	struct node *next;
};

struct graph {
	struct node *first, **last;
};
/* An instance holds its own copy of the nodes. */

struct stream {
	unsigned flags; /* 1: does not wait for the NULL stream */
	bool capturing, invalid, is_origin;
	int mode; /* 0 global, 1 this thread, 2 relaxed */
	pthread_t thread;
	struct graph *graph;
	struct stream *origin;
	struct stream *next;
};

struct event {
	uint64_t time;
	bool recorded;
	struct stream *stream;
};

extern pthread_mutex_t big_lock;
void unlock(int *held);
/* The whole driver under one lock, until the function returns. */
#define LOCKED \
	__attribute__((cleanup(unlock), unused)) int held = \
		pthread_mutex_lock(&big_lock)

/* What every call asks first: initialised, a context, no earlier fault. */
int ready(void);
/* As ready, and for calls that no capture allows. */
int ready_unsafe(void);
int run_node(const struct node *n);
/* Runs at once or records into the stream's capture. */
int submit(struct stream *s, const struct node *n);
void free_graph(struct graph *g);
int copy_bytes(enum direction dir, uint64_t dst, uint64_t src, uint64_t n);
bool func_is_live(const struct func *f);
int stream_check(const struct stream *s);

#endif
