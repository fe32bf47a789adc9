/* The worst loss over open orders equals a search through every subset of them. */
#include "../../c_core/src/risk/exposure.h"

#include <stdlib.h>

static uint32_t seed = 20261125;

static int64_t draw(int64_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (int64_t)(seed >> 8) % below;
}

/* One subset's loss in micros times a million: an independent statement of the rule. */
static purser_int128 subset_loss(const struct exposure *e, uint32_t subset)
{
    int64_t position = e->position_lots;
    purser_int128 cost = 0;
    for (int n = 0; n < e->count; n++) {
        if (!(subset >> n & 1))
            continue;
        const struct exposure_order *o = &e->orders[n];
        bool buy = o->side == SIDE_BUY;
        position += buy ? o->remaining.lots : -o->remaining.lots;
        int64_t beyond = buy ? o->price.ticks - e->mark.ticks : e->mark.ticks - o->price.ticks;
        if (beyond > 0)
            cost += (purser_int128)beyond * o->remaining.lots * e->unit_micros * 1000000;
        cost += (purser_int128)o->price.ticks * o->remaining.lots * e->unit_micros *
                e->instrument->taker_fee_ppm;
    }
    purser_int128 size = position < 0 ? -position : position;
    return size * e->mark.ticks * e->unit_micros * e->instrument->shock_ppm + cost;
}

static int64_t subset_notional(const struct exposure *e, uint32_t subset)
{
    int64_t position = e->position_lots;
    for (int n = 0; n < e->count; n++)
        if (subset >> n & 1)
            position += e->orders[n].side == SIDE_BUY ? e->orders[n].remaining.lots
                                                      : -e->orders[n].remaining.lots;
    return (position < 0 ? -position : position) * e->mark.ticks * e->unit_micros;
}

static void compare_with_every_subset(const struct exposure *e)
{
    purser_int128 worst = 0;
    int64_t notional = 0;
    for (uint32_t subset = 0; subset < 1u << e->count; subset++) {
        purser_int128 loss = subset_loss(e, subset);
        worst = loss > worst ? loss : worst;
        int64_t value = subset_notional(e, subset);
        notional = value > notional ? value : notional;
    }
    CHECK(e->used_micros[BUDGET_LOSS] == (int64_t)((worst + 999999) / 1000000));
    CHECK(e->used_micros[BUDGET_NOTIONAL] == notional);
    CHECK(e->positions_micros[BUDGET_LOSS] <= e->used_micros[BUDGET_LOSS]);
}

static struct exposure random_exposure(const struct instrument *instrument, int orders)
{
    struct exposure e;
    CHECK(exposure_init(&e, instrument));
    e.mark.ticks = 600000 + draw(1000);
    e.position_lots = draw(41) - 20;
    for (int n = 0; n < orders; n++) {
        struct exposure_order order = {
            .client_order_id = (uint64_t)n + 1,
            .price = {e.mark.ticks + draw(200001) - 100000},
            .remaining = {draw(9)},
            .side = (uint8_t)draw(2),
        };
        CHECK(exposure_add(&e, &order));
    }
    exposure_update(&e);
    return e;
}

static void equals_brute_force(void)
{
    for (int n = 0; n < 600; n++) {
        struct instrument btc = {
            .tick_e9 = 100000000,
            .lot_e9 = 1000000,
            .taker_fee_ppm = 500,
            .shock_ppm = 10000 + draw(200000),
        };
        struct exposure e = random_exposure(&btc, (int)draw(n < 40 ? 13 : 9));
        compare_with_every_subset(&e);
    }
}

static void reducing_orders_cost_nothing(void)
{
    struct instrument btc = {
        .tick_e9 = 100000000, .lot_e9 = 1000000, .taker_fee_ppm = 500, .shock_ppm = 100000};
    struct exposure e;
    CHECK(exposure_init(&e, &btc));
    e.mark.ticks = 600000;
    e.position_lots = 10;
    exposure_update(&e);
    struct exposure_order sell = {
        .client_order_id = 1, .price = {597000}, .remaining = {6}, .side = SIDE_SELL};
    int64_t with[2];
    exposure_with(&e, &sell, with);
    CHECK(with[0] == e.used_micros[0] && with[1] == e.used_micros[1]);
    CHECK(exposure_reduces(&e, SIDE_SELL, (struct quantity){10}));
    CHECK(!exposure_reduces(&e, SIDE_SELL, (struct quantity){11}));
    CHECK(!exposure_reduces(&e, SIDE_BUY, (struct quantity){1}));
    CHECK(exposure_add(&e, &sell));
    CHECK(exposure_reduces(&e, SIDE_SELL, (struct quantity){4}));
    CHECK(!exposure_reduces(&e, SIDE_SELL, (struct quantity){5}));
    CHECK(exposure_worst_lots(&e, SIDE_BUY, (struct quantity){3}) == 13);
    CHECK(exposure_worst_lots(&e, SIDE_SELL, (struct quantity){30}) == 26);
    exposure_reduce(&e, 1, (struct quantity){2});
    CHECK(exposure_find(&e, 1)->remaining.lots == 2);
    exposure_remove(&e, 1);
    exposure_remove(&e, 1);
    CHECK(e.count == 0 && !exposure_find(&e, 1));
}

