/* Cost basis in whole micros: opens, partial closes, flips, reversals and the day's end. */
#include "../../c_core/src/pnl/pnl.h"

static const struct instrument btc = {.tick_e9 = 100000000, .lot_e9 = 1000000};

static void fill(struct pnl *pnl, int side, int64_t ticks, int64_t lots, int64_t fee_e8)
{
    pnl_fill(pnl, side, (struct price){ticks}, (struct quantity){lots}, fee_e8);
}

static void long_and_close(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    CHECK(pnl.unit_micros == 100);
    fill(&pnl, SIDE_BUY, 600000, 2, 2400000);
    fill(&pnl, SIDE_BUY, 600010, 1, 1200020);
    CHECK(pnl.position_lots == 3 && pnl.cost_micros == 180001000);
    fill(&pnl, SIDE_SELL, 600100, 1, 1200200);
    /* released = 180001000 / 3 cut toward zero */
    CHECK(pnl.cost_micros == 180001000 - 60000333);
    CHECK(pnl.realized_micros == 60010000 - 60000333);
    fill(&pnl, SIDE_SELL, 600100, 2, 0);
    CHECK(pnl.position_lots == 0 && pnl.cost_micros == 0);
    CHECK(pnl.realized_micros == 3 * 60010000 - 180001000);
    CHECK(pnl.cash_flow_micros == pnl.realized_micros);
    CHECK(pnl.fees_e8 == 4800220 && pnl_fees_micros(pnl.fees_e8) == 48003);
    CHECK(pnl_day_micros(&pnl) == pnl.realized_micros - 48003);
}

static void short_and_flip(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_SELL, 600000, 3, 0);
    CHECK(pnl.position_lots == -3 && pnl.cost_micros == -180000000);
    fill(&pnl, SIDE_BUY, 599900, 5, 0);
    CHECK(pnl.position_lots == 2 && pnl.cost_micros == 2 * 59990000);
    CHECK(pnl.realized_micros == 3 * 10000);
    pnl.mark.ticks = 599800;
    CHECK(pnl_unrealized(&pnl) == -2 * 10000);
    CHECK(pnl_day_micros(&pnl) == 10000);
}

static void negative_cost_is_cut_toward_zero(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_SELL, 600000, 2, 0);
    fill(&pnl, SIDE_SELL, 600010, 1, 0);
    fill(&pnl, SIDE_BUY, 600000, 1, 0);
    /* -180001000 / 3 = -60000333.3 */
    CHECK(pnl.cost_micros == -180001000 + 60000333);
    CHECK(pnl.realized_micros == 60000333 - 60000000);
}

static void cash_flow_explains_everything(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    uint32_t seed = 7;
    for (int n = 0; n < 5000; n++) {
        seed = seed * 1664525u + 1013904223u;
        int64_t ticks = 600000 + (int64_t)(seed >> 16) % 1000;
        fill(&pnl, (int)(seed >> 8) & 1, ticks, 1 + (int64_t)(seed >> 4) % 7, 12);
        /* What was paid is either still in the position or realized: nothing is lost by rounding.
         */
        CHECK(pnl.cash_flow_micros == pnl.realized_micros - pnl.cost_micros);
    }
    CHECK(pnl.fees_e8 == 60000);
}

static void reversal_restores(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_BUY, 600000, 2, 100);
    pnl_reverse(&pnl, SIDE_BUY, (struct price){600000}, (struct quantity){2}, 100);
    CHECK(pnl.position_lots == 0 && pnl.cost_micros == 0 && pnl.realized_micros == 0);
    CHECK(pnl.fees_e8 == 0 && pnl.volume_micros == 0 && pnl.cash_flow_micros == 0);
}

static void day_rolls_forward_only(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_BUY, 600000, 2, 100);
    pnl.mark.ticks = 600100;
    CHECK(!pnl_roll(&pnl, 20000));
    CHECK(!pnl_roll(&pnl, 19999));
    CHECK(pnl.fees_e8 == 100);
    CHECK(pnl_roll(&pnl, 20001));
    CHECK(pnl_day_micros(&pnl) == 0 && pnl.position_lots == 2);
    pnl.mark.ticks = 600000;
    CHECK(pnl_day_micros(&pnl) == -2 * 10000);
    CHECK(pnl_day_number(86400000000000 * 20001 + 5) == 20001);
}

/* Fills of the next day that came before the roll are that day's, to the micro: the closed day is
 * what it would have been without them. */
