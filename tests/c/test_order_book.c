/* The ladder equals a plain sorted list under random changes, near and far, while the market moves.
 */
#include "../../c_core/src/base/status.h"
#include "../../c_core/src/book/book_sync.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_MAX 4096

struct model {
    struct book_level levels[MODEL_MAX]; /* best first */
    size_t count;
};

static struct order_book book;
static struct model models[2];
static uint64_t random_state = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static void model_set(int side, int64_t ticks, int64_t lots)
{
    struct model *model = &models[side];
    size_t at = 0;
    while (at < model->count && (side == BOOK_BID ? model->levels[at].price.ticks > ticks
                                                  : model->levels[at].price.ticks < ticks))
        at++;
    bool known = at < model->count && model->levels[at].price.ticks == ticks;
    if (known && lots == 0) {
        model->count--;
        memmove(&model->levels[at], &model->levels[at + 1],
                (model->count - at) * sizeof model->levels[0]);
    } else if (known) {
        model->levels[at].quantity.lots = lots;
    } else if (lots != 0) {
        CHECK(model->count < MODEL_MAX);
        memmove(&model->levels[at + 1], &model->levels[at],
                (model->count - at) * sizeof model->levels[0]);
        model->levels[at] = (struct book_level){{ticks}, {lots}};
        model->count++;
    }
}

static void compare(int side)
{
    static struct book_level out[MODEL_MAX];
    const struct model *model = &models[side];
    CHECK(order_book_levels(&book, (enum book_side)side) == model->count);
    CHECK(order_book_depth(&book, (enum book_side)side, out, MODEL_MAX) == model->count);
    for (size_t i = 0; i < model->count; i++)
        CHECK(out[i].price.ticks == model->levels[i].price.ticks &&
              out[i].quantity.lots == model->levels[i].quantity.lots);
}

static void compare_top(void)
{
    struct top_of_book top = order_book_top(&book);
    const struct book_level none = {{0}, {0}};
    const struct book_level *bid = models[0].count > 0 ? &models[0].levels[0] : &none;
    const struct book_level *ask = models[1].count > 0 ? &models[1].levels[0] : &none;
    CHECK(top.bid.ticks == bid->price.ticks && top.bid_quantity.lots == bid->quantity.lots);
    CHECK(top.ask.ticks == ask->price.ticks && top.ask_quantity.lots == ask->quantity.lots);
}

/* Distances: mostly near, some around the window's edges, some far. */
static int64_t random_price(int64_t centre)
{
    int64_t spread = random_below(10) < 7 ? 200 : random_below(2) ? 2 * ORDER_BOOK_WINDOW : 5000;
    int64_t ticks = centre - spread + (int64_t)random_below(2 * (uint64_t)spread);
    return ticks < 0 ? 0 : ticks;
}

static void equals_model(void)
{
    int64_t centre = 600000;
    for (int step = 0; step < 60000; step++) {
        if (random_below(500) == 0)
            centre = (int64_t)random_below(1000000);
        int side = (int)random_below(2);
        struct model *model = &models[side];
        int64_t ticks = random_price(centre), lots = (int64_t)random_below(3) * 7;
        if (model->count > 0 && (random_below(3) == 0 || model->count > 1500)) {
            /* remove the best, or any */
            size_t which = random_below(2) ? 0 : (size_t)random_below(model->count);
            ticks = model->levels[which].price.ticks;
            lots = 0;
        }
        model_set(side, ticks, lots);
        order_book_set(&book, (enum book_side)side, (struct price){ticks}, (struct quantity){lots});
        compare_top();
        CHECK(order_book_quantity(&book, (enum book_side)side, (struct price){ticks}).lots == lots);
        if (step % 500 == 0) {
            compare(0);
            compare(1);
        }
    }
    CHECK(book.recentred > 10 && book.forgotten == 0);
}

static void forgets_the_farthest(void)
{
    order_book_clear(&book);
    order_book_set(&book, BOOK_BID, (struct price){1000000}, (struct quantity){1});
    for (int64_t i = 0; i < ORDER_BOOK_OVERFLOW + 10; i++)
        order_book_set(&book, BOOK_BID, (struct price){1 + i}, (struct quantity){5});
    CHECK(book.forgotten == 10);
    CHECK(order_book_levels(&book, BOOK_BID) == ORDER_BOOK_OVERFLOW + 1);
    CHECK(order_book_quantity(&book, BOOK_BID, (struct price){10}).lots == 0);
    CHECK(order_book_quantity(&book, BOOK_BID, (struct price){11}).lots == 5);
}

