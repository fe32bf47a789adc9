/* binance_levels.c: see binance_levels.h. */
#include "binance_levels.h"

#define TEXT_BYTES 16 /* of a number that is read at once, its point included */

#ifdef __AVX2__
#include <immintrin.h>
#endif

void grid_adapt(struct grid *grid, int decimals)
{
    int64_t power = decimals <= 9 ? decimal_power(9 - decimals) : 0;
    bool divides = power != 0 && grid->grid_e9 % power == 0;
    grid->decimals = decimals;
    grid->step = divides ? grid->grid_e9 / power : 0;
    if (grid->step > 1)
        grid->inverse = UINT64_MAX / (uint64_t)grid->step + 1;
}

/* ---- one digit at a time ----------------------------------------------------------------------
 */

/* One level; the comma or bracket behind it is left. */
static bool level_by_digit(struct scan *scan, struct level_array *array)
{
    if (array->count == array->capacity) {
        array->full = true;
        return false;
    }
    struct book_level *level = &array->levels[array->count];
    if (!scan_literal(scan, "[\"") || !grid_number(scan, &array->price, &level->price.ticks) ||
        !scan_literal(scan, "\",\"") ||
        !grid_number(scan, &array->quantity, &level->quantity.lots) || !scan_literal(scan, "\"]"))
        return false;
    array->count++;
    return true;
}

/* ---- a pair at once ---------------------------------------------------------------------------
 */

#ifdef __AVX2__

#define WINDOW_BYTES  256 /* looked at together */
#define MOST_DECIMALS (TEXT_BYTES - 2)

/* The commas of one window as offsets from its start: a level has two, one between its numbers and
 * one behind it. Eight places are written at a time, more than 64 bytes of levels hold. */
struct commas {
    uint16_t at[WINDOW_BYTES + 8];
    size_t count;
};

static uint64_t commas_of_64(const char *bytes)
{
    const __m256i comma = _mm256_set1_epi8(',');
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32));
    uint32_t first = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, comma));
    uint32_t second = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, comma));
    return (uint64_t)second << 32 | first;
}

static inline void commas_write(struct commas *commas, uint64_t mask, size_t offset)
{
    uint16_t *out = commas->at + commas->count;
    commas->count += (size_t)__builtin_popcountll(mask);
    do {
        for (size_t i = 0; i < 8; i++) {
            out[i] = (uint16_t)(offset + _tzcnt_u64(mask));
            mask &= mask - 1;
        }
        out += 8;
    } while (mask != 0);
}

/* Of the window from start on. Nothing outside of first and end is read: the last group of 64, when
 * it is not whole, is looked at together with bytes in front of it, or not at all. */
static void commas_find(struct commas *commas, const char *first, const char *start,
                        const char *end)
{
    size_t length = (size_t)(end - start) < WINDOW_BYTES ? (size_t)(end - start) : WINDOW_BYTES;
    size_t offset = 0;
    commas->count = 0;
    for (; offset + 64 <= length; offset += 64)
        commas_write(commas, commas_of_64(start + offset), offset);
    if (offset < length && start + length - first >= 64)
        commas_write(commas, commas_of_64(start + length - 64) >> (64 - (length - offset)), offset);
}

/* How a number of so many decimals lies in the 16 bytes that end with it. */
struct shape {
    __m128i order;   /* closes the gap that the point leaves */
    __m128i point;   /* 0xff where the point is */
    size_t shortest; /* bytes: a digit on either side of the point */
};

static __m128i load(const void *bytes)
{
    return _mm_loadu_si128((const __m128i *)bytes);
}

/* 0xff for each of the last n of 16 bytes. */
static __m128i last_bytes(size_t n)
{
    static const unsigned char bytes[2 * TEXT_BYTES] = {[TEXT_BYTES... 2 * TEXT_BYTES - 1] = 0xff};
    return load(bytes + n);
}

static struct shape shape_of(int decimals)
{
    const __m128i in_order = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (decimals == 0)
        return (struct shape){in_order, _mm_setzero_si128(), 1};
    size_t n = (size_t)decimals;
    __m128i fraction = last_bytes(n);
    __m128i minus_one = _mm_xor_si128(fraction, _mm_set1_epi8(-1)); /* in front of the fraction */
    return (struct shape){_mm_add_epi8(in_order, minus_one),
                          _mm_xor_si128(last_bytes(n + 1), fraction), n + 2};
}

