#include "frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../bridge/allocate.h"
#include "measure.h"

#define LINE_BYTES  (1 << 20)
#define FRAMES_MOST 8192
#define SYNTHETIC   2000
#define SIDE_LEVELS 35

static const struct instrument bitcoin = {.venue = VENUE_BINANCE,
                                          .symbol = "BTCUSDT",
                                          .tick_e9 = 100000000,
                                          .lot_e9 = 1000000,
                                          .price_decimals = 1,
                                          .quantity_decimals = 3};
static const struct instrument *const instruments[] = {&bitcoin};
const struct binance_symbols frames_symbols = {instruments, 1};

static struct book_level levels[BINANCE_LEVELS_MAX];

static void keep(struct frame_text *frame, const char *bytes, size_t length)
{
    frame->bytes = ALLOCATE_ARRAY(char, length + FRAMES_PADDING);
    measure_stop_if(frame->bytes == NULL, "no memory for the frames");
    memcpy(frame->bytes, bytes, length);
    frame->length = length;
}

static void add(struct frames *frames, const char *bytes, size_t length)
{
    struct binance_market_event event;
    if (length > 15 && memcmp(bytes, "{\"lastUpdateId\"", 15) == 0) {
        if (frames->snapshot.bytes == NULL)
            keep(&frames->snapshot, bytes, length);
        return;
    }
    measure_stop_if(binance_wire_market(&event, levels, BINANCE_LEVELS_MAX, &frames_symbols, bytes,
                                        length) != STATUS_OK,
                    "a frame cannot be decoded; is the capture whole?");
    if (event.kind == BINANCE_MARKET_DEPTH && frames->depth_count < FRAMES_MOST) {
        struct frame_text *frame = &frames->depth[frames->depth_count++];
        keep(frame, bytes, length);
        frame->levels = (int64_t)(event.delta.bid_count + event.delta.ask_count);
    } else if (event.kind == BINANCE_MARKET_TICKER && frames->ticker_count < FRAMES_MOST) {
        keep(&frames->tickers[frames->ticker_count++], bytes, length);
    }
}

static bool read_capture(struct frames *frames)
{
    const char *folder = getenv("PURSER_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/binance/btcusdt_20240808.gz", folder ? folder : "");
    gzFile file = folder ? gzopen(path, "rb") : NULL;
    if (file == NULL)
        return false;
    char *line = ALLOCATE_ARRAY(char, LINE_BYTES);
    measure_stop_if(line == NULL, "no memory for a line");
    while (gzgets(file, line, LINE_BYTES) != NULL) {
        char *json = strchr(line, ' ');
        if (json != NULL)
            add(frames, json + 1, strcspn(json + 1, "\r\n"));
    }
    free(line);
    gzclose(file);
    frames->origin = "recorded BTCUSDT frames of 2024-08-08";
    return true;
}

/* ---- synthetic: a wandering price, as many levels and as spread out as real frames have --------
 */

static uint64_t seed = 20240808;

static int64_t draw(int64_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (int64_t)((seed >> 33) % (uint64_t)below);
}

static size_t side_text(char *out, int64_t ticks, int64_t step, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++, ticks += step * (1 + draw(60)))
        n += (size_t)sprintf(out + n, "%s[\"%lld.%lld0\",\"%lld.%03lld\"]", i ? "," : "",
                             (long long)ticks / 10, (long long)ticks % 10,
                             (long long)(draw(4) ? 0 : draw(20)), (long long)draw(1000));
    return n;
}

static void make_frames(struct frames *frames)
{
    static char text[65536];
    int64_t ticks = 618002, id = 5123107832006;
    size_t n =
        (size_t)sprintf(text, "{\"lastUpdateId\":%lld,\"E\":1,\"T\":1,\"bids\":[", (long long)id);
    n += side_text(text + n, ticks, -1, 500);
    n += (size_t)sprintf(text + n, "],\"asks\":[");
    n += side_text(text + n, ticks + 1, 1, 500);
    n += (size_t)sprintf(text + n, "]}");
    add(frames, text, n);
    for (int i = 0; i < SYNTHETIC; i++, id += 100) {
        ticks += draw(3) - 1;
        n = (size_t)sprintf(text,
                            "{\"stream\":\"btcusdt@depth@0ms\",\"data\":{\"e\":\"depthUpdate\","
                            "\"E\":1723161256299,\"T\":1723161256298,\"s\":\"BTCUSDT\",\"U\":%lld,"
                            "\"u\":%lld,\"pu\":%lld,\"b\":[",
                            (long long)id + 1, (long long)id + 100, (long long)id);
        n += side_text(text + n, ticks, -1, SIDE_LEVELS);
        n += (size_t)sprintf(text + n, "],\"a\":[");
        n += side_text(text + n, ticks + 1, 1, SIDE_LEVELS);
        n += (size_t)sprintf(text + n, "]}}");
        add(frames, text, n);
        n = (size_t)sprintf(
            text,
            "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"e\":\"bookTicker\",\"u\":%lld,"
            "\"s\":\"BTCUSDT\",\"b\":\"%lld.%lld0\",\"B\":\"%lld.507\",\"a\":\"%lld.%lld0\","
            "\"A\":\"2.510\",\"T\":1723161256313,\"E\":1723161256313}}",
            (long long)id, (long long)ticks / 10, (long long)ticks % 10, (long long)draw(20),
            (long long)(ticks + 1) / 10, (long long)(ticks + 1) % 10);
        add(frames, text, n);
    }
    frames->origin = "synthetic frames; set PURSER_DATA to measure on recorded ones";
}

void frames_load(struct frames *frames)
{
    *frames = (struct frames){0};
    frames->depth = ALLOCATE_ARRAY(struct frame_text, FRAMES_MOST);
    frames->tickers = ALLOCATE_ARRAY(struct frame_text, FRAMES_MOST);
    measure_stop_if(frames->depth == NULL || frames->tickers == NULL, "no memory for the frames");
    if (!read_capture(frames))
        make_frames(frames);
}

int64_t frames_levels(const struct frames *frames, size_t first, size_t count)
{
    int64_t sum = 0;
    for (size_t i = first; i < first + count && i < frames->depth_count; i++)
        sum += frames->depth[i].levels;
    return sum;
}
