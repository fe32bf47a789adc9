/* Every pre-trade check refuses for its own reason, nothing missing or zero lets an order through,
 * and an exit passes where a new risk does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../c_core/src/risk/risk_engine.h"

#define SECOND 1000000000LL
#define USD    1000000LL

static char path[96];
static struct ledger *supervisor, *ledger;
static int64_t now;
static struct instrument btc;
static struct venue venue;
static struct risk_limits limits;
static struct risk_market market;
static struct exposure exposure;
static struct risk_throttle throttle;
static struct risk_runaway runaway;
static struct risk_view view;
static struct order order;

static const struct risk_config config = {
    .max_order_quantity_e9 = 50000000,
    .max_order_notional_micros = 2000 * USD,
    .max_position_e9 = 50000000,
    .price_collar_ppm = 10000,
    .stale_ns = 3 * SECOND,
    .daily_loss_micros = 500 * USD,
    .max_open_orders = 5,
    .orders_per_10s = 100,
};

/* A world in which the order passes; each test then breaks one thing. */
static void reset(void)
{
    const int64_t nothing[2] = {0, 0};
    const int64_t limit[2] = {1000 * USD, 20000 * USD};
    const int64_t headroom[2] = {20 * USD, 400 * USD};
    int adopted;
    if (ledger) {
        ledger_leave(ledger);
        ledger_close(ledger);
        ledger_close(supervisor);
        unlink(path);
    }
    CHECK(ledger_create(&supervisor, &adopted, path, limit, headroom, now) == 0);
    ledger_heartbeat_supervisor(supervisor, now, now + 60 * SECOND);
    ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0);
    CHECK(ledger_open(&ledger, path) == 0 && ledger_join(ledger, ROLE_ENGINE, now) == 0);
    CHECK(ledger_rebuild(ledger, nothing, nothing, NULL, 0, now) == 0);
    btc = (struct instrument){.venue = VENUE_BINANCE,
                              .symbol = "BTCUSDT",
                              .tick_e9 = 100000000,
                              .lot_e9 = 1000000,
                              .min_quantity = {1},
                              .max_quantity = {1000},
                              .min_price = {100},
                              .max_price = {1000000},
                              .min_notional = {100 * USD},
                              .taker_fee_ppm = 500,
                              .shock_ppm = 100000,
                              .trading = true};
    venue = (struct venue){.id = VENUE_BINANCE,
                           .session_state = SESSION_READY,
                           .feed_ns = now,
                           .dead_man_armed_ns = now,
                           .dead_man_expires_ns = now + 12 * SECOND};
    risk_limits_resolve(&limits, &config, &btc);
    market = (struct risk_market){.bid = {600000},
                                  .ask = {600001},
                                  .bid_quantity = {1},
                                  .ask_quantity = {1},
                                  .synced = true,
                                  .received_ns = now};
    CHECK(exposure_init(&exposure, &btc));
    exposure.mark.ticks = 600000;
    exposure_update(&exposure);
    risk_throttle_init(&throttle, config.orders_per_10s);
    risk_runaway_init(&runaway, &config);
    view = (struct risk_view){.now_ns = now,
                              .mode = 1,
                              .venue = &venue,
                              .limits = &limits,
                              .market = &market,
                              .exposure = &exposure,
                              .throttle = &throttle,
                              .runaway = &runaway,
                              .ledger = ledger,
                              .reconciled = true,
                              .journal_ready = true,
                              .journal_reserve = true};
    order = (struct order){.client_order_id = 1,
                           .instrument = &btc,
                           .side = SIDE_BUY,
                           .time_in_force = TIF_GTC,
                           .price = {599900},
                           .quantity = {2}};
}

static int judge(void)
{
    struct risk_reservation reservation;
    int reason = risk_check(&view, &order, &reservation);
    struct ledger_slot slots[2];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 2) == (reason == REJECT_NONE));
    return reason;
}