/* Both numbers of a level side by side: the price in the low half, the quantity in the high one. */
struct pairs {
    __m256i order, point;
    __m256i wrong; /* not zero: some byte was neither a digit nor the point in its place */
    size_t shortest[2];
};

static __m256i both(__m128i price, __m128i quantity)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(price), quantity, 1);
}

static struct pairs pairs_of(const struct level_array *array)
{
    struct shape price = shape_of(array->price.decimals);
    struct shape quantity = shape_of(array->quantity.decimals);
    return (struct pairs){.order = both(price.order, quantity.order),
                          .point = both(price.point, quantity.point),
                          .wrong = _mm256_setzero_si256(),
                          .shortest = {price.shortest, quantity.shortest}};
}

/* Pairs of digits, then pairs of pairs, and so on: each half becomes two groups of eight digits. */
static __m256i weigh(__m256i digits)
{
    const __m256i tens = _mm256_set1_epi16(0x010a);
    const __m256i hundreds = _mm256_set1_epi32(0x00010064);
    const __m256i ten_thousands = _mm256_set1_epi32(0x00012710);
    __m256i twos = _mm256_maddubs_epi16(digits, tens);
    __m256i fours = _mm256_madd_epi16(twos, hundreds);
    return _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), ten_thousands);
}

static int64_t join(uint64_t groups)
{
    return (int64_t)((groups & UINT32_MAX) * 100000000 + (groups >> 32));
}

/* The mantissas of two numbers that end before `price` and `lots`, and are that long. */
static void mantissas(struct pairs *pairs, const char *price, size_t price_length, const char *lots,
                      size_t lots_length, struct book_level *level)
{
    __m256i text = both(load(price - TEXT_BYTES), load(lots - TEXT_BYTES));
    __m256i keep = both(last_bytes(price_length), last_bytes(lots_length));
    __m256i digits = _mm256_and_si256(_mm256_xor_si256(text, _mm256_set1_epi8('0')), keep);
    __m256i points = _mm256_and_si256(pairs->point, _mm256_set1_epi8('.' ^ '0'));
    __m256i misplaced = _mm256_xor_si256(_mm256_and_si256(digits, pairs->point), points);
    digits = _mm256_shuffle_epi8(digits, pairs->order);
    __m256i excess = _mm256_subs_epu8(digits, _mm256_set1_epi8(9));
    pairs->wrong = _mm256_or_si256(pairs->wrong, _mm256_or_si256(excess, misplaced));
    __m256i groups = weigh(digits);
    level->price.ticks = join((uint64_t)_mm256_extract_epi64(groups, 0));
    level->quantity.lots = join((uint64_t)_mm256_extract_epi64(groups, 2));
}

/* The levels from start on as mantissas, each with a comma and another level behind it. Stops where
 * one looks otherwise; whether all numbers were numbers is in pairs->wrong. Two bytes behind the
 * last comma are readable. *next is where the first level begins that was not taken. */
static size_t window_read(struct pairs *pairs, const struct commas *commas, const char *start,
                          struct book_level *levels, size_t capacity, const char **next)
{
    const uint16_t *c = commas->at, *last = commas->at + (commas->count & ~(size_t)1);
    const size_t least[2] = {pairs->shortest[0], pairs->shortest[1]};
    size_t count = 0, begin = 0;
    if (memcmp(start, "[\"", 2) != 0)
        last = c;
    for (; c < last && count < capacity; c += 2, count++) {
        size_t price = (size_t)c[0] - 1, lots = (size_t)c[1] - 2; /* behind the last digit */
        size_t price_length = price - (begin + 2), lots_length = lots - ((size_t)c[0] + 2);
        if (price_length - least[0] > TEXT_BYTES - least[0] ||
            lots_length - least[1] > TEXT_BYTES - least[1] ||
            memcmp(start + price, "\",\"", 3) != 0 || memcmp(start + lots, "\"],[\"", 5) != 0)
            break;
        mantissas(pairs, start + price, price_length, start + lots, lots_length, &levels[count]);
        begin = (size_t)c[1] + 1;
    }
    *next = start + begin;
    return count;
}

