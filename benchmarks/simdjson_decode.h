/*
 * simdjson_decode.h: the same two messages decoded with simdjson's on-demand parser, the fastest
 * general JSON reader known to us, into the same numbers. Built only where simdjson is installed
 * (Debian: libsimdjson-dev); the symbols are weak, and NULL without it.
 */
#ifndef PURSER_BENCHMARKS_SIMDJSON_DECODE_H
#define PURSER_BENCHMARKS_SIMDJSON_DECODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct simdjson_level {
    int64_t ticks, lots;
};

/* Levels decoded, or negative. The frame needs FRAMES_PADDING readable bytes behind it. */
int64_t simdjson_depth(const char *bytes, size_t length, struct simdjson_level *levels,
                       size_t capacity) __attribute__((weak));
/* The sum of the four numbers, or negative. */
int64_t simdjson_ticker(const char *bytes, size_t length) __attribute__((weak));

#ifdef __cplusplus
}
#endif

#endif
