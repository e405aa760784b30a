# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets.  Local settings go into config.mk.
VARIANT ?= release
CC      ?= cc
AR      ?= ar
PREFIX  ?= /usr/local
JOBS    ?= 2
-include config.mk

bindir       ?= $(PREFIX)/bin
libdir       ?= $(PREFIX)/lib
includedir   ?= $(PREFIX)/include
mandir       ?= $(PREFIX)/share/man
pkgconfigdir ?= $(libdir)/pkgconfig
cmakedir     ?= $(libdir)/cmake/dlcc

B   := build/$(VARIANT)
GEN := build/gen
VERSION := $(shell cat VERSION)
SOVERSION := 0
LLVM_CONFIG ?= llvm-config-19
PKG_CONFIG  ?= pkg-config
PYTHON := .venv/bin/python
PKGS := isl libprotobuf-c

CFLAGS_release := -O2 -g -DNDEBUG
CFLAGS_debug   := -O0 -g
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes \
	-Wstrict-prototypes -Wvla -Wformat=2
CPPFLAGS += -D_POSIX_C_SOURCE=200809L -DDLCC_VERSION='"$(VERSION)"' \
	-Icompiler -I$(GEN) -Iruntime/include \
	$(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null) \
	-isystem $(shell $(LLVM_CONFIG) --includedir 2>/dev/null)
ALL_CFLAGS := -std=c11 $(WARN) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LDLIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) \
	$(shell $(LLVM_CONFIG) --ldflags --libs 2>/dev/null) -ldl -lpthread -lm

