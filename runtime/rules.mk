# SPDX-License-Identifier: Apache-2.0
# Tests of libdlrt; TSAN=1 runs them under the thread sanitizer.
RT_TEST := $(B)/tests/runtime/test_pool
RT_TEST_FLAGS := $(ALL_CFLAGS) $(if $(TSAN),-fsanitize=thread)

$(RT_TEST): tests/runtime/test_pool.c $(RT_SRC) runtime/include/dlrt.h
	@mkdir -p $(@D)
	$(SAY) "LD      $@"
	$(Q)$(CC) -D_POSIX_C_SOURCE=200809L -Iruntime/include \
		$(RT_TEST_FLAGS) -o $@ tests/runtime/test_pool.c $(RT_SRC) \
		-lpthread

check-runtime: $(RT_TEST)
	$(RT_TEST)

.PHONY: check-runtime
