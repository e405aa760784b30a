/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVRTC, NVIDIA's library that compiles CUDA C++, opened when it is needed:
 * nothing of NVIDIA's is linked or included.  The declarations are those of
 * its documentation.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/ptx/cu.h"

typedef struct program *nvrtc_program;

struct nvrtc {
	void *library;
	int major, minor;
	int (*version)(int *major, int *minor);
	int (*create)(nvrtc_program *p, const char *text, const char *name,
		      int n_headers, const char *const *headers,
		      const char *const *names);
	int (*destroy)(nvrtc_program *p);
	int (*compile)(nvrtc_program p, int n, const char *const *options);
	int (*log_size)(nvrtc_program p, size_t *n);
	int (*log)(nvrtc_program p, char *text);
	int (*ptx_size)(nvrtc_program p, size_t *n);
	int (*ptx)(nvrtc_program p, char *text);
	int (*cubin_size)(nvrtc_program p, size_t *n);
	int (*cubin)(nvrtc_program p, char *data);
};

/* Where to look, newest first; the loader's own paths come first. */
static const char *const places[] = {
	"libnvrtc.so.13",
	"libnvrtc.so.12",
	"/usr/local/cuda/lib64/libnvrtc.so.13",
	"/usr/local/cuda/lib/libnvrtc.so.13",
	"/usr/local/cuda/lib64/libnvrtc.so.12",
	"/usr/local/cuda/lib/libnvrtc.so.12",
};

static bool resolve(struct nvrtc *n)
{
	const struct {
		const char *name;
		void *at;
	} symbol[] = {
		{ "nvrtcVersion", &n->version },
		{ "nvrtcCreateProgram", &n->create },
		{ "nvrtcDestroyProgram", &n->destroy },
		{ "nvrtcCompileProgram", &n->compile },
		{ "nvrtcGetProgramLogSize", &n->log_size },
		{ "nvrtcGetProgramLog", &n->log },
		{ "nvrtcGetPTXSize", &n->ptx_size },
		{ "nvrtcGetPTX", &n->ptx },
		{ "nvrtcGetCUBINSize", &n->cubin_size },
		{ "nvrtcGetCUBIN", &n->cubin },
	};

	for (size_t i = 0; i < ARRAY_SIZE(symbol); i++) {
		void *p = dlsym(n->library, symbol[i].name);

		if (!p)
			return false;
		memcpy(symbol[i].at, &p, sizeof(p));
	}
	return !n->version(&n->major, &n->minor);
}

struct nvrtc *nvrtc_open(struct ctx *c, const char *path)
{
	struct nvrtc *n = NEW(&c->perm, struct nvrtc);

	if (!path)
		path = getenv("DLCC_NVRTC");
	if (path) {
		n->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (n->library && resolve(n))
			return n;
		diag_error(&c->diag, EXIT_IO, NULL,
			   "%s is no NVRTC that can be loaded (%s)", path,
			   n->library ? "symbols are missing" : dlerror());
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		n->library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
		if (n->library && resolve(n))
			return n;
	}
	diag_error(&c->diag, EXIT_IO, NULL,
		   "code for a GPU needs NVIDIA's compiler library, and "
		   "neither libnvrtc.so.13 nor libnvrtc.so.12 was found; "
		   "install the package cuda-nvrtc, or the Python package "
		   "nvidia-cuda-nvrtc and name its library with --nvrtc=PATH; "
		   "--emit=cuda works without");
	return NULL;
}

/* PTX and machine code of a release need a driver of that release. */
unsigned nvrtc_min_driver(const struct nvrtc *n)
{
	return (unsigned)(n->major * 1000 + n->minor * 10);
}

static char *take_log(struct nvrtc *n, nvrtc_program p)
{
	size_t size = 0;
	char *log;

	if (n->log_size(p, &size))
		size = 0;
	log = xrealloc(NULL, size + 1, 1);
	if (size && n->log(p, log))
		size = 0;
	log[size] = 0;
	return log;
}

/* "... 0 bytes spill stores ..." is said for each kernel. */
bool nvrtc_spills(const char *log)
{
	static const char what[] = " bytes spill stores";

	/* wgmma one by one, C7510 and its kin, is only told here. */
	if (strstr(log, "Performance Loss"))
		return true;
	for (const char *p = strstr(log, what); p; p = strstr(p + 1, what)) {
		const char *q = p;

		while (q > log && q[-1] >= '0' && q[-1] <= '9')
			q--;
		if (p - q != 1 || *q != '0')
			return true;
	}
	return false;
}

static bool take_image(struct nvrtc *n, nvrtc_program p, bool ptx,
		       struct blob *out)
{
	size_t size = 0;
	char *data;

	if ((ptx ? n->ptx_size : n->cubin_size)(p, &size) || !size)
		return false;
	data = xrealloc(NULL, size, 1);
	if ((ptx ? n->ptx : n->cubin)(p, data)) {
		free(data);
		return false;
	}
	*out = (struct blob){ data, size };
	return true;
}

/* What NVRTC makes of a text. */
struct made {
	struct blob cubin, ptx;
	char *log;
};

static void drop(struct made *m)
{
	free((void *)(uintptr_t)m->cubin.data);
	free((void *)(uintptr_t)m->ptx.data);
	free(m->log);
}

/* NVRTC for the text, with the first n_more of: a block may take all the
 * registers; no kernels that copy boxes. */
static bool compile_once(struct nvrtc *n, const char *text, const char *arch,
			 bool want_ptx, unsigned n_more, struct made *m)
{
	char option[64];
	const char *options[] = {
		option, "--std=c++17", "--fmad=false", "--ptxas-options=-v",
		"-DDL_ROOM", "-DDL_NO_BOXES",
	};
	nvrtc_program p;
	bool ok;

	*m = (struct made){ 0 };
	snprintf(option, sizeof(option), "-arch=%s", arch);
	if (n->create(&p, text, "kernels.cu", 0, NULL, NULL)) {
		m->log = xrealloc(NULL, 1, 1);
		*m->log = 0;
		return false;
	}
	ok = !n->compile(p, (int)(4 + n_more), options);
	m->log = take_log(n, p);
	ok = ok && take_image(n, p, false, &m->cubin) &&
	     (!want_ptx || take_image(n, p, true, &m->ptx));
	n->destroy(&p);
	return ok;
}

/*
 * ptxas holds registers back for more blocks at a time: where that makes it
 * spill, it may not.  Where kernels that copy boxes are at fault, or their
 * matrix instructions wait for each other, they are left out: each has another
 * one beside it.
 */
bool nvrtc_compile(struct nvrtc *n, const char *text, const char *arch,
		   struct blob *cubin, struct blob *ptx, char **log)
{
	unsigned last = strstr(text, "#if DL_BOXES\n") ? 2 : 1;
	struct made kept, next;
	bool ok = compile_once(n, text, arch, ptx, 0, &kept);

	for (unsigned i = 1; ok && i <= last && nvrtc_spills(kept.log); i++) {
		ok = compile_once(n, text, arch, ptx, i, &next);
		if (i == 2 && ok && nvrtc_spills(next.log)) {
			drop(&next);
			break;
		}
		drop(&kept);
		kept = next;
	}
	*cubin = kept.cubin;
	if (ptx)
		*ptx = kept.ptx;
	*log = kept.log;
	return ok;
}