static void without_mark_or_shock(void)
{
    struct instrument btc = {.tick_e9 = 100000000, .lot_e9 = 1000000};
    struct exposure e;
    CHECK(exposure_init(&e, &btc));
    struct exposure_order buy = {
        .client_order_id = 1, .price = {600000}, .remaining = {2}, .side = SIDE_BUY};
    CHECK(exposure_add(&e, &buy));
    exposure_update(&e);
    CHECK(e.used_micros[BUDGET_LOSS] == 120000000);
    CHECK(e.used_micros[BUDGET_NOTIONAL] == 120000000);
    e.position_lots = 1;
    e.cost_micros = 60000000;
    exposure_update(&e);
    CHECK(e.positions_micros[BUDGET_LOSS] == 60000000);
    CHECK(e.used_micros[BUDGET_LOSS] == 180000000);
}

static void crossing_orders_are_found(void)
{
    struct instrument btc = {.tick_e9 = 100000000, .lot_e9 = 1000000, .shock_ppm = 100000};
    struct exposure e;
    CHECK(exposure_init(&e, &btc));
    struct exposure_order sell = {
        .client_order_id = 9, .price = {600010}, .remaining = {2}, .side = SIDE_SELL};
    CHECK(exposure_add(&e, &sell));
    CHECK(exposure_crosses(&e, SIDE_BUY, (struct price){600010}, false)->client_order_id == 9);
    CHECK(!exposure_crosses(&e, SIDE_BUY, (struct price){600009}, false));
    CHECK(!exposure_crosses(&e, SIDE_SELL, (struct price){600010}, false));
    CHECK(exposure_crosses(&e, SIDE_BUY, (struct price){0}, true));
    for (uint64_t n = 1; n < EXPOSURE_ORDERS; n++) {
        sell.client_order_id = 9 + n;
        CHECK(exposure_add(&e, &sell));
    }
    CHECK(!exposure_add(&e, &sell));
}

/* While the venue tells of another position than the books hold, the worse of both is charged, and
 * only what reduces both is an exit. */
static void the_worse_of_two_positions_counts(void)
{
    struct instrument btc = {.tick_e9 = 100000000, .lot_e9 = 1000000, .shock_ppm = 100000};
    struct exposure e;
    CHECK(exposure_init(&e, &btc));
    e.mark.ticks = 600000;
    e.position_lots = 10;
    e.told = true;
    e.told_lots = -25;
    exposure_update(&e);
    CHECK(e.positions_micros[BUDGET_LOSS] == 150000000);
    CHECK(e.used_micros[BUDGET_NOTIONAL] == 1500000000);
    CHECK(!exposure_reduces(&e, SIDE_SELL, (struct quantity){1}));
    CHECK(!exposure_reduces(&e, SIDE_BUY, (struct quantity){1}));
    CHECK(exposure_worst_lots(&e, SIDE_SELL, (struct quantity){1}) == 26);
    CHECK(exposure_worst_lots(&e, SIDE_BUY, (struct quantity){20}) == 30);
    e.told_lots = 4;
    exposure_update(&e);
    CHECK(e.used_micros[BUDGET_LOSS] == 60000000);
    CHECK(exposure_reduces(&e, SIDE_SELL, (struct quantity){4}));
    CHECK(!exposure_reduces(&e, SIDE_SELL, (struct quantity){5}));
    e.mark.ticks = 0; /* no mark: the told lots are priced as the books' */
    e.cost_micros = 600000000;
    e.told_lots = 20;
    exposure_update(&e);
    CHECK(e.used_micros[BUDGET_NOTIONAL] >= 1200000000);
}

int main(void)
{
    the_worse_of_two_positions_counts();
    equals_brute_force();
    reducing_orders_cost_nothing();
    without_mark_or_shock();
    crossing_orders_are_found();
    return 0;
}
