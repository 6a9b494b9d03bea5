# Moongate. `make help` tells the targets.
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= cc
V       ?= 0
WERROR  ?= 1

PACKAGES := lua5.4 libcurl libevent_pthreads libcjson libssl libcrypto zlib
# libcurl is loaded when it is needed (core/upstream/curl_library.c): only its header is.
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE -Icore -fPIC -fvisibility=hidden -g $(OPT) $(WARN) \
  $(shell pkg-config --cflags $(PACKAGES)) -pthread $(CFLAGS)
LIBS = $(shell pkg-config --libs $(filter-out libcurl,$(PACKAGES))) -levent -lm -pthread
OPT  = -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla \
  -Wpointer-arith -Wno-format-truncation $(if $(filter 1,$(WERROR)),-Werror)

# The same tree under address and undefined-behaviour sanitizers: what every test runs against.
ifeq ($(SANITIZE),1)
OPT = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
endif

PARTS    := base net config state upstream policy gateway bind sim admin
LIB_SRC  := $(sort $(wildcard $(PARTS:%=core/%/*.c))) $(sort $(wildcard core/moongate*.c))
CLI_SRC  := core/main.c $(sort $(wildcard core/cli/*.c))
LIB_OBJ  := $(LIB_SRC:core/%.c=$(BUILD)/obj/%.o)
CLI_OBJ  := $(CLI_SRC:core/%.c=$(BUILD)/obj/%.o)
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
Q        := $(if $(filter 1,$(V)),,@)

all: $(BUILD)/moongate $(BUILD)/libmoongate.so.0 ## build the program and the library

# Where the installed library is to be found is compiled in: another PREFIX compiles those two files again.
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@
$(BUILD)/obj/moongate.o $(BUILD)/obj/cli/options.o: $(BUILD)/prefix

$(BUILD)/obj/%.o: core/%.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -DMOONGATE_DATADIR='"$(PREFIX)/share/moongate"' -c $< -o $@

$(BUILD)/libmoongate.a: $(LIB_OBJ)
	$(if $(Q),@echo "  AR    $@")
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/libmoongate.so.0: $(LIB_OBJ)
	$(if $(Q),@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,-soname,libmoongate.so.0 $^ $(LIBS) -o $@

$(BUILD)/moongate: $(CLI_OBJ) $(BUILD)/libmoongate.a
	$(if $(Q),@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS_ALL) $^ $(LIBS) -o $@

$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libmoongate.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "  TEST  $<")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP $< $(BUILD)/libmoongate.a -lcmocka $(LIBS) -o $@

# tests/support/failing_memory.h stands between our objects and the system's allocator.
$(filter %memory,$(UNIT)): LIBS += $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc strdup strndup asprintf)
comma := ,

unit-tests: $(UNIT)

setup: ## install what a build needs (Debian)
	@tests/support/setup.sh build

asan: ## build under sanitizers into build/asan
	@$(MAKE) --no-print-directory BUILD=build/asan SANITIZE=1 all unit-tests

demo: setup ## see it work: two pretend providers, one of them failing, and a gateway
	@$(MAKE) --no-print-directory all
	@examples/demo/demo.sh

test: ## set up and run all tests, against the sanitized build
	@tests/support/setup.sh test
	@$(MAKE) --no-print-directory all asan lint
	@tests/support/run_tests.sh

test-clients: ## what comes from npm: JavaScript SDKs, a pretend provider, an agent program
	@tests/support/setup.sh clients
	@$(MAKE) --no-print-directory asan
	@tests/clients/run.sh

lint: ## the rules of the house: includes, banned functions, file openings
	@tests/support/lint.sh

tsan: ## look for data races: threaded unit tests and multi-worker end-to-end tests under ThreadSanitizer
	@tests/support/setup.sh test
	@tests/support/tsan.sh

reference: ## write the reference in policies/README.md anew, from lua/meta
	@lua5.4 tests/support/reference.lua

bench: ## CPU and latency against HAProxy in the same run, reloads under load, the simulator's speed
	@tests/support/setup.sh bench
	@$(MAKE) --no-print-directory all
	@tests/bench/run.sh

soak: ## mixed traffic, faults and reloads, every byte checked (SOAK_MINUTES, default 30)
	@tests/support/setup.sh test
	@$(MAKE) --no-print-directory all
	@tests/support/venv.sh
	@build/venv/bin/python -B tests/soak/soak.py

profile: ## where the time of a request and of a streamed event goes
	@tests/support/setup.sh profile
	@$(MAKE) --no-print-directory all
	@python3 -B tests/bench/profiler.py

fuzz: ## run each fuzz target for a while (FUZZ_SECONDS, default 60)
	@tests/support/setup.sh fuzz
	@tests/fuzz/run.sh

install: all ## install into PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/moongate
	install -m 755 $(BUILD)/moongate $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(BUILD)/libmoongate.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(BUILD)/libmoongate.so.0 $(DESTDIR)$(PREFIX)/lib/
	ln -sf libmoongate.so.0 $(DESTDIR)$(PREFIX)/lib/libmoongate.so
	install -m 644 core/moongate.h $(DESTDIR)$(PREFIX)/include/
	cp -R lua policies core/admin/openapi.json $(DESTDIR)$(PREFIX)/share/moongate/
	sed 's|@PREFIX@|$(PREFIX)|' tests/support/moongate.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/moongate.pc

clean: ## remove what was built
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

FORCE:
.PHONY: FORCE all unit-tests setup asan demo test test-clients lint tsan reference bench soak profile fuzz install clean help
-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(UNIT:=.d)
