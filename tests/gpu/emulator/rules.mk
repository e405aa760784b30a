# SPDX-License-Identifier: Apache-2.0
# A stand-in for the CUDA driver: $(B)/tests/gpu/libcuda.so.1, which programs
# find by LD_LIBRARY_PATH.  It runs on the machine that builds it, so it is
# built for this machine's processor.
EMU_DIR := tests/gpu/emulator
EMU_SRC := $(sort $(wildcard $(EMU_DIR)/*.c))
EMU_OBJ := $(EMU_SRC:%.c=$(B)/%.o)
EMU_LIB := $(B)/tests/gpu/libcuda.so.1
EMU_NATIVE := $(shell $(CC) -march=native -E -x c /dev/null >/dev/null 2>&1 \
	&& echo -march=native)
EMU_CFLAGS := -std=gnu11 -O3 -g -Wall -Wextra -fPIC -fvisibility=hidden \
	-fno-strict-aliasing -ffp-contract=off $(EMU_NATIVE)

$(EMU_OBJ): $(B)/%.o: %.c
	@mkdir -p $(@D)
	$(SAY) "CC      $<"
	$(Q)$(CC) $(EMU_CFLAGS) -MMD -MP -c -o $@ $<

$(EMU_LIB): $(EMU_OBJ)
	$(SAY) "LD      $@"
	$(Q)$(CC) -shared -Wl,-soname,libcuda.so.1 -Wl,-z,defs -o $@ $^ \
		-lpthread -lm -ldl

emulator: $(EMU_LIB)

check-emulator: $(EMU_LIB)
	$(Q)tests/gpu/emulator/run --lib=$(EMU_LIB)

.PHONY: emulator check-emulator
-include $(EMU_OBJ:.o=.d)