SRC := $(sort $(shell find compiler tools/dlcc -name '*.c'))
# Headers of records with attributes in common.
OP_HDR := $(sort $(wildcard compiler/ir/ops/*/*.h))
OBJ := $(SRC:%.c=$(B)/%.o) $(B)/gen/onnx.pb-c.o
LIB_OBJ := $(filter-out $(B)/tools/dlcc/main.o,$(OBJ))
RT_SRC := $(sort $(wildcard runtime/*.c))
RT_OBJ := $(RT_SRC:%.c=$(B)/%.o)
UNIT_SRC := $(sort $(wildcard tests/unit/*.c))
UNIT_OBJ := $(UNIT_SRC:%.c=$(B)/%.o)
Q := $(if $(V),,@)
SAY = $(if $(V),@:,@echo) " "

all: $(B)/dlcc $(B)/libdlrt.a $(B)/libdlrt.so

$(B)/dlcc: $(OBJ) $(B)/libdlrt.a
	$(SAY) "LD      $@"
	$(Q)part=$@.$$$$; $(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $$part $(OBJ) \
		$(B)/libdlrt.a $(LDLIBS) && mv -f $$part $@

$(B)/libdlrt.a: $(RT_OBJ)
	$(SAY) "AR      $@"
	$(Q)rm -f $@; $(AR) rcsD $@ $(RT_OBJ)

$(B)/libdlrt.so: $(RT_OBJ)
	$(SAY) "LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared \
		-Wl,-soname,libdlrt.so.$(SOVERSION) -o $@ $(RT_OBJ) -lpthread

# A file that changes when the list of sources does, so that a removed file
# leaves the registry too.
$(GEN)/sources: FORCE
	@mkdir -p $(@D)
	@echo $(SRC) $(OP_HDR) | cmp -s - $@ || echo $(SRC) $(OP_HDR) >$@

# The registry depends on the list of sources and on their OP( lines.  What it
# writes keeps its time when nothing changed, so that an edit rebuilds one file.
REGISTRY := $(GEN)/opcodes.inc $(GEN)/attrs.inc $(GEN)/passes.inc
$(GEN)/registry: $(SRC) $(OP_HDR) $(GEN)/sources tools/registry.awk
	@mkdir -p $(GEN)/tmp
	$(Q)awk -v dir=$(GEN)/tmp -f tools/registry.awk $(SRC) $(OP_HDR)
	$(Q)for f in $(notdir $(REGISTRY)); do \
		cmp -s $(GEN)/tmp/$$f $(GEN)/$$f || \
		cp $(GEN)/tmp/$$f $(GEN)/$$f || exit 1; \
	done; touch $@
$(REGISTRY): $(GEN)/registry
	@:

# ONNX's own schema, from the Python package that set-up installs.
ONNX_PROTO ?= $(wildcard .venv/lib/python3*/site-packages/onnx/onnx-ml.proto)
$(GEN)/onnx.pb-c.h $(GEN)/onnx.pb-c.c &: $(ONNX_PROTO)
	@mkdir -p $(GEN)
	$(SAY) "PROTO   $(GEN)/onnx.pb-c.h"
	$(Q)proto=$(ONNX_PROTO); \
	[ "$$proto" ] || proto=$$($(PYTHON) -c \
		'import onnx; print(onnx.__path__[0] + "/onnx-ml.proto")'); \
	cp "$$proto" $(GEN)/onnx.proto
	$(Q)protoc-c --proto_path=$(GEN) --c_out=$(GEN) $(GEN)/onnx.proto

# The prelude of CUDA kernels as numbers.
PRELUDE := compiler/codegen/ptx/prelude
$(GEN)/prelude.inc: compiler/codegen/ptx/intrinsics.cuh $(PRELUDE).cuh
	@mkdir -p $(@D)
	$(Q)cat $^ | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g' >$@
$(B)/$(PRELUDE).o: $(GEN)/prelude.inc

$(B)/gen/onnx.pb-c.o: $(GEN)/onnx.pb-c.c
	@mkdir -p $(@D)
	$(SAY) "CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -w -c -o $@ $<

$(B)/%.o: %.c | $(REGISTRY) $(GEN)/onnx.pb-c.h
	@mkdir -p $(@D)
	$(SAY) "CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The runtime goes into other people's programs and shared libraries.
$(RT_OBJ): ALL_CFLAGS += -fPIC -fvisibility=hidden

debug asan:
	$(Q)$(MAKE) VARIANT=$@ all

setup:
	@tools/setup

# What needs packages that are not there yet is made by a second make, which
# then finds their flags.
check check-full: setup
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)MAKE=$(MAKE) tests/run $(if $(filter check-full,$@),--full)
check-unit check-lit check-layers check-onnx check-models check-hostile \
check-objects check-driver check-symbolic check-passes check-random \
check-small check-quant check-integer check-exported check-aarch64 \
check-armv7 \
check-shape check-accuracy check-gpu check-twin: all
	$(Q)MAKE=$(MAKE) tests/run $(@:check-%=%)

-include runtime/rules.mk tests/math/rules.mk tests/gpu/emulator/rules.mk

$(B)/unit: $(UNIT_OBJ) $(LIB_OBJ) $(B)/libdlrt.a
	$(SAY) "LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lcriterion $(LDLIBS)
unit: $(B)/unit

demo: setup
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)$(MAKE) -s -C examples/digits DLCC=$(abspath $(B)/dlcc) \
		DLRT=$(abspath runtime/include) \
		OUT=$(abspath build/digits) run
demo-search:
	@tools/setup --search
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)$(MAKE) -s -C examples/search DLCC=$(abspath $(B)/dlcc) \
		DLRT=$(abspath runtime/include) PYTHON=$(abspath $(PYTHON)) \
		LIBDLRT=$(abspath $(B)/libdlrt.a) \
		OUT=$(abspath build/search) run
bench: setup
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)tests/bench/run
# On the GPU of this machine; without one they say so.
gpu-check: setup
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)tests/gpu/run --device
gpu-bench: setup
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)tests/gpu/bench