#define REFUSES(reason, change)                                                                    \
    do {                                                                                           \
        reset();                                                                                   \
        change;                                                                                    \
        CHECK(judge() == (reason));                                                                \
    } while (0)

static void query_id_of(const struct venue *v, uint64_t client_order_id,
                        char out[PROTOCOL_QUERY_ID])
{
    (void)v;
    snprintf(out, PROTOCOL_QUERY_ID, "id-%llu", (unsigned long long)client_order_id);
}

/* How long the order can land after its gate, and the id to ask for it by, are the venue's. */
static void the_slot_tells_until_when_an_order_can_land(void)
{
    static const struct venue_operations operations = {.query_id = query_id_of};
    struct risk_reservation reservation;
    struct ledger_slot slot;
    const int64_t gate_ns = 7000000;

    reset();
    venue.operations = &operations;
    venue.validity_window_ns = 2500000000;
    CHECK(risk_check(&view, &order, &reservation) == REJECT_NONE);
    view.now_ns += gate_ns; /* the turn stood still: the window begins at the gate */
    CHECK(risk_gate(&view, &reservation) == REJECT_NONE);
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, &slot, 1) == 1);
    CHECK(slot.state == SLOT_SENT && slot.sent_ns == view.now_ns);
    CHECK(slot.lands_until_ns == view.now_ns + venue.validity_window_ns);
    CHECK(strcmp(slot.query_id, "id-1") == 0);
    venue.operations = NULL;
    venue.validity_window_ns = 0;
}

static void each_check_refuses(void)
{
    REFUSES(REJECT_NONE, (void)0);
    REFUSES(REJECT_MODE, view.mode = 0);
    REFUSES(REJECT_BAD_ORDER, order.type = ORDER_MARKET);
    REFUSES(REJECT_BAD_ORDER, order.quantity.lots = 0);
    REFUSES(REJECT_BAD_ORDER, order.price.ticks = -5);
    REFUSES(REJECT_BAD_ORDER, order.side = 7);
    REFUSES(REJECT_DUPLICATE, view.duplicate = true);
    REFUSES(REJECT_NO_LEDGER, view.ledger = NULL);
    REFUSES(REJECT_HALTED, ledger_halt(supervisor, HALT_OPERATOR));
    REFUSES(REJECT_NOT_ACTIVE, ledger_set_state(supervisor, LEDGER_CANCEL_ONLY, HALT_NONE, 0));
    REFUSES(REJECT_REDUCING, ledger_set_state(supervisor, LEDGER_REDUCING, HALT_NONE, 0));
    REFUSES(REJECT_LEASE_EXPIRED, ledger_heartbeat_supervisor(supervisor, now, now - 1));
    REFUSES(REJECT_SESSION, venue.session_state = SESSION_SYNCING);
    REFUSES(REJECT_NOT_RECONCILED, view.reconciled = false);
    REFUSES(REJECT_VENUE_MODE, btc.trading = false);
    REFUSES(REJECT_DEAD_MAN, venue.dead_man_armed_ns = 0);
    REFUSES(REJECT_DEAD_MAN, view.now_ns = venue.feed_ns = now + 7 * SECOND);
    REFUSES(REJECT_JOURNAL, view.journal_ready = false);
    REFUSES(REJECT_CLOCK, venue.clock_offset_ns = 5 * SECOND);
    REFUSES(REJECT_CLOCK, venue.clock_offset_ns = -5 * SECOND);
    REFUSES(REJECT_STALE_DATA, market.synced = false);
    REFUSES(REJECT_STALE_DATA, market.ask.ticks = 600000);
    REFUSES(REJECT_STALE_DATA, venue.feed_ns = now - 4 * SECOND);
    REFUSES(REJECT_STALE_DATA, limits.stale_ns = 0);
    REFUSES(REJECT_TICK_SIZE, order.price.ticks = 99);
    REFUSES(REJECT_TICK_SIZE, order.price.ticks = 1000001);
    REFUSES(REJECT_LOT_SIZE, btc.min_quantity.lots = 3);
    REFUSES(REJECT_LOT_SIZE, btc.max_quantity.lots = 1);
    REFUSES(REJECT_MIN_NOTIONAL, order.quantity.lots = 1);
    REFUSES(REJECT_MAX_QUANTITY, order.quantity.lots = 51);
    REFUSES(REJECT_MAX_QUANTITY, limits.max_order_quantity.lots = 0);
    REFUSES(REJECT_MAX_NOTIONAL, order.quantity.lots = 34);
    REFUSES(REJECT_MAX_NOTIONAL, limits.max_order_notional.micros = 0);
    REFUSES(REJECT_PRICE_COLLAR, order.price.ticks = 600000 - 6001);
    REFUSES(REJECT_PRICE_COLLAR, limits.price_collar_ppm = 0);
    REFUSES(REJECT_POST_ONLY_CROSS,
            (order.time_in_force = TIF_POST_ONLY, order.price.ticks = 600001));
    REFUSES(REJECT_NO_SHOCK,
            (btc.shock_ppm = 0, order.side = SIDE_SELL, order.price.ticks = 600100));
    REFUSES(REJECT_POSITION_LIMIT, exposure.position_lots = 49);
    REFUSES(REJECT_POSITION_LIMIT, limits.max_position.lots = 0);
    REFUSES(REJECT_OPEN_ORDERS, limits.max_open_orders = 0);
    REFUSES(REJECT_RUNAWAY, runaway.tripped = true);
    REFUSES(REJECT_DAILY_LOSS, view.day_micros = -500 * USD);
    REFUSES(REJECT_DAILY_LOSS, limits.daily_loss.micros = 0);
    REFUSES(REJECT_BUDGET, view.others_micros[BUDGET_LOSS] = 975 * USD);
    REFUSES(REJECT_BUDGET, view.others_micros[BUDGET_NOTIONAL] = 19550 * USD);
}

