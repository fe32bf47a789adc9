/*
 * Every build on every machine reads the same market from the same bytes: with AVX2 and the CRC
 * instruction or without, with a signed char (x86) or an unsigned one (ARM64). Frames of its own
 * making, good and spoiled, are decoded and kept in a book; what comes of each is folded into one
 * number that is written here.
 *
 *     test_same_everywhere [CAPTURE.gz]     also prints the number of a recorded capture's lines
 */
#include "../../bridge/crc32c.h"
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/connectors/crypto/binance_wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define LINE_BYTES (1 << 20)
#define LEVELS     4096
#define FRAMES     3000
#define DEPTH      50  /* best levels of each side that are folded */
#define DEPTH_EACH 100 /* frames between two such looks */

#define EXPECTED UINT64_C(0xD86ED1B0FC37651B)

static const struct instrument bitcoin = {.venue = VENUE_BINANCE,
                                          .symbol = "BTCUSDT",
                                          .tick_e9 = 100000000,
                                          .lot_e9 = 1000000,
                                          .price_decimals = 1,
                                          .quantity_decimals = 3};
static const struct instrument *const instruments[] = {&bitcoin};
static const struct binance_symbols symbols = {instruments, 1};
static struct book_level levels[LEVELS];
static char text[LINE_BYTES];

struct reading {
    struct order_book book;
    uint64_t number;
    int64_t frames, refused;
};

/* FNV-1a over whole words: plain integer arithmetic, the same in any build. */
static void fold(struct reading *reading, uint64_t word)
{
    reading->number = (reading->number ^ word) * UINT64_C(0x100000001B3);
}

static void fold_level(struct reading *reading, struct price price, struct quantity quantity)
{
    fold(reading, (uint64_t)price.ticks);
    fold(reading, (uint64_t)quantity.lots);
}

static void fold_depth(struct reading *reading)
{
    for (int side = BOOK_BID; side <= BOOK_ASK; side++) {
        size_t count = order_book_depth(&reading->book, (enum book_side)side, levels, DEPTH);
        for (size_t n = 0; n < count; n++)
            fold_level(reading, levels[n].price, levels[n].quantity);
        fold(reading, order_book_levels(&reading->book, (enum book_side)side));
    }
}

static void read_levels(struct reading *reading, const struct book_delta *delta)
{
    for (size_t n = 0; n < delta->bid_count + delta->ask_count; n++) {
        fold_level(reading, levels[n].price, levels[n].quantity);
        order_book_set(&reading->book, n < delta->bid_count ? BOOK_BID : BOOK_ASK, levels[n].price,
                       levels[n].quantity);
    }
    fold(reading, delta->bid_count);
}

/* Bytes in, everything that came of them into the number. */
static void read_frame(struct reading *reading, const char *bytes, size_t length)
{
    struct binance_market_event event;
    int status = binance_wire_market(&event, levels, LEVELS, &symbols, bytes, length);
    fold(reading, (uint64_t)(int64_t)status);
    fold(reading, crc32c(bytes, length));
    reading->frames++;
    if (status != STATUS_OK) {
        reading->refused++;
        return;
    }
    fold(reading, (uint64_t)event.kind);
    fold(reading, (uint64_t)event.event_ms);
    if (event.kind == BINANCE_MARKET_DEPTH && event.instrument != NULL) {
        fold(reading, (uint64_t)event.delta.last_id);
        read_levels(reading, &event.delta);
    } else if (event.kind == BINANCE_MARKET_TICKER && event.instrument != NULL) {
        fold_level(reading, event.ticker.bid, event.ticker.bid_quantity);
        fold_level(reading, event.ticker.ask, event.ticker.ask_quantity);
    }
    struct top_of_book top = order_book_top(&reading->book);
    fold_level(reading, top.bid, top.bid_quantity);
    fold_level(reading, top.ask, top.ask_quantity);
    fold(reading, (uint64_t)order_book_microprice_e9(&reading->book, bitcoin.tick_e9));
    if (reading->frames % DEPTH_EACH == 0)
        fold_depth(reading);
}

static uint64_t seed = 20240808;

