# SPDX-License-Identifier: Apache-2.0
# make -f tests/onnx/eval.mk: builds build/eval/eval_case from the layers base
# and ir alone.  `make` must have made build/gen before.
CC ?= cc
B := build/eval
SRC := $(sort $(shell find compiler/base compiler/ir -name '*.c'))
OBJ := $(SRC:%.c=$(B)/%.o) $(B)/onnx.pb-c.o $(B)/eval_case.o
ALL_CPPFLAGS := -D_POSIX_C_SOURCE=200809L -Icompiler -Ibuild/gen $(shell pkg-config --cflags libprotobuf-c) $(CPPFLAGS)
ALL_CFLAGS := -std=c11 -O1 -g -Wall -Wextra $(CFLAGS)

$(B)/eval_case: $(OBJ)
	$(CC) $(ALL_CFLAGS) -o $@ $(OBJ) $(shell pkg-config --libs libprotobuf-c) -lm
$(B)/onnx.pb-c.o: build/gen/onnx.pb-c.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -std=c11 -O1 -c -o $@ $<
$(B)/eval_case.o: tests/onnx/eval_case.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
-include $(OBJ:.o=.d)
