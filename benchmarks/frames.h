/*
 * frames.h: the market frames that the programs here decode: real ones from a recorded capture when
 * PURSER_DATA names the folder that holds binance/btcusdt_20240808.gz, else synthetic ones of the
 * same shape.
 */
#ifndef PURSER_BENCHMARKS_FRAMES_H
#define PURSER_BENCHMARKS_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "../c_core/src/connectors/crypto/binance_wire.h"

#define FRAMES_PADDING 64 /* readable bytes behind each frame, for decoders that want them */

struct frame_text {
    char *bytes;
    size_t length;
    int64_t levels; /* of a depth frame */
};

struct frames {
    const char *origin;
    struct frame_text *depth, *tickers;
    size_t depth_count, ticker_count;
    struct frame_text snapshot; /* GET /fapi/v1/depth; the depth frames follow it without a gap */
};

/* The instrument of all frames: BTCUSDT, tick 0.10, lot 0.001. */
extern const struct binance_symbols frames_symbols;

void frames_load(struct frames *frames);

/* frames_levels: the levels of all depth frames from first on. */
int64_t frames_levels(const struct frames *frames, size_t first, size_t count);

#endif