static int64_t draw(int64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((seed >> 33) % (uint64_t)below);
}

/* Prices have one to three decimals, quantities none to four zeros behind: all spellings the
 * readers know, with a level far away now and then. */
static size_t side_write(char *out, int64_t ticks, int64_t step)
{
    static const char *const zeros[] = {"", "0", "00"};
    size_t n = 0;
    int64_t count = draw(120);
    int spelling = (int)draw(3);
    for (int64_t i = 0; i < count; i++) {
        /* One draw a statement: the order in which arguments are evaluated differs by machine. */
        int64_t price = ticks + step * draw(draw(50) ? 400 : 200000);
        int64_t whole = draw(4) ? 0 : draw(100000);
        int64_t part = draw(3) ? draw(1000) : 0;
        const char *behind = zeros[draw(20) ? spelling : draw(3)];
        n += (size_t)sprintf(
            out + n, "%s[\"%" PRId64 ".%" PRId64 "%s\",\"%" PRId64 ".%03" PRId64 "%s\"]",
            i ? "," : "", price / 10, price % 10, zeros[spelling], whole, part, behind);
    }
    return n;
}

static size_t frame_write(char *out, int64_t ticks, int64_t id)
{
    size_t n =
        (size_t)sprintf(out,
                        "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\","
                        "\"E\":%" PRId64 ",\"T\":1723161256298,\"s\":\"BTCUSDT\",\"U\":%" PRId64
                        ",\"u\":%" PRId64 ",\"pu\":%" PRId64 ",\"b\":[",
                        1723161256299 + id, id + 1, id + 100, id);
    n += side_write(out + n, ticks, -1);
    n += (size_t)sprintf(out + n, "],\"a\":[");
    n += side_write(out + n, ticks + 1, 1);
    return n + (size_t)sprintf(out + n, "]}}");
}

/* One byte in eight frames becomes any other, also those above 127, whose sign differs by machine.
 */
static void read_own_frames(struct reading *reading)
{
    int64_t ticks = 618002;
    for (int64_t i = 0; i < FRAMES; i++) {
        ticks += draw(21) - 10;
        size_t length = frame_write(text, ticks, 100 * i);
        if (draw(8) == 0) {
            int64_t place = draw((int64_t)length);
            text[place] = (char)(unsigned char)draw(256);
        }
        read_frame(reading, text, length);
    }
}

static bool read_capture(struct reading *reading, const char *path)
{
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return false;
    while (gzgets(file, text, sizeof text) != NULL) {
        const char *json = strchr(text, ' '); /* behind the time of arrival */
        if (json != NULL)
            read_frame(reading, json + 1, strcspn(json + 1, "\r\n"));
    }
    return gzclose(file) == Z_OK;
}

static void begin(struct reading *reading, struct arena *arena)
{
    *reading = (struct reading){.number = UINT64_C(0xCBF29CE484222325)};
    CHECK(arena_init(arena, (size_t)16 << 20) == STATUS_OK);
    order_book_init(&reading->book, arena);
}

int main(int argc, char **argv)
{
    static struct reading reading;
    struct arena arena;
    /* The check value that the CRC catalogue states for CRC-32/ISCSI. */
    CHECK(crc32c("123456789", 9) == 0xE3069283);
    begin(&reading, &arena);
    read_own_frames(&reading);
    CHECK(reading.refused > FRAMES / 20 && reading.refused < FRAMES / 4);
    CHECK(order_book_levels(&reading.book, BOOK_BID) > DEPTH);
    if (reading.number != EXPECTED) {
        fprintf(stderr, "this build reads 0x%016" PRIX64 " from the frames, not 0x%016" PRIX64 "\n",
                reading.number, EXPECTED);
        return 1;
    }
    arena_fini(&arena);
    if (argc > 1) {
        begin(&reading, &arena);
        CHECK(read_capture(&reading, argv[1]));
        printf("%016" PRIX64 " %" PRId64 " frames, %" PRId64 " refused\n", reading.number,
               reading.frames, reading.refused);
        arena_fini(&arena);
    }
    return 0;
}
