#include "order_book.h"

#include <string.h>

#define MASK    (ORDER_BOOK_WINDOW - 1)
#define WORDS   (ORDER_BOOK_WINDOW / 64)
#define QUARTER (ORDER_BOOK_WINDOW / 4)

_Static_assert((ORDER_BOOK_WINDOW & MASK) == 0 && ORDER_BOOK_WINDOW >= 512, "a power of two");

static size_t slot_of(int64_t ticks)
{
    return (size_t)ticks & MASK;
}

static bool in_window(const struct order_book_side *side, int64_t ticks)
{
    return (uint64_t)(ticks - side->base) < ORDER_BOOK_WINDOW;
}

static bool is_empty(const struct order_book_side *side)
{
    return side->window_count == 0 && side->overflow_count == 0;
}

/* Is price a better than b for this side? */
static bool better(enum book_side which, int64_t a, int64_t b)
{
    return which == BOOK_BID ? a > b : a < b;
}

void order_book_init(struct order_book *book, struct arena *arena)
{
    *book = (struct order_book){0};
    for (int i = 0; i < 2; i++) {
        struct order_book_side *side = &book->sides[i];
        side->lots = arena_allocate(arena, ORDER_BOOK_WINDOW * sizeof *side->lots);
        side->bits = arena_allocate(arena, WORDS * sizeof *side->bits);
        side->overflow = arena_allocate(arena, ORDER_BOOK_OVERFLOW * sizeof *side->overflow);
    }
}

void order_book_clear(struct order_book *book)
{
    for (int i = 0; i < 2; i++) {
        struct order_book_side *side = &book->sides[i];
        /* Quantities without their bit are never read. */
        memset(side->bits, 0, WORDS * sizeof *side->bits);
        side->overflow_count = 0;
        side->window_count = 0;
    }
}

/* ---- the window ------------------------------------------------------------------------------ */