static void open_orders_are_counted_and_not_traded_with(void)
{
    reset();
    struct exposure_order sell = {
        .client_order_id = 50, .price = {599900}, .remaining = {2}, .side = SIDE_SELL};
    CHECK(exposure_add(&exposure, &sell));
    CHECK(judge() == REJECT_SELF_TRADE);
    reset();
    for (uint64_t n = 0; n < 5; n++) {
        struct exposure_order buy = {
            .client_order_id = 50 + n, .price = {599000}, .remaining = {1}, .side = SIDE_BUY};
        CHECK(exposure_add(&exposure, &buy));
    }
    CHECK(judge() == REJECT_OPEN_ORDERS);
}

/* A broken input never blocks an exit. */
static void exits_pass(void)
{
    reset();
    exposure.position_lots = 10;
    exposure.cost_micros = 600 * USD;
    exposure_update(&exposure);
    order.side = SIDE_SELL;
    order.price.ticks = 599900;
    order.quantity.lots = 10;
    ledger_set_state(supervisor, LEDGER_REDUCING, HALT_NONE, 0);
    ledger_heartbeat_supervisor(supervisor, now, now - 1);
    market.synced = false;
    venue.clock_offset_ns = 9 * SECOND;
    venue.dead_man_armed_ns = 0;
    view.journal_ready = false;
    view.day_micros = -900 * USD;
    view.others_micros[BUDGET_LOSS] = 990 * USD;
    runaway.tripped = true;
    limits.max_open_orders = 0;
    const int64_t used[2] = {990 * USD + exposure.used_micros[0], exposure.used_micros[1]};
    ledger_reprice(ledger, used, used, now);
    struct risk_reservation reservation;
    CHECK(risk_check(&view, &order, &reservation) == REJECT_NONE && reservation.reducing);
    CHECK(risk_gate(&view, &reservation) == REJECT_NONE);
    order.quantity.lots = 11;
    order.client_order_id = 2;
    CHECK(risk_check(&view, &order, &reservation) != REJECT_NONE);
}

