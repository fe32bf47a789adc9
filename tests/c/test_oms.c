/* The order table: places, ids and executions are remembered, and late, repeated or contradictory
 * reports never free a reservation too early. */
#include <stdio.h>
#include <string.h>

#include "../../c_core/src/oms/reconcile.h"

#define SECOND 1000000000LL

static struct oms oms;
static struct venue venue = {.id = VENUE_BINANCE, .validity_window_ns = 2 * SECOND};
static const struct instrument btc = {
    .venue = VENUE_BINANCE, .symbol = "BTCUSDT", .tick_e9 = 100000000, .lot_e9 = 1000000};

static struct oms_entry *add(uint64_t id)
{
    struct order order = {.client_order_id = id,
                          .instrument = &btc,
                          .price = {600000},
                          .quantity = {10},
                          .sent_ns = SECOND,
                          .lands_until_ns = 3 * SECOND};
    return oms_add(&oms, &order, &venue, 0);
}

static struct execution_report report(uint64_t id, int type, int64_t cumulative)
{
    return (struct execution_report){.client_order_id = id,
                                     .instrument = &btc,
                                     .execution_type = (uint8_t)type,
                                     .cumulative = {cumulative}};
}

static struct execution_report trade(uint64_t id, int64_t lots, int64_t cumulative, int execution)
{
    struct execution_report r = report(id, EXEC_TRADE, cumulative);
    r.last_quantity.lots = lots;
    r.last_price.ticks = 600000;
    snprintf(r.execution_id, sizeof r.execution_id, "%d", execution);
    return r;
}

static struct oms_result apply(struct execution_report r, int64_t now_ns)
{
    struct oms_result result;
    oms_apply(&oms, &r, now_ns, &result);
    return result;
}

/* Terminal orders give way to new ones, the oldest first; open ones never do. */
static void places_are_reused(void)
{
    oms_init(&oms);
    for (uint64_t id = 1; id <= 5000; id++) {
        CHECK(add(id) != NULL);
        CHECK(add(id) == NULL);
        if (id % 20)
            CHECK(apply(report(id, EXEC_REJECTED, 0), SECOND).ended);
    }
    CHECK(oms.open == 250);
    CHECK(oms_find(&oms, 20) && oms_find(&oms, 4999) && !oms_find(&oms, 1));
    int cursor = 0, count = 0;
    while (oms_next(&oms, &cursor))
        count++;
    CHECK(count == 250);
    for (uint64_t id = 6000; oms.open < OMS_ORDERS; id++)
        CHECK(add(id) != NULL);
    CHECK(add(9999) == NULL);
    oms_drop(&oms, oms_find(&oms, 20));
    CHECK(add(9999) != NULL && !oms_find(&oms, 20));
}

/* An execution is booked once, by venue, symbol and id; a reversal of it has its own mark. */
static void executions_are_remembered(void)
{
    oms_init(&oms);
    CHECK(!oms_execution_seen(&oms, VENUE_BINANCE, "BTCUSDT", "1", false));
    CHECK(oms_execution_seen(&oms, VENUE_BINANCE, "BTCUSDT", "1", false));
    CHECK(!oms_execution_seen(&oms, VENUE_BINANCE, "BTCUSDT", "1", true));
    CHECK(!oms_execution_seen(&oms, VENUE_BINANCE, "ETHUSDT", "1", false));
    CHECK(!oms_execution_seen(&oms, VENUE_POLYMARKET, "BTCUSDT", "1", false));
    char id[48];
    for (int n = 2; n < 3 * OMS_GUARD; n++) {
        snprintf(id, sizeof id, "%d", n);
        CHECK(!oms_execution_seen(&oms, VENUE_BINANCE, "BTCUSDT", id, false));
        if (n > OMS_GUARD) {
            snprintf(id, sizeof id, "%d", n - OMS_GUARD + 1);
            CHECK(oms_execution_seen(&oms, VENUE_BINANCE, "BTCUSDT", id, false));
        }
    }
}