/* Mantissas to counts of the grids; false when one is off its grid. */
static bool window_convert(const struct level_array *array, struct book_level *levels, size_t count)
{
    const struct grid price = array->price, quantity = array->quantity;
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good &= grid_convert(&price, levels[i].price.ticks, &levels[i].price.ticks);
    for (size_t i = 0; i < count && quantity.step != 1; i++)
        good &= grid_convert(&quantity, levels[i].quantity.lots, &levels[i].quantity.lots);
    return good;
}

/* Reads levels from the cursor on, each as ["…","…"] with a comma and another level behind it, as
 * long as they have the decimals seen last. What it does not take, the last level at least, is left
 * to the reader by digit. first: the first readable byte, TEXT_BYTES or more before the cursor. */
static void levels_at_once(struct scan *scan, struct level_array *array, const char *first)
{
    if (array->price.decimals > MOST_DECIMALS || array->quantity.decimals > MOST_DECIMALS)
        return;
    struct pairs pairs = pairs_of(array);
    struct commas commas;
    while (scan->end - scan->cursor > 2) {
        const char *start = scan->cursor, *next;
        struct book_level *levels = array->levels + array->count;
        size_t room = array->capacity - array->count;
        commas_find(&commas, first, start, scan->end - 2);
        size_t count = window_read(&pairs, &commas, start, levels, room, &next);
        if (count == 0 || !_mm256_testz_si256(pairs.wrong, pairs.wrong) ||
            !window_convert(array, levels, count))
            return;
        array->count += count;
        scan->cursor = next;
    }
}

#else

static void levels_at_once(struct scan *scan, struct level_array *array, const char *first)
{
    (void)scan, (void)array, (void)first; /* every level is read by digit */
}

#endif

/* ---- the usual spelling -----------------------------------------------------------------------
 */

static bool levels_usual(struct scan *scan, struct level_array *array, size_t *added, bool at_once)
{
    size_t before = array->count;
    const char *start = scan->cursor;
    *added = 0;
    if (!scan_literal(scan, "["))
        return false;
    if (scan_literal(scan, "]"))
        return true;
    do {
        /* Once an array; by then its first level has told the decimals. */
        if (at_once && scan->cursor - start >= TEXT_BYTES) {
            levels_at_once(scan, array, start);
            at_once = false;
        }
        if (!level_by_digit(scan, array))
            return false;
    } while (scan_literal(scan, ","));
    *added = array->count - before;
    return scan_literal(scan, "]");
}

bool levels_positional(struct scan *scan, struct level_array *array, size_t *added)
{
    return levels_usual(scan, array, added, true);
}

bool levels_by_digit(struct scan *scan, struct level_array *array, size_t *added)
{
    return levels_usual(scan, array, added, false);
}

/* ---- any spelling -----------------------------------------------------------------------------
 */

bool levels_any(struct span text, struct level_array *array, size_t *added)
{
    size_t before = array->count;
    struct scan scan;
    struct span value;
    if (text.start == NULL)
        return false;
    scan_init(&scan, text.start, text.length);
    if (!scan_array(&scan))
        return false;
    while (scan_next_item(&scan)) {
        if (array->count == array->capacity) {
            array->full = true;
            return false;
        }
        struct book_level *level = &array->levels[array->count];
        int64_t *fields[2] = {&level->price.ticks, &level->quantity.lots};
        struct grid *grids[2] = {&array->price, &array->quantity};
        size_t place = 0;
        if (!scan_array(&scan))
            return false;
        while (scan_next_item(&scan)) {
            struct scan inner;
            if (!scan_number(&scan, &value))
                return false;
            scan_init(&inner, value.start, value.length);
            if (place < 2 &&
                (!grid_number(&inner, grids[place], fields[place]) || inner.cursor != inner.end))
                return false;
            place++;
        }
        if (place < 2)
            return false;
        array->count++;
    }
    *added = array->count - before;
    return scan_at_end(&scan);
}
