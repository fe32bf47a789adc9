# Purser. `make trader` sets everything up and builds; `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BUILD ?= build
BIN ?= bin
CC := gcc
WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wswitch-enum -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla
# OPT: chosen for this machine, or by you; PORTABLE=1 for any machine of the architecture. Handed on to build.py.
ifndef OPT
OPT := $(shell PORTABLE=$(PORTABLE) setup/compile-flags.sh)
endif
export OPT
# EXTRA: for example -DPURSER_HEAP_TRAP, a build that counts heap calls between tick and order
CFLAGS := -std=c17 -D_GNU_SOURCE -fPIC -g $(OPT) $(WARN) -fno-strict-aliasing $(EXTRA)
LIBS := -lssl -lcrypto -lcurl -ljansson -lzmq -lz -lpthread -lm

PYTHON := .venv/bin/python
BRIDGE_SRC := $(wildcard bridge/*.c)
CORE_SRC := $(filter-out c_core/src/main_trader.c,$(shell find c_core/src -name '*.c' | sort))
BRIDGE_OBJ := $(BRIDGE_SRC:%.c=$(BUILD)/%.o)
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o)
BENCHMARKS := $(patsubst benchmarks/%.c,$(BUILD)/benchmarks/%,$(wildcard benchmarks/bench_*.c))
# layout.h is laid out by its generator
C_FILES = $(filter-out bridge/layout.h,$(shell find benchmarks bridge c_core tests/c -name '*.[ch]'))
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))

## trader: install what is missing, build bin/trader, libengine and the Python modules
.PHONY: trader
trader: $(BUILD)/.system $(BUILD)/.venv
	@$(MAKE) --no-print-directory .built
	@setup/command-on-path.sh
	@echo "✓ $(BIN)/trader and control are ready: control start --paper"

.PHONY: .built
.built: $(BIN)/trader $(BUILD)/.bridge-module $(BUILD)/.engine-module
	@:

$(BUILD)/.system: setup/packages.txt setup/system-packages.sh
	@mkdir -p $(@D)
	@setup/system-packages.sh
	@touch $@

$(BUILD)/.venv: requirements.lock pyproject.toml | $(BUILD)/.system
	@mkdir -p $(@D)
	@echo "… installing Python packages into .venv (a minute or two the first time)"
	@python=$$(command -v /usr/bin/python3 || command -v python3); \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $$python is $$($$python -V)" >&2; exit 1; }; \
	[[ -x $(PYTHON) ]] || $$python -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >$(BUILD)/pip.log 2>&1 || { tail -n 20 $(BUILD)/pip.log >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e . >>$(BUILD)/pip.log 2>&1 || { tail -n 20 $(BUILD)/pip.log >&2; exit 1; }
	@touch $@
	@echo "✓ Python packages installed"

# Changed only when the flags do: then everything is compiled anew.
FLAGS_USED = $(CC) $(CFLAGS)
$(BUILD)/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_USED)' | cmp -s - $@ || echo '$(FLAGS_USED)' >$@
.PHONY: FORCE
FORCE:

$(BUILD)/%.o: %.c $(BUILD)/.flags
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/libbridge.a: $(BRIDGE_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BUILD)/libengine.a: $(CORE_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BIN)/trader: $(BUILD)/c_core/src/main_trader.o $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/.bridge-module: bridge/build.py $(wildcard bridge/*.h) $(BRIDGE_SRC) $(BUILD)/.flags
	@mkdir -p $(@D)
	@echo "  CFFI bridge"
	@$(PYTHON) bridge/build.py
	@touch $@
$(BUILD)/.engine-module: c_core/build.py c_core/include/engine.h $(wildcard bridge/*.h) $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@echo "  CFFI c_core.engine"
	@$(PYTHON) c_core/build.py --build-dir $(BUILD)
	@touch $@
$(BUILD)/tests/%: tests/c/%.c $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $^ $(LIBS)

# What the programs share, and simdjson's side of the comparison where it is installed.
BENCH_OBJ := $(patsubst benchmarks/%.c,$(BUILD)/benchmarks/%.o,$(filter-out benchmarks/bench_%,$(wildcard benchmarks/*.c)))
SIMDJSON := $(wildcard /usr/include/simdjson.h)
$(BUILD)/benchmarks/simdjson_decode.o: benchmarks/simdjson_decode.cpp benchmarks/simdjson_decode.h
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@g++ -std=c++17 $(OPT) -Wall -Wextra -c $< -o $@
$(BENCHMARKS): $(BUILD)/benchmarks/%: $(BUILD)/benchmarks/%.o $(BENCH_OBJ) $(if $(SIMDJSON),$(BUILD)/benchmarks/simdjson_decode.o) $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@echo "  LD $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS) $(if $(SIMDJSON),-lsimdjson -lstdc++)

## heap-trap: bin/trader built to count heap calls between tick and order (build/heap-trap/bin)
.PHONY: heap-trap
heap-trap:
	@$(MAKE) --no-print-directory BUILD=build/heap-trap BIN=build/heap-trap/bin EXTRA=-DPURSER_HEAP_TRAP \
		build/heap-trap/bin/trader build/heap-trap/tests/test_heap_trap

# A folder and flags of its own for each build that is only tested; without debug information it takes less time.
SANITIZED := BUILD=build/sanitized BIN=build/sanitized/bin OPT=-O1 \
	EXTRA="-g0 -fsanitize=alignment,undefined -fno-sanitize-recover=all"
# char is unsigned as on ARM64: what depends on its sign shows on every machine.
PORTABLE_TESTED := BUILD=build/portable BIN=build/portable/bin OPT=-O2 EXTRA="-g0 -funsigned-char"
PORTABLE_TESTS := test_binance_levels test_binance_wire test_order_book test_ledger_order test_same_everywhere

## sanitized: bin/trader and the C tests built to stop at undefined behaviour (build/sanitized)
.PHONY: sanitized
sanitized:
	@$(MAKE) --no-print-directory $(SANITIZED) build/sanitized/bin/trader c-tests

## portable: bin/trader and some C tests built without this processor's extras (build/portable)
.PHONY: portable
portable:
	@$(MAKE) --no-print-directory $(PORTABLE_TESTED) build/portable/bin/trader \
		$(PORTABLE_TESTS:%=build/portable/tests/%)

## arm64: cross-compile for ARM64 and run the C tests under qemu (Debian; setup/arm64.sh installs what is missing)
.PHONY: arm64
arm64:
	@setup/arm64.sh

## bench: build and run the benchmark programs (benchmarks/README.md)
.PHONY: bench
bench: trader $(BENCHMARKS)
	@for program in $(BENCHMARKS); do echo "── $$(basename $$program)"; $$program; done

## c-tests: build the C test programs (pytest runs them)
.PHONY: c-tests
c-tests: $(C_TESTS) $(BUILD)/tests/stand_in

# Most tests wait for processes: two at a time fit on two cores.
WORKERS ?= 2

## test: everything: generated files current, linters, types, C programs, Python tests, scenarios
.PHONY: test
test: trader
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j $(WORKERS) c-tests heap-trap sanitized portable
	$(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal tests

## test-quick: the same without the scenarios that start the whole system
.PHONY: test-quick
test-quick: trader
	@$(MAKE) --no-print-directory lint c-tests
	$(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal tests --ignore=tests/scenario --ignore=tests/conformance

SOAK_S ?= 600
SEED ?= 1
## soak: faults drawn by SEED=1 for SOAK_S=600 seconds while the whole system trades; a new seed every 5 minutes
.PHONY: soak
soak: trader
	$(PYTHON) tests/scenario/chaos.py --seconds $(SOAK_S) --seed $(SEED)

## flips: each bit of the ledger before its slots flipped, and killed after (FLIPS=60 draws so many)
.PHONY: flips
flips: trader c-tests
	$(PYTHON) tests/unit/control_flips.py $(FLIPS)

## flips-system: FLIPS=50 seeded ones on the whole trading system, each killed and started again (SEED=1)
.PHONY: flips-system
flips-system: trader
	$(PYTHON) tests/scenario/system_flips.py --seed $(SEED) --flips $(or $(FLIPS),50)

KILLS ?= 200
SYSTEMS ?= 4
## kills: KILLS=200 seeded kills with orders held in the network, SYSTEMS=4 side by side, from SEED=1 on
.PHONY: kills
kills: trader
	$(PYTHON) tests/scenario/kills.py --seed $(SEED) --kills $(KILLS) --systems $(SYSTEMS)

## lint: names, imports and layout, types, who may include whom, generated files
.PHONY: lint
lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check --quiet .
	@.venv/bin/clang-format --dry-run -Werror $(C_FILES)
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PYTHON) bridge/gen.py --check
	$(PYTHON) tests/check_includes.py
	$(PYTHON) tests/check_allocation.py

## format: lay C and Python out as .clang-format and ruff decide
.PHONY: format
format:
	@.venv/bin/clang-format -i $(C_FILES)
	$(PYTHON) -m ruff format .

## lock: pin every Python dependency anew, with hashes
.PHONY: lock
lock:
	pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-options --extra dev -o requirements.lock pyproject.toml

## clean: remove what the build made (not .venv, not your state folder)
.PHONY: clean
clean:
	rm -rf $(BUILD) $(BIN) bridge/_bridge*.so c_core/_engine*.so

## help: this list
.PHONY: help
help:
	@echo "Purser: one risk budget for every venue. First run: make trader && control start --paper"
	@sed -n 's/^## \([a-z0-9-]*\): /  \1\t/p' Makefile | expand -t 14

-include $(shell find $(BUILD) -name sysroot -prune -o -name '*.d' -type f -print 2>/dev/null)