static void prices_between(void)
{
    static const struct book_level bids[] = {{{600}, {30}}}, asks[] = {{{602}, {10}}};
    order_book_load(&book, bids, 1, asks, 1);
    CHECK(order_book_mid_e9(&book, 100000000) == 60100000000);
    CHECK(order_book_microprice_e9(&book, 100000000) == 60150000000);
    CHECK(!order_book_is_crossed(&book));
    order_book_set(&book, BOOK_BID, (struct price){602}, (struct quantity){1});
    CHECK(order_book_is_crossed(&book));
    order_book_clear(&book);
    CHECK(order_book_mid_e9(&book, 100000000) == 0 && order_book_microprice_e9(&book, 1) == 0);
}

static const struct book_level LEVELS[] = {{{100}, {1}}, {{110}, {2}}};

static enum book_sync_result feed(struct book_sync *sync, int64_t previous, int64_t first,
                                  int64_t last)
{
    struct book_delta delta = {.first_id = first,
                               .last_id = last,
                               .previous_id = previous,
                               .bid_count = 1,
                               .ask_count = 1,
                               .levels = LEVELS};
    return book_sync_delta(sync, &delta);
}

static enum book_sync_result load(struct book_sync *sync, int64_t last)
{
    struct book_delta snapshot = {
        .last_id = last, .bid_count = 1, .ask_count = 1, .levels = LEVELS};
    return book_sync_snapshot(sync, &snapshot);
}

static void syncs(struct arena *arena)
{
    static struct book_sync sync;
    book_sync_init(&sync, arena, &book);
    CHECK(feed(&sync, 9, 11, 20) == SYNC_KEPT && feed(&sync, 20, 21, 30) == SYNC_KEPT);
    CHECK(load(&sync, 8) == SYNC_SNAPSHOT_OLD && !book_sync_is_whole(&sync));
    CHECK(load(&sync, 25) == SYNC_APPLIED && book_sync_is_whole(&sync) && sync.dropped == 1);
    CHECK(load(&sync, 99) == SYNC_DROPPED && sync.last_id == 30);
    CHECK(feed(&sync, 30, 35, 40) == SYNC_APPLIED); /* U may jump: only pu counts */
    CHECK(feed(&sync, 41, 42, 50) == SYNC_GAP && !book_sync_is_whole(&sync));
    CHECK(order_book_levels(&book, BOOK_BID) == 0);
    CHECK(load(&sync, 41) == SYNC_APPLIED && sync.last_id == 50);
    /* a snapshot on an event boundary links through the event that ends there (u == L) or starts
     * there */
    book_sync_reset(&sync);
    CHECK(load(&sync, 60) == SYNC_WAITING && feed(&sync, 40, 41, 59) == SYNC_DROPPED);
    CHECK(feed(&sync, 59, 60, 60) == SYNC_APPLIED && feed(&sync, 60, 61, 62) == SYNC_APPLIED);
    book_sync_reset(&sync);
    CHECK(load(&sync, 60) == SYNC_WAITING && feed(&sync, 60, 61, 65) == SYNC_APPLIED);
    book_sync_reset(&sync);
    CHECK(load(&sync, 60) == SYNC_WAITING && feed(&sync, 61, 62, 65) == SYNC_GAP);
    /* a gap among kept events starts the buffer afresh; so does more than can be kept */
    book_sync_reset(&sync);
    CHECK(feed(&sync, 1, 2, 3) == SYNC_KEPT && feed(&sync, 5, 6, 7) == SYNC_KEPT);
    CHECK(load(&sync, 3) == SYNC_SNAPSHOT_OLD && load(&sync, 6) == SYNC_APPLIED);
    book_sync_reset(&sync);
    for (int64_t i = 0; i < BOOK_SYNC_DELTAS + 5; i++)
        CHECK(feed(&sync, i, i + 1, i + 1) == SYNC_KEPT);
    CHECK(sync.overflows == 1 && sync.kept_count == 5);
    CHECK(load(&sync, BOOK_SYNC_DELTAS + 2) == SYNC_APPLIED);
}

int main(void)
{
    struct arena arena;
    CHECK(arena_init(&arena, (size_t)16 << 20) == STATUS_OK);
    order_book_init(&book, &arena);
    equals_model();
    forgets_the_farthest();
    prices_between();
    syncs(&arena);
    arena_fini(&arena);
    return 0;
}