static void fills_before_the_acknowledgement(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    struct oms_result result = apply(trade(1, 4, 4, 1), SECOND);
    CHECK(result.effect == OMS_FILLED && result.first_answer && result.became_live);
    CHECK(apply(report(1, EXEC_NEW, 0), SECOND).effect == OMS_IGNORED);
    CHECK(entry->order.state == ORDER_PARTIALLY_FILLED);
    CHECK(apply(trade(1, 4, 4, 1), SECOND).effect == OMS_DUPLICATE);
    result = apply(trade(1, 6, 10, 2), SECOND);
    CHECK(result.ended && entry->order.state == ORDER_FILLED);
    CHECK(apply(report(1, EXEC_CANCELED, 10), SECOND).effect == OMS_IMPOSSIBLE);
    CHECK(apply(report(7, EXEC_NEW, 0), SECOND).effect == OMS_STRANGER);
    CHECK(!apply(report(1, EXEC_UNKNOWN, 0), SECOND).became_unknown);
}

/* The end waits for the fills it speaks of, and then is the end that was told. */
static void ends_wait_for_their_fills(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    apply(report(1, EXEC_NEW, 0), SECOND);
    struct oms_result result = apply(report(1, EXEC_CANCELED, 5), SECOND);
    CHECK(!result.ended && result.fills_missing && result.became_unknown);
    result = apply(trade(1, 2, 2, 1), SECOND);
    CHECK(!result.ended);
    result = apply(trade(1, 3, 5, 2), SECOND);
    CHECK(result.ended && entry->order.state == ORDER_CANCELED && oms.open == 0);
}

static void overfills_are_told(void)
{
    oms_init(&oms);
    add(1);
    struct oms_result result = apply(trade(1, 12, 12, 1), SECOND);
    CHECK(result.overfilled && result.ended && result.entry->order.filled.lots == 10);
}

static void not_found_needs_time_and_repetition(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    CHECK(oms_make_unknown(&oms, entry, 2 * SECOND) && !oms_make_unknown(&oms, entry, 2 * SECOND));
    CHECK(oms.unknown == 1 && !oms_query_due(entry, 2 * SECOND));
    CHECK(oms_query_due(entry, 3 * SECOND) && !oms_query_due(entry, 3 * SECOND));
    struct execution_report missing = report(1, EXEC_STATUS, 0);
    missing.not_found = 1;
    for (int n = 0; n < 10; n++)
        apply(missing, 4 * SECOND);
    CHECK(entry->order.state == ORDER_UNKNOWN);
    apply(missing, 4 * SECOND + 1);
    apply(missing, 5 * SECOND);
    struct execution_report found = report(1, EXEC_STATUS, 0);
    found.order_state = ORDER_WORKING;
    CHECK(apply(found, 5 * SECOND).became_live && entry->order.state == ORDER_WORKING);
    oms_init(&oms);
    entry = add(1);
    CHECK(oms_make_unknown(&oms, entry, 6 * SECOND));
    CHECK(!apply(missing, 7 * SECOND).ended && !apply(missing, 7 * SECOND).ended);
    CHECK(apply(missing, 7 * SECOND).ended && entry->order.state == ORDER_REJECTED);
    CHECK(oms.unknown == 0 && oms.open == 0);
}

/* The deadline is the order's own, whatever the venue's window has become since; without an end it
 * is never certain that an order did not arrive. */
static void not_found_waits_for_the_orders_own_deadline(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    CHECK(oms_make_unknown(&oms, entry, SECOND));
    venue.validity_window_ns = SECOND / 10;
    struct execution_report missing = report(1, EXEC_STATUS, 0);
    missing.not_found = 1;
    for (int n = 0; n < 10; n++)
        CHECK(!apply(missing, 4 * SECOND).ended);
    venue.validity_window_ns = 60 * SECOND;
    CHECK(!apply(missing, 4 * SECOND + 1).ended && !apply(missing, 4 * SECOND + 1).ended);
    CHECK(apply(missing, 4 * SECOND + 1).ended);
    venue.validity_window_ns = 2 * SECOND;
    oms_init(&oms);
    entry = add(2);
    entry->order.lands_until_ns = LANDS_UNTIL_NONE;
    CHECK(oms_make_unknown(&oms, entry, SECOND));
    missing.client_order_id = 2;
    for (int n = 0; n < 10; n++)
        CHECK(!apply(missing, 1000000 * SECOND).ended);
}