static void fills_ahead_of_the_roll_are_the_next_days(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_BUY, 600000, 2, 100);
    pnl.mark.ticks = 600100;
    int64_t closing = pnl_day_micros(&pnl);
    CHECK(pnl_ahead_micros(&pnl) == 0);
    fill(&pnl, SIDE_SELL, 599000, 3, 20000);
    pnl_ahead(&pnl, SIDE_SELL, (struct price){599000}, (struct quantity){3}, 20000, false);
    fill(&pnl, SIDE_BUY, 599500, 1, 0);
    pnl_ahead(&pnl, SIDE_BUY, (struct price){599500}, (struct quantity){1}, 0, false);
    int64_t ahead = -3 * 110000 + 60000 - 200;
    CHECK(pnl_ahead_micros(&pnl) == ahead);
    CHECK(pnl_day_micros(&pnl) - ahead == closing);
    CHECK(pnl_roll(&pnl, 20001));
    CHECK(pnl_day_micros(&pnl) == ahead && pnl.fees_e8 == 20000);
    CHECK(pnl.position_lots == 0 && pnl.cost_micros == 0 && pnl_ahead_micros(&pnl) == 0);
    CHECK(pnl_roll(&pnl, 20002) && pnl_day_micros(&pnl) == 0);
    pnl_ahead(&pnl, SIDE_BUY, (struct price){600000}, (struct quantity){2}, 50, false);
    pnl_ahead(&pnl, SIDE_BUY, (struct price){600000}, (struct quantity){2}, 50, true);
    CHECK(pnl_ahead_micros(&pnl) == 0);
}

/* The venue sets a position: lots that go leave at the venue's entry price, and what they had cost
 * above it is lost; lots that come cost what they are told to cost; neither is a fill. */
static void adjustments_are_no_fills(void)
{
    const struct price entry = {600000};
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_BUY, 600000, 3, 100);
    struct pnl before = pnl;
    pnl_adjust(&pnl, 5, entry, (struct price){610000});
    CHECK(pnl.position_lots == 5 && pnl.cost_micros == before.cost_micros + 2 * 61000000);
    CHECK(pnl.realized_micros == 0);
    pnl_adjust(&pnl, 2, (struct price){604000}, (struct price){1});
    CHECK(pnl.cost_micros == (before.cost_micros + 2 * 61000000) * 2 / 5);
    CHECK(pnl.realized_micros == 0); /* the entry is what they cost */
    pnl_adjust(&pnl, -4, (struct price){604000}, (struct price){500000});
    CHECK(pnl.position_lots == -4 && pnl.cost_micros == -4 * 50000000);
    CHECK(pnl.realized_micros == 0);
    pnl_adjust(&pnl, -1, (struct price){490000}, (struct price){1});
    CHECK(pnl.cost_micros == -50000000 && pnl.realized_micros == 3 * 1000000);
    pnl_adjust(&pnl, 0, (struct price){530000}, (struct price){1});
    CHECK(pnl.position_lots == 0 && pnl.cost_micros == 0);
    CHECK(pnl.realized_micros == 3 * 1000000 - 3000000);
    CHECK(pnl.fees_e8 == before.fees_e8 && pnl.volume_micros == before.volume_micros);
    CHECK(pnl.cash_flow_micros == before.cash_flow_micros);
}

/* Since a day's end lots cost its mark: a position that the venue takes away at an entry below it
 * loses the difference today. */
static void lots_taken_away_lose_what_they_had_gained(void)
{
    struct pnl pnl;
    CHECK(pnl_init(&pnl, &btc, 20000));
    fill(&pnl, SIDE_BUY, 600000, 3, 0);
    pnl.mark.ticks = 650000;
    CHECK(pnl_roll(&pnl, 20001) && pnl_day_micros(&pnl) == 0);
    pnl_adjust(&pnl, 1, (struct price){600000}, (struct price){600000});
    CHECK(pnl_day_micros(&pnl) == -2 * 5000000 && pnl.cost_micros == 65000000);
    pnl_adjust(&pnl, 0, (struct price){600000}, (struct price){0});
    CHECK(pnl_day_micros(&pnl) == -3 * 5000000);
}

static void inexact_instruments_are_refused(void)
{
    struct instrument odd = {.tick_e9 = 100, .lot_e9 = 1000000000};
    struct pnl pnl;
    CHECK(!pnl_init(&pnl, &odd, 20000));
}

int main(void)
{
    long_and_close();
    short_and_flip();
    negative_cost_is_cut_toward_zero();
    cash_flow_explains_everything();
    reversal_restores();
    day_rolls_forward_only();
    fills_ahead_of_the_roll_are_the_next_days();
    adjustments_are_no_fills();
    lots_taken_away_lose_what_they_had_gained();
    inexact_instruments_are_refused();
    return 0;
}
