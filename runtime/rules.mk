# SPDX-License-Identifier: Apache-2.0
# Tests of libdlrt, as the variant is built and under the thread sanitizer.
RT_TEST := $(B)/tests/runtime/test_pool
$(RT_TEST)-tsan: ALL_CFLAGS := -std=c11 $(WARN) -O1 -g -fsanitize=thread

$(RT_TEST) $(RT_TEST)-tsan: tests/runtime/test_pool.c $(RT_SRC) runtime/include/dlrt.h
	@mkdir -p $(@D)
	$(SAY) "LD      $@"
	$(Q)$(CC) -D_POSIX_C_SOURCE=200809L -Iruntime/include \
		$(ALL_CFLAGS) -o $@ tests/runtime/test_pool.c $(RT_SRC) \
		-lpthread

check-runtime: $(RT_TEST) $(RT_TEST)-tsan
	$(Q)$(RT_TEST)
	$(Q)$(RT_TEST)-tsan
	@echo 2 passed, 0 failed

.PHONY: check-runtime
