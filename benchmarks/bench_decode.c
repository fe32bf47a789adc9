/*
 * bench_decode: one market frame's bytes to exact ticks and lots, ours beside simdjson's on-demand
 * parser in the same run. Nanoseconds a message.
 */
#include <stdio.h>

#include "frames.h"
#include "measure.h"
#include "simdjson_decode.h"

#define MANY 500 /* frames in turn, so that no predictor learns one by heart */

static struct frames frames;
static struct book_level levels[BINANCE_LEVELS_MAX];
static struct simdjson_level their_levels[BINANCE_LEVELS_MAX];
static struct binance_market_event event;
static struct frame_text typical;

static void decode(const struct frame_text *frame)
{
    measure_stop_if(binance_wire_market(&event, levels, BINANCE_LEVELS_MAX, &frames_symbols,
                                        frame->bytes, frame->length) != STATUS_OK,
                    "a frame was refused");
}

static void our_depth(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        decode(&frames.depth[i]);
}

static void our_typical(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        decode(&typical);
}

static void our_tickers(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        decode(&frames.tickers[i]);
}

static void their_decode(const struct frame_text *frame)
{
    measure_stop_if(simdjson_depth(frame->bytes, frame->length, their_levels, BINANCE_LEVELS_MAX) !=
                        frame->levels,
                    "simdjson found another number of levels");
}

static void their_depth(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        their_decode(&frames.depth[i]);
}

static void their_typical(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        their_decode(&typical);
}

static void their_tickers(void *context)
{
    (void)context;
    for (int i = 0; i < MANY; i++)
        measure_stop_if(simdjson_ticker(frames.tickers[i].bytes, frames.tickers[i].length) < 0,
                        "simdjson refused a frame");
}

/* Both decoders must say the same before they are timed. */
static void compare(void)
{
    for (int i = 0; i < MANY; i++) {
        decode(&frames.depth[i]);
        their_decode(&frames.depth[i]);
        for (int64_t n = 0; n < frames.depth[i].levels; n++)
            measure_stop_if(levels[n].price.ticks != their_levels[n].ticks ||
                                levels[n].quantity.lots != their_levels[n].lots,
                            "the two decoders differ");
    }
}

int main(void)
{
    frames_load(&frames);
    measure_stop_if(frames.depth_count < MANY || frames.ticker_count < MANY,
                    "the capture holds too few frames");
    for (size_t i = 0; i < frames.depth_count && typical.bytes == NULL; i++)
        if (frames.depth[i].levels >= 68 && frames.depth[i].levels <= 70)
            typical = frames.depth[i];
    measure_stop_if(typical.bytes == NULL, "no frame of about 70 levels");
    int64_t mean = frames_levels(&frames, 0, MANY) / MANY;
    struct measured rows[] = {
        {"depthUpdate, one frame again and again", our_typical, NULL, MANY, 0, -1, 0},
        {"depthUpdate, 500 frames in turn", our_depth, NULL, MANY, 0, -1, 0},
        {"bookTicker, 500 frames in turn", our_tickers, NULL, MANY, 0, -1, 0},
        {"simdjson: one depthUpdate", their_typical, NULL, MANY, 0, -1, 0},
        {"simdjson: 500 depthUpdates", their_depth, NULL, MANY, 0, -1, 0},
        {"simdjson: 500 bookTickers", their_tickers, NULL, MANY, 0, -1, 0},
    };
    int count = 3;
    printf("%s\n", frames.origin);
    printf("one frame: %zu bytes, %lld levels; 500 frames: %lld levels on average\n",
           typical.length, (long long)typical.levels, (long long)mean);
    if (simdjson_depth != NULL) {
        compare();
        count = 6;
        for (int i = 0; i < 3; i++)
            rows[i].compared_to = i + 3;
        rows[0].aim = rows[1].aim = 0.65;
        rows[2].aim = 0.85;
    } else {
        printf("simdjson is not installed, so its rows are left out: "
               "apt-get install libsimdjson-dev\n");
    }
    measure_rows(rows, count);
    measure_print(rows, count, "decode");
    return 0;
}