/* The gate looks once more: a halt between the two stops the order and frees its reservation. */
static void the_gate_sees_a_late_halt(void)
{
    reset();
    struct risk_reservation reservation;
    CHECK(risk_check(&view, &order, &reservation) == REJECT_NONE);
    ledger_halt(supervisor, HALT_OPERATOR);
    CHECK(risk_gate(&view, &reservation) == REJECT_HALTED);
    struct ledger_slot slots[2];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 2) == 0);
}

static void the_throttle_keeps_room_for_cancels(void)
{
    reset();
    int orders = 0, reducing = 0, cancels = 0;
    while (risk_throttle_allows(&throttle, RISK_MESSAGE_ORDER, now)) {
        risk_throttle_add(&throttle, now);
        orders++;
    }
    CHECK(judge() == REJECT_THROTTLE);
    while (risk_throttle_allows(&throttle, RISK_MESSAGE_REDUCING, now)) {
        risk_throttle_add(&throttle, now);
        reducing++;
    }
    while (risk_throttle_allows(&throttle, RISK_MESSAGE_CANCEL, now)) {
        risk_throttle_add(&throttle, now);
        cancels++;
    }
    CHECK(orders == 80 && reducing == 10 && cancels == 10);
    CHECK(!risk_throttle_allows(&throttle, RISK_MESSAGE_CANCEL, now + 9 * SECOND));
    CHECK(risk_throttle_allows(&throttle, RISK_MESSAGE_ORDER, now + 11 * SECOND));
}

static void the_runaway_guard_trips(void)
{
    reset();
    for (int n = 0; n < 19; n++)
        risk_runaway_rejected(&runaway);
    risk_runaway_accepted(&runaway);
    CHECK(!runaway.tripped);
    for (int n = 0; n < 20; n++)
        risk_runaway_rejected(&runaway);
    CHECK(runaway.tripped);
    risk_runaway_init(&runaway, &config);
    for (int n = 0; n < 100; n++)
        risk_runaway_duplicate(&runaway, now + n * SECOND);
    CHECK(!runaway.tripped);
    for (int n = 0; n < 50; n++)
        risk_runaway_duplicate(&runaway, now + 200 * SECOND);
    CHECK(runaway.tripped);
}

/* The streak is of refusals in a row: one accepted order begins it anew, however many were refused
 * before in all. */
static void an_accepted_order_ends_the_streak_of_refusals(void)
{
    risk_runaway_init(&runaway, &config);
    for (int round = 0; round < 10; round++) {
        for (int n = 1; n < runaway.reject_streak_max; n++)
            risk_runaway_rejected(&runaway);
        risk_runaway_accepted(&runaway);
    }
    CHECK(!runaway.tripped);
    for (int n = 1; n < runaway.reject_streak_max; n++)
        risk_runaway_rejected(&runaway);
    CHECK(!runaway.tripped);
    risk_runaway_rejected(&runaway);
    CHECK(runaway.tripped);
}

static void limits_are_all_required(void)
{
    struct risk_config broken = config;
    CHECK(!risk_config_problem(&broken));
    broken.daily_loss_micros = 0;
    CHECK(strstr(risk_config_problem(&broken), "daily_loss_usd"));
    CHECK(strcmp(risk_check_name(0), "mode") == 0);
    int n = 0;
    while (risk_check_name(n + 1))
        n++;
    CHECK(strcmp(risk_check_name(n), "ledger") == 0);
}

int main(void)
{
    now = ledger_now_ns();
    char folder[64];
    snprintf(folder, sizeof folder, "/dev/shm/test-risk-engine-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/ledger", folder);
    each_check_refuses();
    the_slot_tells_until_when_an_order_can_land();
    open_orders_are_counted_and_not_traded_with();
    exits_pass();
    the_gate_sees_a_late_halt();
    the_throttle_keeps_room_for_cancels();
    the_runaway_guard_trips();
    an_accepted_order_ends_the_streak_of_refusals();
    limits_are_all_required();
    unlink(path);
    rmdir(folder);
    return 0;
}