/* An order that the venue has acknowledged did arrive, so "not found" alone never ends it: a list
 * of open orders without it must have come since it was last heard of. */
static void acknowledged_orders_are_not_lost_by_not_found(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    apply(report(1, EXEC_NEW, 0), SECOND);
    apply(report(1, EXEC_CANCEL_REJECTED, 0), 9 * SECOND);
    CHECK(oms_make_unknown(&oms, entry, 9 * SECOND));
    struct execution_report missing = report(1, EXEC_STATUS, 0);
    missing.not_found = 1;
    for (int n = 0; n < 10; n++) {
        struct oms_result result = apply(missing, 10 * SECOND);
        CHECK(!result.ended && result.fills_missing);
    }
    struct reconcile reconcile = {0};
    reconcile_asked(&reconcile, true, 11 * SECOND, &oms, &venue);
    reconcile_answered(&reconcile, 12 * SECOND, &oms, &venue);
    CHECK(!apply(missing, 12 * SECOND).ended && !apply(missing, 12 * SECOND).ended);
    CHECK(apply(missing, 12 * SECOND).ended && entry->order.state == ORDER_CANCELED);
}

/* A status with more fills than we have asks for them; with all of them it ends the order. */
static void statuses_carry_the_truth(void)
{
    oms_init(&oms);
    struct oms_entry *entry = add(1);
    oms_make_unknown(&oms, entry, SECOND);
    struct execution_report status = report(1, EXEC_STATUS, 10);
    status.order_state = ORDER_FILLED;
    struct oms_result result = apply(status, SECOND);
    CHECK(result.fills_missing && !result.ended);
    result = apply(trade(1, 10, 10, 1), SECOND);
    CHECK(result.ended && entry->order.state == ORDER_FILLED);
}

static void reconcile_asks_for_what_is_not_listed(void)
{
    oms_init(&oms);
    struct reconcile reconcile = {0};
    struct oms_entry *listed = add(1), *gone = add(2);
    apply(report(1, EXEC_NEW, 0), SECOND);
    apply(report(2, EXEC_NEW, 0), SECOND);
    reconcile_want(&reconcile, SECOND);
    CHECK(reconcile_due(&reconcile, SECOND));
    reconcile_asked(&reconcile, false, SECOND, &oms, &venue);
    CHECK(!reconcile_due(&reconcile, SECOND) && reconcile_due(&reconcile, 2 * SECOND));
    reconcile_asked(&reconcile, true, 2 * SECOND, &oms, &venue);
    struct oms_entry *later = add(3);
    later->order.sent_ns = 3 * SECOND;
    listed->seen_open = 1;
    reconcile_answered(&reconcile, 4 * SECOND, &oms, &venue);
    CHECK(gone->order.state == ORDER_UNKNOWN && listed->order.state == ORDER_WORKING);
    CHECK(later->order.state == ORDER_PENDING_NEW);
    CHECK(!reconcile_settled(&reconcile, &oms, &venue));
    apply(report(2, EXEC_CANCELED, 0), 4 * SECOND);
    CHECK(reconcile_settled(&reconcile, &oms, &venue));
    reconcile_execution(&reconcile, "99");
    reconcile_execution(&reconcile, "100");
    reconcile_execution(&reconcile, "98");
    CHECK(strcmp(reconcile.since, "100") == 0);
    CHECK(!reconcile_mismatch(&reconcile, SECOND) && !reconcile_mismatch(&reconcile, SECOND));
    CHECK(reconcile_mismatch(&reconcile, SECOND));
    reconcile_asked(&reconcile, true, 5 * SECOND, &oms, &venue);
    CHECK(!reconcile_due(&reconcile, 6 * SECOND) && reconcile_due(&reconcile, 16 * SECOND));
}

int main(void)
{
    places_are_reused();
    executions_are_remembered();
    fills_before_the_acknowledgement();
    ends_wait_for_their_fills();
    overfills_are_told();
    not_found_needs_time_and_repetition();
    not_found_waits_for_the_orders_own_deadline();
    acknowledged_orders_are_not_lost_by_not_found();
    statuses_carry_the_truth();
    reconcile_asks_for_what_is_not_listed();
    return 0;
}