static bool bit_is_set(const struct order_book_side *side, int64_t ticks)
{
    size_t slot = slot_of(ticks);
    return (side->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

static void window_set(struct order_book_side *side, int64_t ticks, int64_t lots)
{
    size_t slot = slot_of(ticks);
    uint64_t bit = (uint64_t)1 << (slot % 64);
    uint64_t *word = &side->bits[slot / 64];
    if (lots != 0) {
        side->window_count += (*word & bit) == 0;
        side->lots[slot] = lots;
        *word |= bit;
    } else {
        side->window_count -= (*word & bit) != 0;
        *word &= ~bit;
    }
}

/* The nearest level of the window at or below ticks; -1 when there is none. base is a multiple of
 * 64, so a word never spans the window's seam. */
static int64_t level_at_or_below(const struct order_book_side *side, int64_t ticks)
{
    if (ticks < side->base || side->window_count == 0)
        return -1;
    int64_t last = side->base + MASK;
    int64_t at = ticks > last ? last : ticks;
    uint64_t keep = ~(uint64_t)0 >> (63 - (at & 63));
    for (int64_t word = at & ~63LL; word >= side->base; word -= 64) {
        uint64_t bits = side->bits[slot_of(word) / 64] & keep;
        if (bits != 0)
            return word + 63 - __builtin_clzll(bits);
        keep = ~(uint64_t)0;
    }
    return -1;
}

/* The nearest level of the window at or above ticks; -1 when there is none. */
static int64_t level_at_or_above(const struct order_book_side *side, int64_t ticks)
{
    int64_t last = side->base + MASK;
    if (ticks > last || side->window_count == 0)
        return -1;
    int64_t at = ticks < side->base ? side->base : ticks;
    uint64_t keep = ~(uint64_t)0 << (at & 63);
    for (int64_t word = at & ~63LL; word <= last; word += 64) {
        uint64_t bits = side->bits[slot_of(word) / 64] & keep;
        if (bits != 0)
            return word + __builtin_ctzll(bits);
        keep = ~(uint64_t)0;
    }
    return -1;
}

/* The next level of the window that is worse than ticks; -1: none. */
static int64_t next_worse(const struct order_book_side *side, enum book_side which, int64_t ticks)
{
    return which == BOOK_BID ? level_at_or_below(side, ticks - 1)
                             : level_at_or_above(side, ticks + 1);
}

/* ---- the overflow store: sorted, worst first --------------------------------------------------
 */

/* The place of the first stored level that is not worse than ticks. */
static size_t overflow_place(const struct order_book_side *side, enum book_side which,
                             int64_t ticks)
{
    size_t low = 0, high = side->overflow_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (better(which, ticks, side->overflow[middle].price.ticks))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void overflow_remove(struct order_book_side *side, size_t place)
{
    side->overflow_count--;
    memmove(&side->overflow[place], &side->overflow[place + 1],
            (side->overflow_count - place) * sizeof side->overflow[0]);
}

static void overflow_set(struct order_book *book, enum book_side which, int64_t ticks, int64_t lots)
{
    struct order_book_side *side = &book->sides[which];
    size_t place = overflow_place(side, which, ticks);
    bool known = place < side->overflow_count && side->overflow[place].price.ticks == ticks;
    if (known && lots != 0) {
        side->overflow[place].quantity.lots = lots;
    } else if (known) {
        overflow_remove(side, place);
    } else if (lots != 0) {
        if (side->overflow_count == ORDER_BOOK_OVERFLOW) {
            book->forgotten++;
            if (place == 0)
                return; /* it is itself the farthest */
            overflow_remove(side, 0);
            place--;
        }
        memmove(&side->overflow[place + 1], &side->overflow[place],
                (side->overflow_count - place) * sizeof side->overflow[0]);
        side->overflow[place] = (struct book_level){{ticks}, {lots}};
        side->overflow_count++;
    }
}

/* ---- moving the window ------------------------------------------------------------------------
 */

/* Puts ticks at three quarters of the window (from its worse end), and moves levels between window
 * and store accordingly. Rare: the market must have moved by a quarter of the window. */
static void recentre(struct order_book *book, enum book_side which, int64_t ticks)
{
    struct order_book_side *side = &book->sides[which];
    int64_t base = which == BOOK_BID ? ticks - 3 * QUARTER : ticks - QUARTER;
    base = base > 0 ? base & ~63LL : 0;
    if (base == side->base)
        return;
    book->recentred++;
    int64_t old_last = side->base + MASK;
    for (int64_t at = level_at_or_above(side, side->base); at >= 0 && at <= old_last;
         at = at < old_last ? level_at_or_above(side, at + 1) : -1) {
        if ((uint64_t)(at - base) < ORDER_BOOK_WINDOW)
            continue;
        int64_t lots = side->lots[slot_of(at)];
        window_set(side, at, 0);
        overflow_set(book, which, at, lots);
    }
    side->base = base;
    size_t kept = 0;
    for (size_t i = 0; i < side->overflow_count; i++) {
        struct book_level level = side->overflow[i];
        if (in_window(side, level.price.ticks))
            window_set(side, level.price.ticks, level.quantity.lots);
        else
            side->overflow[kept++] = level;
    }
    side->overflow_count = kept;
}

/* After the best level went away: the next one, from the window or else from the store. */
static void find_best(struct order_book *book, enum book_side which)
{
    struct order_book_side *side = &book->sides[which];
    if (is_empty(side))
        return;
    int64_t best = next_worse(side, which, side->best);
    if (best < 0) {
        best = side->overflow[side->overflow_count - 1].price.ticks;
        recentre(book, which, best);
    }
    side->best = best;
    int64_t depth = which == BOOK_BID ? best - side->base : side->base + MASK - best;
    if (depth < QUARTER)
        recentre(book, which, best);
}

/* ---- the book ---------------------------------------------------------------------------------
 */

void order_book_set(struct order_book *book, enum book_side which, struct price price,
                    struct quantity quantity)
{
    struct order_book_side *side = &book->sides[which];
    int64_t ticks = price.ticks, lots = quantity.lots;
    CHECK(ticks >= 0 && lots >= 0);
    if (is_empty(side) || better(which, ticks, side->best)) {
        if (lots == 0)
            return; /* nothing is better than the best */
        if (!in_window(side, ticks))
            recentre(book, which, ticks);
        side->best = ticks;
        window_set(side, ticks, lots);
    } else if (in_window(side, ticks)) {
        window_set(side, ticks, lots);
        if (lots == 0 && ticks == side->best)
            find_best(book, which);
    } else {
        overflow_set(book, which, ticks, lots);
    }
}

void order_book_load(struct order_book *book, const struct book_level *bids, size_t bid_count,
                     const struct book_level *asks, size_t ask_count)
{
    order_book_clear(book);
    for (size_t i = 0; i < bid_count; i++)
        order_book_set(book, BOOK_BID, bids[i].price, bids[i].quantity);
    for (size_t i = 0; i < ask_count; i++)
        order_book_set(book, BOOK_ASK, asks[i].price, asks[i].quantity);
}

struct top_of_book order_book_top(const struct order_book *book)
{
    struct top_of_book top = {0};
    const struct order_book_side *bids = &book->sides[BOOK_BID];
    const struct order_book_side *asks = &book->sides[BOOK_ASK];
    if (!is_empty(bids)) {
        top.bid.ticks = bids->best;
        top.bid_quantity.lots = bids->lots[slot_of(bids->best)];
    }
    if (!is_empty(asks)) {
        top.ask.ticks = asks->best;
        top.ask_quantity.lots = asks->lots[slot_of(asks->best)];
    }
    return top;
}

struct quantity order_book_quantity(const struct order_book *book, enum book_side which,
                                    struct price price)
{
    const struct order_book_side *side = &book->sides[which];
    struct quantity none = {0};
    if (in_window(side, price.ticks)) {
        if (!bit_is_set(side, price.ticks))
            return none;
        return (struct quantity){side->lots[slot_of(price.ticks)]};
    }
    size_t place = overflow_place(side, which, price.ticks);
    if (place < side->overflow_count && side->overflow[place].price.ticks == price.ticks)
        return side->overflow[place].quantity;
    return none;
}

size_t order_book_levels(const struct order_book *book, enum book_side which)
{
    return book->sides[which].window_count + book->sides[which].overflow_count;
}

size_t order_book_depth(const struct order_book *book, enum book_side which, struct book_level *out,
                        size_t capacity)
{
    const struct order_book_side *side = &book->sides[which];
    size_t count = 0;
    if (is_empty(side))
        return 0;
    for (int64_t at = side->best; at >= 0 && count < capacity; at = next_worse(side, which, at))
        out[count++] = (struct book_level){{at}, {side->lots[slot_of(at)]}};
    for (size_t i = side->overflow_count; i > 0 && count < capacity; i--)
        out[count++] = side->overflow[i - 1];
    return count;
}

bool order_book_is_crossed(const struct order_book *book)
{
    const struct order_book_side *bids = &book->sides[BOOK_BID];
    const struct order_book_side *asks = &book->sides[BOOK_ASK];
    return !is_empty(bids) && !is_empty(asks) && bids->best >= asks->best;
}

int64_t order_book_mid_e9(const struct order_book *book, int64_t tick_e9)
{
    struct top_of_book top = order_book_top(book);
    if (top.bid_quantity.lots == 0 || top.ask_quantity.lots == 0)
        return 0;
    return muldiv_down(top.bid.ticks + top.ask.ticks, tick_e9, 2);
}

int64_t order_book_microprice_e9(const struct order_book *book, int64_t tick_e9)
{
    struct top_of_book top = order_book_top(book);
    if (top.bid_quantity.lots == 0 || top.ask_quantity.lots == 0)
        return 0;
    purser_int128 all = (purser_int128)top.bid_quantity.lots + top.ask_quantity.lots;
    purser_int128 above = (purser_int128)(top.ask.ticks - top.bid.ticks) * tick_e9;
    purser_int128 part = above * top.bid_quantity.lots / all;
    return muldiv_down(top.bid.ticks, tick_e9, 1) + (int64_t)part;
}
