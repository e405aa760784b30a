# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets.
VARIANT ?= release
CC      ?= cc
PREFIX  ?= /usr/local
-include config.mk

B   := build/$(VARIANT)
GEN := build/gen
LLVM_CONFIG ?= llvm-config-19
PKGS := isl libprotobuf-c

CFLAGS_release := -O2 -g -DNDEBUG
CFLAGS_debug   := -O0 -g
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wswitch-enum -Wformat=2
CPPFLAGS += -D_POSIX_C_SOURCE=200809L -Icompiler -I$(GEN) -Iruntime/include $(shell pkg-config --cflags $(PKGS)) -isystem $(shell $(LLVM_CONFIG) --includedir)
ALL_CFLAGS := -std=c11 $(WARN) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LDLIBS := $(shell pkg-config --libs $(PKGS)) $(shell $(LLVM_CONFIG) --ldflags --libs) -lpthread -lm

SRC := $(sort $(shell find compiler tools/dlcc -name '*.c'))
OBJ := $(SRC:%.c=$(B)/%.o) $(B)/gen/onnx.pb-c.o
Q := $(if $(V),,@)

all: $(B)/dlcc

$(B)/dlcc: $(OBJ)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

# The registry depends on the list of sources and on their OP( lines.
$(GEN)/opcodes.inc: $(SRC) tools/registry.awk
	@mkdir -p $(GEN)/tmp
	$(Q)awk -v dir=$(GEN)/tmp -f tools/registry.awk $(SRC)
	$(Q)for f in opcodes attrs passes; do cmp -s $(GEN)/tmp/$$f.inc $(GEN)/$$f.inc || cp $(GEN)/tmp/$$f.inc $(GEN)/$$f.inc; done; touch $@

$(B)/%.o: %.c | $(GEN)/opcodes.inc $(GEN)/onnx.pb-c.h
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJ:.o=.d)
.PHONY: all
