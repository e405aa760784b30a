/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "dlrt.h"

static const char library[] = "libcuda.so.1";

const char *driver_error(const struct driver *d, int code)
{
	const char *name = NULL;

	if (d->error_name)
		d->error_name(code, &name);
	return name ? name : "an unknown error";
}

static int32_t resolve(struct driver *d, char *message, size_t size)
{
	const struct {
		const char *symbol;
		void *at;
	} row[] = {
#define F(field, symbol, arguments) { symbol, &d->field },
		CU_FUNCTIONS(F)
#undef F
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		void *p = dlsym(d->library, row[i].symbol);

		if (!p) {
			snprintf(message, size,
				 "the CUDA driver is too old: it lacks %s",
				 row[i].symbol);
			return DLRT_DEVICE;
		}
		memcpy(row[i].at, &p, sizeof(p));
	}
	return DLRT_OK;
}

int32_t driver_open(struct driver *d, char *message, size_t size)
{
	int32_t status;
	int err;

	memset(d, 0, sizeof(*d));
	d->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!d->library) {
		snprintf(message, size,
			 "no CUDA driver: cannot load %s; this model needs an "
			 "NVIDIA GPU and its driver", library);
		return DLRT_DEVICE;
	}
	status = resolve(d, message, size);
	if (status)
		return status;
	err = d->init(0);
	if (err == CU_NO_DEVICE)
		snprintf(message, size, "a CUDA driver is installed but it "
			 "finds no NVIDIA GPU (%s)", driver_error(d, err));
	else if (err == CU_STUB)
		snprintf(message, size, "%s is a stub library, not a driver",
			 library);
	else if (err)
		snprintf(message, size, "the CUDA driver does not start: %s",
			 driver_error(d, err));
	return err ? DLRT_DEVICE : DLRT_OK;
}

bool driver_find_encoder(struct driver *d)
{
	void *p = d->encode ? NULL
			    : dlsym(d->library, "cuTensorMapEncodeTiled");

	if (p)
		memcpy(&d->encode, &p, sizeof(p));
	return d->encode;
}

void driver_close(struct driver *d)
{
	if (d->library)
		dlclose(d->library);
	d->library = NULL;
}
