/* The two readers of price and quantity pairs, by digit and a pair at once, say the same of any
 * text, and neither reads a byte in front of it or behind its end. */
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/connectors/crypto/binance_levels.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES    4
#define CAPACITY 512

/* Memory between two pages that end the program when they are touched. */
static char *room;
static size_t room_bytes;

static struct instrument instrument = {
    .symbol = "BTCUSDT", .tick_e9 = 100000000, .lot_e9 = 1000000};
static struct book_level one[CAPACITY], two[CAPACITY];

static uint64_t seed = 7;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static void room_make(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    room_bytes = PAGES * page;
    char *all = mmap(NULL, room_bytes + 2 * page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(all != MAP_FAILED);
    CHECK(mprotect(all, page, PROT_NONE) == 0);
    CHECK(mprotect(all + page + room_bytes, page, PROT_NONE) == 0);
    room = all + page;
}

static void read_both(const char *text, size_t length, size_t capacity)
{
    struct level_array slow = level_array_for(&instrument, one, capacity);
    struct level_array fast = level_array_for(&instrument, two, capacity);
    struct scan slow_scan, fast_scan;
    size_t slow_added, fast_added;
    scan_init(&slow_scan, text, length);
    scan_init(&fast_scan, text, length);
    bool slow_good = levels_by_digit(&slow_scan, &slow, &slow_added);
    bool fast_good = levels_positional(&fast_scan, &fast, &fast_added);
    CHECK(slow_good == fast_good && slow.full == fast.full && slow.count == fast.count);
    CHECK(slow_added == fast_added);
    for (size_t i = 0; i < slow.count; i++)
        CHECK(one[i].price.ticks == two[i].price.ticks &&
              one[i].quantity.lots == two[i].quantity.lots);
    CHECK(!slow_good || slow_scan.cursor == fast_scan.cursor);
}

/* At both ends of the room: a byte too far on either side ends the program. */
static void compare(const char *text, size_t length, size_t capacity)
{
    memcpy(room, text, length);
    read_both(room, length, capacity);
    char *end = room + room_bytes - length;
    memmove(end, text, length);
    read_both(end, length, capacity);
}

static size_t number_text(char *out, int decimals)
{
    size_t n = 0;
    for (uint32_t digits = 1 + draw(draw(8) ? 6 : 14); digits > 0; digits--)
        out[n++] = (char)('0' + draw(10));
    if (decimals > 0)
        out[n++] = '.';
    for (int i = 0; i < decimals; i++) /* on the grids: tick 0.1, lot 0.001 */
        out[n++] = (char)(i < 1 || draw(40) == 0 ? '0' + draw(10) : '0');
    return n;
}

/* Levels as a venue prints them: decimals alike in nearly all messages. */
static size_t levels_text(char *out, uint32_t count)
{
    int price = (int)draw(4), quantity = (int)draw(5);
    size_t n = 0;
    out[n++] = '[';
    for (uint32_t i = 0; i < count; i++) {
        if (draw(200) == 0)
            price = (int)draw(18);
        if (draw(200) == 0)
            quantity = (int)draw(18);
        n += (size_t)sprintf(out + n, "%s[\"", i ? "," : "");
        n += number_text(out + n, price);
        n += (size_t)sprintf(out + n, "\",\"");
        n += number_text(out + n, quantity);
        n += (size_t)sprintf(out + n, "\"]");
    }
    out[n++] = ']';
    return n;
}

static void random_levels(void)
{
    static char text[65536];
    for (int round = 0; round < 4000; round++) {
        size_t n = levels_text(text, draw(round % 8 ? 12 : 120));
        if (draw(2)) /* what follows in a message */
            n += (size_t)sprintf(text + n, ",\"a\":[[\"61800.30\",\"3.330\"],[\"61804.60\"");
        compare(text, n, CAPACITY);
        compare(text, n, draw(12));
    }
}

/* A byte changed, left out or doubled, and every length of a text. */
static void damaged_levels(void)
{
    static const char bytes[] = "\",[]{}.\\0987654321-+eE /:\t\n\x00\x7f\x80\xff";
    static char text[65536];
    for (int round = 0; round < 20000; round++) {
        size_t n = levels_text(text, 2 + draw(16));
        size_t place = draw((uint32_t)n);
        uint32_t kind = draw(4);
        if (kind < 2) {
            text[place] = bytes[draw(sizeof bytes - 1)];
        } else if (kind == 2) {
            memmove(text + place, text + place + 1, n - place - 1);
            n--;
        } else {
            memmove(text + place + 1, text + place, n - place);
            n++;
        }
        compare(text, n, CAPACITY);
    }
    size_t n = levels_text(text, 12);
    for (size_t length = 0; length <= n; length++)
        compare(text, length, CAPACITY);
}

/* Every byte value in every place of one level among others. */
static void every_byte(void)
{
    static const char usual[] = "[[\"61800.20\",\"0.014\"],[\"61496.50\",\"0.010\"],[\"61510.90\","
                                "\"0.000\"],[\"61641.50\",\"1.211\"],[\"61652.80\",\"0.195\"]]";
    char text[sizeof usual];
    for (size_t place = 20; place < 68; place++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, usual, sizeof usual);
            text[place] = (char)byte;
            compare(text, sizeof usual - 1, CAPACITY);
        }
    }
}

static void numbers_at_the_edge(void)
{
    static const char *const numbers[] = {"9999999999999.99",
                                          "99999999999999.99",
                                          "0.00",
                                          "00000000000000.10",
                                          "1.2",
                                          "1.234",
                                          "123456789012345",
                                          "1234567890123456",
                                          "12345678901234567",
                                          ".10",
                                          "10.",
                                          "1..0",
                                          "",
                                          "0.0000000000000000",
                                          "4294967295.90",
                                          "4294967296.00",
                                          "42949672.960",
                                          "429496729.50"};
    static char text[4096];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        for (int place = 0; place <= 5; place++) { /* 5: everywhere */
            for (int side = 0; side < 2; side++) {
                size_t n = (size_t)sprintf(text, "[");
                for (int level = 0; level < 5; level++)
                    n += (size_t)sprintf(
                        text + n, "%s[\"%s\",\"%s\"]", level ? "," : "",
                        (level == place || place == 5) && side == 0 ? numbers[i] : "61800.20",
                        (level == place || place == 5) && side == 1 ? numbers[i] : "0.015");
                n += (size_t)sprintf(text + n, "]");
                compare(text, n, CAPACITY);
            }
        }
    }
}

int main(void)
{
    room_make();
    random_levels();
    damaged_levels();
    every_byte();
    numbers_at_the_edge();
    /* grids that need the general conversion, and one whose steps divide large numbers */
    instrument.tick_e9 = 250000000;
    instrument.lot_e9 = 100000000000;
    random_levels();
    numbers_at_the_edge();
    instrument.tick_e9 = 1;
    instrument.lot_e9 = 1;
    random_levels();
    numbers_at_the_edge();
    return 0;
}