install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir) \
		$(DESTDIR)$(includedir) $(DESTDIR)$(pkgconfigdir) \
		$(DESTDIR)$(cmakedir) $(DESTDIR)$(mandir)/man1
	install -m 755 $(B)/dlcc $(DESTDIR)$(bindir)/dlcc
	install -m 644 runtime/include/dlrt.h $(DESTDIR)$(includedir)/dlrt.h
	install -m 644 $(B)/libdlrt.a $(DESTDIR)$(libdir)/libdlrt.a
	install -m 755 $(B)/libdlrt.so \
		$(DESTDIR)$(libdir)/libdlrt.so.$(VERSION)
	ln -sf libdlrt.so.$(VERSION) $(DESTDIR)$(libdir)/libdlrt.so.$(SOVERSION)
	ln -sf libdlrt.so.$(SOVERSION) $(DESTDIR)$(libdir)/libdlrt.so
	for f in dlcc.pc dlrt.pc; do \
		sed -e 's|@prefix@|$(PREFIX)|' -e 's|@version@|$(VERSION)|' \
		-e 's|@bindir@|$(bindir)|' -e 's|@libdir@|$(libdir)|' \
		-e 's|@includedir@|$(includedir)|' tools/package/$$f.in \
		>$(DESTDIR)$(pkgconfigdir)/$$f && \
		chmod 644 $(DESTDIR)$(pkgconfigdir)/$$f || exit 1; \
	done
	for f in dlccConfig.cmake dlccConfigVersion.cmake; do \
		sed -e 's|@version@|$(VERSION)|' -e 's|@bindir@|$(bindir)|' \
		-e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' \
		tools/package/$$f.in >$(DESTDIR)$(cmakedir)/$$f && \
		chmod 644 $(DESTDIR)$(cmakedir)/$$f || exit 1; \
	done
	install -m 644 docs/dlcc.1 $(DESTDIR)$(mandir)/man1/dlcc.1

uninstall:
	rm -f $(DESTDIR)$(bindir)/dlcc $(DESTDIR)$(includedir)/dlrt.h \
		$(DESTDIR)$(libdir)/libdlrt.a $(DESTDIR)$(libdir)/libdlrt.so \
		$(DESTDIR)$(libdir)/libdlrt.so.$(SOVERSION) \
		$(DESTDIR)$(libdir)/libdlrt.so.$(VERSION) \
		$(DESTDIR)$(pkgconfigdir)/dlcc.pc \
		$(DESTDIR)$(pkgconfigdir)/dlrt.pc \
		$(DESTDIR)$(cmakedir)/dlccConfig.cmake \
		$(DESTDIR)$(cmakedir)/dlccConfigVersion.cmake \
		$(DESTDIR)$(mandir)/man1/dlcc.1

clean:
	rm -rf build

help:
	@echo 'make [VARIANT=release|debug|asan] [V=1] TARGET'
	@echo
	@echo '  all           the compiler and libdlrt, in build/VARIANT'
	@echo '  debug asan    the same as another variant'
	@echo '  setup         install what building and testing needs'
	@echo '  demo          compile and run a trained model on real data'
	@echo '  demo-search   nearest sentences by a compiled MiniLM'
	@echo '  check         all tests; check-full: the long forms of them'
	@echo '  check-SUITE   layers unit lit runtime math driver hostile'
	@echo '                objects models onnx symbolic passes random aarch64'
	@echo '                shape small quant integer exported accuracy gpu'
	@echo '  bench         against ONNX Runtime on this machine'
	@echo '  gpu-check gpu-bench   on the NVIDIA GPU of this machine'
	@echo '  install       to DESTDIR and PREFIX; uninstall'
	@echo '  clean         remove build/'

FORCE:
.PHONY: all FORCE setup debug asan check check-full check-unit check-lit \
	check-layers check-onnx check-models check-hostile check-objects \
	check-driver check-symbolic check-passes check-random check-aarch64 \
	check-small check-quant check-integer check-exported check-shape \
	check-accuracy check-gpu unit \
	demo demo-search bench gpu-check gpu-bench install uninstall clean help

-include $(OBJ:.o=.d) $(RT_OBJ:.o=.d) $(UNIT_OBJ:.o=.d)
