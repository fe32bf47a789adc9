# Purser. `make help` lists the targets.
SHELL := /bin/bash
BUILD ?= build
BIN ?= bin
CC ?= gcc
PKGS := openssl libcurl jansson libwslay libzmq
WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT ?= -O2 -march=x86-64-v3
CFLAGS := -std=c17 -D_GNU_SOURCE -fPIC -g $(OPT) $(WARN) -fno-strict-aliasing $(EXTRA)
LIBS := -lssl -lcrypto -lcurl -ljansson -lwslay -lzmq -lpthread -lm

BRIDGE_SRC := $(wildcard bridge/*.c)
CORE_SRC := $(filter-out c_core/src/main_trader.c,$(shell find c_core/src -name '*.c' | sort))
BRIDGE_OBJ := $(BRIDGE_SRC:%.c=$(BUILD)/%.o)
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o)
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/libbridge.a: $(BRIDGE_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BUILD)/libengine.a: $(CORE_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BIN)/trader: $(BUILD)/c_core/src/main_trader.o $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/%: tests/c/%.c $(BUILD)/libengine.a $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $^ $(LIBS)
c-tests: $(C_TESTS)
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
