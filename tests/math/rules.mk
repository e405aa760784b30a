# SPDX-License-Identifier: Apache-2.0
# `make check-math`: the elementary functions of generated code against libm,
# and that they need no library.  MATH_ARGS=--full takes denser samples,
# MATH_ARGS=--time shows nanoseconds per element instead.
MATH_DIR := $(B)/tests/math
MATH_VARIANTS := base1 base v3_1 v3 v4
MATH_OBJ := $(MATH_VARIANTS:%=$(MATH_DIR)/out/%.o)
MATH_LIB := $(patsubst %.c,$(B)/%.o,\
	$(sort $(wildcard compiler/codegen/llvm/math*.c)))

$(MATH_DIR)/emit: $(MATH_DIR)/emit.o $(MATH_LIB)
	$(SAY) "LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(MATH_OBJ) &: $(MATH_DIR)/emit
	@mkdir -p $(MATH_DIR)/out
	$(SAY) "EMIT    $(MATH_DIR)/out"
	$(Q)$(MATH_DIR)/emit $(MATH_DIR)/out

$(MATH_DIR)/check: $(MATH_DIR)/check.o $(MATH_OBJ)
	$(SAY) "LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lm

check-math: $(MATH_DIR)/check
	$(Q)! nm -u $(MATH_OBJ) | grep ' U '
	$(Q)$(MATH_DIR)/check $(MATH_ARGS)

.PHONY: check-math
-include $(MATH_DIR)/emit.d $(MATH_DIR)/check.d
