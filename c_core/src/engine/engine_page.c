/* The status page, and the messages for the telemetry thread and the bot. */
#include "engine_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/clock.h"

#define TOP_INTERVAL_NS 50000000

int64_t engine_wall_ns(const struct engine *engine)
{
    return engine->config.wall_ns ? engine->config.wall_ns() : clock_wall_ns();
}

/* ---- telemetry --------------------------------------------------------------------------------
 */

void engine_tell(struct engine *engine, uint16_t kind, const void *body, uint32_t size)
{
    struct engine_message message;
    CHECK(size <= sizeof message.body);
    message.header = (struct message_header){
        .length = (uint32_t)sizeof message.header + size,
        .kind = kind,
        .version = PROTOCOL_VERSION,
        .sent_ns = engine->now_ns,
    };
    memcpy(message.body, body, size);
    if (!ring_push(&engine->telemetry, &message))
        engine->content.counters[COUNTER_TELEMETRY_LOST]++;
}

bool engine_telemetry_pop(struct engine *engine, struct engine_message *out)
{
    return ring_pop(&engine->telemetry, out);
}

void engine_tell_bridge(struct engine *engine, uint16_t kind, const void *body, uint32_t size)
{
    if (engine->bridge.send)
        engine->bridge.send(engine->bridge.context, kind, body, size);
}

void engine_say(struct engine *engine, int level, uint16_t venue, uint16_t reason,
                uint64_t client_order_id, const char *name, const char *format, ...)
{
    struct message_event event = {
        .level = (uint32_t)level,
        .venue = venue,
        .reason = reason,
        .client_order_id = client_order_id,
    };
    snprintf(event.name, sizeof event.name, "%s", name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(event.text, sizeof event.text, format, arguments);
    va_end(arguments);
    engine_tell(engine, MESSAGE_EVENT, &event, sizeof event);
}

void engine_tell_report(struct engine *engine, const struct order *order,
                        const struct execution_report *report)
{
    const struct instrument *i = order->instrument;
    struct message_execution_report message = {
        .client_order_id = report->client_order_id,
        .venue = i->venue,
        .execution_type = report->execution_type,
        .order_state = order->state,
        .side = order->side,
        .maker = report->maker,
        .strategy = order->strategy,
        .provisional = report->provisional,
        .reject_reason = report->reject_reason,
        .price_e9 = instrument_price_e9(i, order->price),
        .quantity_e9 = instrument_quantity_e9(i, order->quantity),
        .cumulative_e9 = instrument_quantity_e9(i, order->filled),
        .last_price_e9 = instrument_price_e9(i, report->last_price),
        .last_quantity_e9 = instrument_quantity_e9(i, report->last_quantity),
        .fee_e8 = report->fee_e8,
        .wall_ns = report->wall_ns,
    };
    memcpy(message.symbol, i->symbol, sizeof message.symbol);
    memcpy(message.execution_id, report->execution_id, sizeof message.execution_id);
    memcpy(message.text, report->text, sizeof message.text);
    engine_tell(engine, MESSAGE_EXECUTION_REPORT, &message, sizeof message);
    if (order->strategy == STRATEGY_HEDGER)
        engine_tell_bridge(engine, MESSAGE_EXECUTION_REPORT, &message, sizeof message);
}

void engine_tell_position(struct engine *engine, const struct engine_market *market)
{
    const struct instrument *i = market->instrument;
    struct message_position message = {
        .venue = i->venue,
        .quantity_e9 = market->pnl.position_lots * i->lot_e9,
        .cost_micros = market->pnl.cost_micros,
        .mark_e9 = instrument_price_e9(i, market->pnl.mark),
        .realized_micros = market->pnl.realized_micros,
        .fees_e8 = market->pnl.fees_e8,
    };
    memcpy(message.symbol, i->symbol, sizeof message.symbol);
    engine_tell(engine, MESSAGE_POSITION, &message, sizeof message);
}

void engine_tell_hedge_position(struct engine *engine, const struct engine_market *market)
{
    const struct instrument *i = market->instrument;
    struct message_position message = {
        .venue = i->venue,
        .quantity_e9 = market->strategy_lots[STRATEGY_HEDGER] * i->lot_e9,
        .mark_e9 = instrument_price_e9(i, market->pnl.mark),
    };
    memcpy(message.symbol, i->symbol, sizeof message.symbol);
    engine_tell_bridge(engine, MESSAGE_POSITION, &message, sizeof message);
}

void engine_signal_sent(struct engine *engine, const struct message_signal *signal)
{
    engine->content.counters[COUNTER_SIGNALS]++;
    engine_tell(engine, MESSAGE_SIGNAL, signal, sizeof *signal);
    engine_tell_bridge(engine, MESSAGE_SIGNAL, signal, sizeof *signal);
}

void engine_hedge_sent(struct engine *engine)
{
    engine->content.counters[COUNTER_HEDGE_ORDERS]++;
}

int64_t engine_wall_of(const struct engine *engine, const struct engine_market *market)
{
    return engine_wall_ns(engine) + market->venue->clock_offset_ns;
}

/* At most twenty a second per market: people and recorders read this, not strategies. */
void engine_tell_top(struct engine *engine, const struct engine_market *market)
{
    if (engine->now_ns < engine->next_top_ns[market->index])
        return;
    engine->next_top_ns[market->index] = engine->now_ns + TOP_INTERVAL_NS;
    const struct instrument *i = market->instrument;
    struct message_top_of_book message = {
        .venue = i->venue,
        .state = (uint16_t)(market->top.synced ? SESSION_READY : SESSION_SYNCING),
        .bid_e9 = instrument_price_e9(i, market->top.bid),
        .bid_quantity_e9 = instrument_quantity_e9(i, market->top.bid_quantity),
        .ask_e9 = instrument_price_e9(i, market->top.ask),
        .ask_quantity_e9 = instrument_quantity_e9(i, market->top.ask_quantity),
        .received_ns = market->top.received_ns,
    };
    memcpy(message.symbol, i->symbol, sizeof message.symbol);
    engine_tell(engine, MESSAGE_TOP_OF_BOOK, &message, sizeof message);
}

void engine_tell_risk_state(struct engine *engine)
{
    const struct ledger_view *view = &engine->view;
    struct message_risk_state message = {.state = view->state, .epoch = view->epoch};
    for (int d = 0; d < 2; d++) {
        message.used_micros[d] = view->participants[ROLE_ENGINE].used_micros[d];
        message.alloc_micros[d] = view->participants[ROLE_ENGINE].alloc_micros[d];
        message.limit_micros[d] = view->limit_micros[d];
    }
    engine_tell(engine, MESSAGE_RISK_STATE, &message, sizeof message);
}

/* ---- the page -------------------------------------------------------------------------------- */

void engine_record_fill(struct engine *engine, const struct page_fill *fill)
{
    struct participant_page *page = &engine->content;
    struct page_fill *place = &page->fills[page->fills_total % PAGE_FILLS];
    *place = *fill;
    place->sequence = ++page->fills_total;
}

static void fill_positions(struct engine *engine)
{
    struct participant_page *page = &engine->content;
    int64_t realized = 0, unrealized = 0, fees_micros = 0;
    uint32_t count = 0;
    for (int n = 0; n < engine->market_count && count < PAGE_POSITIONS; n++) {
        const struct engine_market *market = ENGINE_MARKET(engine, n);
        const struct instrument *i = market->instrument;
        if (market->delegated)
            continue;
        struct page_position *out = &page->positions[count++];
        *out = (struct page_position){
            .venue = i->venue,
            .quantity_e9 = market->pnl.position_lots * i->lot_e9,
            .cost_micros = market->pnl.cost_micros,
            .mark_e9 = instrument_price_e9(i, market->pnl.mark),
            .realized_micros = market->pnl.realized_micros,
            .unrealized_micros = pnl_unrealized(&market->pnl),
            .fees_e8 = market->pnl.fees_e8,
            .volume_micros = market->pnl.volume_micros,
            .cash_flow_micros = market->pnl.cash_flow_micros,
        };
        memcpy(out->symbol, i->symbol, sizeof out->symbol);
        realized += out->realized_micros;
        unrealized += out->unrealized_micros;
        fees_micros += pnl_fees_micros(out->fees_e8);
    }
    page->positions_count = count;
    page->realized_micros = realized;
    page->unrealized_micros = unrealized;
    page->fees_micros = fees_micros;
    page->cash_micros = engine->cash_micros;
    page->transfers_micros = engine->transfers_micros;
    page->day = engine->day;
    page->day_micros = realized + unrealized - fees_micros + page->cash_micros;
}

static uint32_t open_orders_at(struct engine *engine, const struct venue *venue)
{
    uint32_t count = 0;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;)
        count += entry->venue == venue;
    return count;
}

