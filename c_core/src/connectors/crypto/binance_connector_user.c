/* The user stream: our orders' lives and fills as the venue tells them. */
#include <stdio.h>
#include <string.h>

#include "../../base/heap_trap.h"
#include "binance_connector_session.h"

/* Commission in another asset (BNB) is charged at the configured rate: its worth in USD is not in
 * the event. */
int64_t binance_commission_e8(const struct instrument *instrument, int64_t commission_e8,
                              const char *asset, bool present, bool maker, struct price price,
                              struct quantity quantity)
{
    if (present && binance_is_dollar(asset))
        return commission_e8;
    int64_t rate_ppm = maker ? instrument->maker_fee_ppm : instrument->taker_fee_ppm;
    struct money notional = instrument_notional_up(instrument, price, quantity);
    return muldiv_up(notional.micros, rate_ppm * 100, 1000000);
}

static void fill_set(struct execution_report *report, const struct binance_user_event *event)
{
    report->execution_type = EXEC_TRADE;
    report->maker = event->maker;
    report->last_price = event->last_price;
    report->last_quantity = event->last_quantity;
    report->fee_e8 = binance_commission_e8(event->order.instrument, event->commission_e8,
                                           event->commission_asset, event->has_commission,
                                           event->maker, event->last_price, event->last_quantity);
    binance_fill_wallet(report, event->has_realized, event->realized_e8, event->has_commission,
                        event->commission_e8, event->commission_asset);
    snprintf(report->execution_id, sizeof report->execution_id, "%lld", (long long)event->trade_id);
}

/* execution_type_of: -1 when the event says nothing that changes an order. */
static int execution_type_of(const struct binance_user_event *event)
{
    bool fill = event->trade_id != 0 && event->last_quantity.lots > 0;
    switch ((enum binance_execution)event->execution) {
    case BINANCE_EXECUTION_NEW:
        return EXEC_NEW;
    case BINANCE_EXECUTION_CANCELED:
        return EXEC_CANCELED;
    case BINANCE_EXECUTION_EXPIRED:
        return event->order.status == BINANCE_STATUS_REJECTED ? EXEC_REJECTED : EXEC_EXPIRED;
    case BINANCE_EXECUTION_TRADE:
        return fill ? EXEC_TRADE : -1;
    case BINANCE_EXECUTION_CALCULATED:
        return fill ? EXEC_TRADE : -1;
    case BINANCE_EXECUTION_AMENDMENT:
        return EXEC_STATUS;
    case BINANCE_EXECUTION_OTHER:
        return event->order.status == BINANCE_STATUS_REJECTED ? EXEC_REJECTED : -1;
    }
    return -1;
}

static const char *forced_name(int forced)
{
    switch ((enum binance_forced)forced) {
    case BINANCE_FORCED_NONE:
        return "";
    case BINANCE_FORCED_LIQUIDATION:
        return "forced: liquidation";
    case BINANCE_FORCED_ADL:
        return "forced: auto-deleveraging";
    case BINANCE_FORCED_SETTLEMENT:
        return "forced: settlement";
    case BINANCE_FORCED_DELIVERY:
        return "forced: delivery";
    }
    return "forced";
}

/* What this home left open before it was upgraded from release 0.1.0 is our own; such an id on a
 * new order means that a Purser of that release still runs. */
static uint64_t stream_owner(const struct binance *b, const struct binance_user_event *event)
{
    uint64_t owner = binance_owner(b, event->order.client_id);
    bool earlier = (owner & BINANCE_EARLIER) != 0 && (owner & BINANCE_OTHER) == 0;
    return earlier && event->execution == BINANCE_EXECUTION_NEW
               ? binance_client_id_other(&b->prefix, event->order.client_id)
               : owner;
}

static void on_order(struct binance *b, const struct binance_user_event *event)
{
    struct execution_report report;
    b->event_due_ns = 0;
    b->order_event_ns = b->venue.received_ns;
    if (event->order.instrument == NULL)
        return;
    uint64_t owner = stream_owner(b, event);
    binance_order_id_put(b, event->order.order_id, owner);
    if (event->forced != BINANCE_FORCED_NONE)
        binance_event(b, EVENT_ERROR, "order_forced", "%s %s by the venue (%s): trading halts",
                      event->order.instrument->symbol, forced_name(event->forced),
                      event->order.client_id);
    int type = execution_type_of(event);
    if (type < 0)
        return;
    binance_report_init(&report, &event->order, 0);
    binance_report_own(b, &report, owner, event->order.client_id);
    report.execution_type = (uint8_t)type;
    report.wall_ns = event->transaction_ms * CLOCK_NS_PER_MS;
    if (event->forced != BINANCE_FORCED_NONE) {
        report.owner = OWNER_VENUE;
        snprintf(report.text, sizeof report.text, "%s", forced_name(event->forced));
    } else if (report.owner == OWNER_US && type == EXEC_EXPIRED && event->expire_reason != 0) {
        snprintf(report.text, sizeof report.text, "expired, reason %d", event->expire_reason);
    }
    if (type == EXEC_TRADE) {
        fill_set(&report, event);
        binance_fill_seen(b, &b->markets[event->order.instrument->index], event->trade_id);
    }
    b->venue.events->on_execution(b->venue.events->context, &b->venue, &report);
}

void binance_user_turn(struct binance *b, int64_t now_ns)
{
    if (b->event_due_ns == 0 || now_ns < b->event_due_ns || !binance_link_is_open(&b->user_link))
        return;
    b->event_due_ns = 0;
    b->counters.stalls++;
    binance_fills_broken(b);
    binance_event(b, EVENT_WARNING, "user_stream_silent",
                  "the venue accepted an order and the stream says nothing: it is opened again");
    binance_link_rotate(&b->user_link, "silent after an accepted order");
}

void binance_user_message(void *context, const char *bytes, size_t length, int64_t received_ns)
{
    struct binance_link *link = context;
    struct binance *b = link->session;
    struct binance_user_event *event = b->user_event;
    b->counters.frames++;
    b->work++;
    b->venue.received_ns = received_ns;
    heap_trap_arm();
    if (binance_wire_user(event, &b->known, bytes, length) != STATUS_OK) {
        /* It may have been a fill: a new connection makes the engine reconcile. */
        b->counters.malformed_frames++;
        binance_fills_broken(b);
        binance_event(b, EVENT_WARNING, "frame_malformed", "user stream: %s", status_text());
        binance_link_rotate(link, "a frame was malformed");
    } else {
        binance_link_data(link, received_ns);
        switch ((enum binance_user_kind)event->kind) {
        case BINANCE_USER_ORDER:
            on_order(b, event);
            break;
        case BINANCE_USER_ACCOUNT:
            binance_account_event(b, event);
            break;
        case BINANCE_USER_LISTEN_KEY_EXPIRED:
            binance_event(b, EVENT_WARNING, "listen_key_expired", "a new one is made");
            binance_link_rotate(link, "the listen key expired");
            binance_listen_key_lost(b);
            break;
        case BINANCE_USER_SHUTDOWN:
            binance_link_rotate(link, "the venue announced a shutdown");
            break;
        case BINANCE_USER_TRADE_LITE: /* no commission, no cumulative: the full event follows */
        case BINANCE_USER_REPLY:
        case BINANCE_USER_OTHER:
            break;
        }
    }
    heap_trap_disarm();
    b->venue.received_ns = 0;
}
