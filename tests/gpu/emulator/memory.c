/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory.
 */
#define _GNU_SOURCE
#include "emu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RESERVED (1ull << 42)
#define ALIGN 512
#define GUARD 65536

static struct alloc *allocs;
static size_t n_allocs, cap_allocs, used;
static uint64_t next_addr, end_addr;

/* The index of the last allocation at or before an address, plus one. */
static size_t find(uint64_t addr)
{
	size_t lo = 0, hi = n_allocs;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (allocs[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct alloc *mem_find(uint64_t addr)
{
	size_t i = find(addr);

	if (!i || addr - allocs[i - 1].addr >= allocs[i - 1].size)
		return NULL;
	return &allocs[i - 1];
}

const struct alloc *mem_before(uint64_t addr)
{
	size_t i = find(addr);

	return i ? &allocs[i - 1] : NULL;
}

void *mem_range(uint64_t addr, uint64_t size)
{
	const struct alloc *a = mem_find(addr);

	if (!a || addr - a->addr > a->size || size > a->addr + a->size - addr)
		return NULL;
	return a->host + (addr - a->addr);
}

static void add(struct alloc a)
{
	size_t i;

	if (n_allocs == cap_allocs) {
		cap_allocs = cap_allocs ? 2 * cap_allocs : 64;
		allocs = realloc(allocs, cap_allocs * sizeof(*allocs));
	}
	i = find(a.addr);
	memmove(allocs + i + 1, allocs + i, (n_allocs - i) * sizeof(*allocs));
	allocs[i] = a;
	n_allocs++;
	used += a.is_host ? 0 : a.size;
}

static unsigned char *poisoned(size_t size)
{
	size_t n = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	unsigned char *p = aligned_alloc(ALIGN, n);

	if (p)
		memset(p, 0xff, n);
	return p;
}

/* The address; 0 if there is no memory left. */
uint64_t mem_alloc(size_t size, bool is_module)
{
	struct alloc a = { .size = size ? size : 1, .is_module = is_module };
	void *p;

	if (!next_addr) {
		p = mmap(NULL, RESERVED, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return 0;
		next_addr = ((uintptr_t)p + GUARD) & ~(uint64_t)(GUARD - 1);
		end_addr = (uintptr_t)p + RESERVED;
	}
	if (size > mem_total() - mem_used() ||
	    size + 2 * GUARD > end_addr - next_addr)
		return 0;
	a.host = poisoned(a.size);
	if (!a.host)
		return 0;
	a.addr = next_addr;
	next_addr += (a.size + 2 * GUARD - 1) & ~(uint64_t)(GUARD - 1);
	add(a);
	return a.addr;
}

void *mem_alloc_host(size_t size)
{
	struct alloc a = { .size = size, .is_host = true };

	a.host = poisoned(size);
	a.addr = (uintptr_t)a.host;
	if (a.host)
		add(a);
	return a.host;
}

bool mem_free(uint64_t addr, bool is_host)
{
	size_t i = find(addr);

	if (!i || allocs[i - 1].addr != addr ||
	    allocs[i - 1].is_host != is_host)
		return false;
	used -= is_host ? 0 : allocs[i - 1].size;
	free(allocs[i - 1].host);
	memmove(allocs + i - 1, allocs + i, (n_allocs - i) * sizeof(*allocs));
	n_allocs--;
	return true;
}

size_t mem_used(void)
{
	return used;
}

size_t mem_total(void)
{
	return strtoull(emu_env("DLCC_EMU_MEMORY", "17179869184"), NULL, 0);
}

void mem_report_leaks(void)
{
	if (*emu_env("DLCC_EMU_LEAKS", "0") == '0')
		return;
	for (size_t i = 0; i < n_allocs; i++)
		if (!allocs[i].is_module)
			note("leak: %llu bytes of %s memory at 0x%llx",
			     (unsigned long long)allocs[i].size,
			     allocs[i].is_host ? "host" : "device",
			     (unsigned long long)allocs[i].addr);
}