static void fill_venues(struct engine *engine)
{
    struct participant_page *page = &engine->content;
    for (int n = 0; n < engine->venue_count && n < PAGE_VENUES; n++) {
        const struct engine_venue *ev = &engine->venues[n];
        struct page_venue *out = &page->venues[n];
        bool settled = ev->delegated || ev->reconciled;
        int state = ev->session == SESSION_READY && !settled ? SESSION_SYNCING : ev->session;
        *out = (struct page_venue){
            .venue = ev->venue->id,
            .state = (uint16_t)state,
            .open_orders = open_orders_at(engine, ev->venue),
            .feed_ns = ev->venue->feed_ns,
            .dead_man_armed_ns = ev->venue->dead_man_armed_ns,
            .dead_man_expires_ns = ev->venue->dead_man_expires_ns,
            .fills = ev->fills,
            .resyncs = ev->venue->resyncs,
            .disconnects = ev->venue->disconnects,
            .clock_offset_ns = ev->venue->clock_offset_ns,
            .wallet_e8 = ev->wallet_e8,
            .books_e8 = ev->cash.known ? cash_expected_e8(&ev->cash) : 0,
            .wallet_ns = ev->cash.known ? ev->wallet_ns : 0,
        };
        const char *text =
            state == ev->session ? ev->venue->text : "reconciling orders, fills and positions";
        if (ev->cash_doubt_ns != 0)
            text = "its cash differs from our books: no new risk";
        memcpy(out->text, text, strnlen(text, sizeof out->text - 1));
    }
    page->venues_count = (uint32_t)engine->venue_count;
}

void engine_publish(struct engine *engine, int64_t now_ns)
{
    struct participant_page *page = &engine->content;
    page->role = ROLE_ENGINE;
    page->mode = engine->config.mode;
    page->updated_ns = now_ns;
    fill_positions(engine);
    fill_venues(engine);
    page->signals_count = (uint32_t)signal_fill_page(&engine->signal, page->signals);
    if (engine->page)
        page_publish(engine->page, page);
    engine->next_page_ns = now_ns + ENGINE_PAGE_INTERVAL_NS;
    if (engine->ledger)
        engine_tell_risk_state(engine);
}

const struct participant_page *engine_page(const struct engine *engine)
{
    return &engine->content;
}

void engine_set_counter(struct engine *engine, enum engine_counter counter, int64_t value)
{
    engine->content.counters[counter] = value;
}
