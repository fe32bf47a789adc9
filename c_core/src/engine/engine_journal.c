/* What a restart restores, what each segment begins with, and the records in between. */
#include "engine_private.h"

#include <errno.h>
#include <string.h>

#define E18_PER_MICRO 1000000000000
#define VENUES_KNOWN  RESTORED_VENUES
/* The longest recv_window_ms that a configuration may name, what a connector adds to it
 * (binance_connector_session.h), and room for a slow way there. */
#define LONGEST_WINDOW_NS 10000000000

/* ---- reading back --------------------------------------------------------------------------- */

static struct restored_book *book_of(struct restored *restored, const struct journal_record *record)
{
    for (int n = 0; n < restored->book_count; n++) {
        struct restored_book *book = &restored->books[n];
        if (book->venue == record->venue &&
            memcmp(book->symbol, record->symbol, sizeof book->symbol) == 0)
            return book;
    }
    if (restored->book_count == RESTORED_BOOKS)
        return NULL;
    struct restored_book *book = &restored->books[restored->book_count++];
    memset(book, 0, sizeof *book);
    book->venue = record->venue;
    memcpy(book->symbol, record->symbol, sizeof book->symbol);
    return book;
}

static struct restored_order *order_of(struct restored *restored, uint64_t client_order_id)
{
    for (int n = restored->order_count - 1; n >= 0; n--)
        if (restored->orders[n].intent.client_order_id == client_order_id)
            return &restored->orders[n];
    return NULL;
}

static void read_intent(struct restored *restored, const struct journal_record *record)
{
    struct restored_order *order = order_of(restored, record->client_order_id);
    if (!order && restored->order_count < RESTORED_ORDERS)
        order = &restored->orders[restored->order_count++];
    if (order)
        *order = (struct restored_order){.intent = *record};
}

static void read_fill_for_page(struct engine *engine, const struct journal_record *record)
{
    struct page_fill fill = {
        .wall_ns = record->wall_ns,
        .client_order_id = record->client_order_id,
        .venue = record->venue,
        .side = record->side,
        .strategy = record->strategy,
        .maker = record->maker,
        .reversed = record->execution_type == EXEC_TRADE_REVERSED,
        .price_e9 = record->last_price_e9,
        .quantity_e9 = record->last_quantity_e9,
        .fee_e8 = record->fee_e8,
    };
    memcpy(fill.symbol, record->symbol, sizeof fill.symbol);
    memcpy(fill.execution_id, record->execution_id, sizeof fill.execution_id);
    engine_record_fill(engine, &fill);
}

static void remember_execution(struct engine *engine, const struct journal_record *record)
{
    if (record->venue >= VENUES_KNOWN)
        return;
    struct reconcile scratch = {0};
    char *since = engine->restored.since[record->venue];
    memcpy(scratch.since, since, sizeof scratch.since);
    reconcile_execution(&scratch, record->execution_id);
    memcpy(since, scratch.since, sizeof scratch.since);
    engine->restored.known[record->venue] = true;
    oms_execution_seen(&engine->oms, record->venue, record->symbol, record->execution_id,
                       record->execution_type == EXEC_TRADE_REVERSED);
}

/* A fill of a day that the books have not begun (pnl_ahead). Marks do not tell of it: the sums come
 * from the fills again until the day's own record. */
static void read_ahead(const struct restored *restored, struct restored_book *book,
                       const struct journal_record *record, bool buys, int64_t value)
{
    if (restored->day == 0 || pnl_day_number(record->wall_ns) <= restored->day)
        return;
    bool reversed = record->execution_type == EXEC_TRADE_REVERSED;
    book->ahead_e9 += buys ? record->last_quantity_e9 : -record->last_quantity_e9;
    book->ahead_micros += buys ? value : -value;
    book->ahead_fees_e8 += reversed ? -record->fee_e8 : record->fee_e8;
}

static void read_trade(struct engine *engine, const struct journal_record *record)
{
    remember_execution(engine, record);
    engine_read_wallet(engine, record);
    read_fill_for_page(engine, record);
    struct restored_book *book = book_of(&engine->restored, record);
    if (!book)
        return;
    bool buys = (record->side == SIDE_BUY) != (record->execution_type == EXEC_TRADE_REVERSED);
    int64_t value = muldiv_down(record->last_price_e9, record->last_quantity_e9, E18_PER_MICRO);
    book->position_e9 = record->position_e9;
    book->cost_micros = record->cost_micros;
    book->realized_micros = record->realized_micros;
    book->fees_e8 = record->fees_e8;
    book->cash_flow_micros += buys ? -value : value;
    book->volume_micros += record->execution_type == EXEC_TRADE_REVERSED ? -value : value;
    read_ahead(&engine->restored, book, record, buys, value);
    if (record->strategy < RESTORED_STRATEGIES)
        engine_attribute_fill(book->strategy_e9, record->strategy,
                              buys ? record->last_quantity_e9 : -record->last_quantity_e9,
                              record->position_e9);
}

static void read_report(struct engine *engine, const struct journal_record *record)
{
    bool trade =
        record->execution_type == EXEC_TRADE || record->execution_type == EXEC_TRADE_REVERSED;
    if (trade)
        read_trade(engine, record);
    struct restored_order *order = order_of(&engine->restored, record->client_order_id);
    if (!order)
        return;
    if (order_state_is_terminal(record->order_state))
        *order = engine->restored.orders[--engine->restored.order_count];
    else
        order->intent.cumulative_e9 = record->cumulative_e9;
}

static void read_mark(struct engine *engine, const struct journal_record *record)
{
    struct restored_book *book = book_of(&engine->restored, record);
    if (!book)
        return;
    if (record->strategy) {
        if (record->strategy < RESTORED_STRATEGIES)
            book->strategy_e9[record->strategy] = record->position_e9;
        return;
    }
    book->position_e9 = record->position_e9;
    book->cost_micros = record->cost_micros;
    book->realized_micros = record->realized_micros;
    book->fees_e8 = record->fees_e8;
    book->mark_e9 = record->price_e9;
    book->volume_micros = record->quantity_e9;
    book->cash_flow_micros = record->cumulative_e9;
    if (record->venue < VENUES_KNOWN) {
        engine->restored.known[record->venue] = true;
        if (record->execution_id[0])
            memcpy(engine->restored.since[record->venue], record->execution_id,
                   sizeof record->execution_id);
    }
}

static void read_control(struct engine *engine, const struct journal_record *record)
{
    if (record->execution_type == JOURNAL_CONTROL_DAY) {
        engine->restored.day = record->position_e9;
        engine->restored.late_micros = 0;
        for (int n = 0; n < engine->restored.book_count; n++) {
            struct restored_book *book = &engine->restored.books[n];
            book->ahead_e9 = book->ahead_micros = book->ahead_fees_e8 = 0;
        }
        for (int id = 0; id < RESTORED_VENUES; id++)
            engine_raise_cash_day(&engine->restored.cash[id], record->position_e9);
    }
    if (record->execution_type == JOURNAL_CONTROL_LATE)
        engine->restored.late_micros = record->position_e9;
    if (record->execution_type == JOURNAL_CONTROL_HALT && record->position_e9 == HALT_CASH)
        engine->restored.cash_halt = true;
    if (record->execution_type == JOURNAL_CONTROL_RESUME)
        engine_read_resume(engine);
    if (record->execution_type == JOURNAL_CONTROL_UNTOLD)
        engine_read_untold(engine, record);
    if (record->execution_type == JOURNAL_CONTROL_FILLS)
        engine->content.fills_total = record->position_e9;
    if (record->execution_type == JOURNAL_CONTROL_ADOPTED && record->execution_id[0])
        oms_execution_seen(&engine->oms, record->venue, record->symbol, record->execution_id,
                           false);
    if (record->execution_type == JOURNAL_CONTROL_RECONCILED && record->venue < VENUES_KNOWN)
        engine->restored.known[record->venue] = true;
}

/* In a checkpoint the totals come again; the fills themselves are told once, as reports. */
static void read_record(void *context, const struct journal_record *record)
{
    struct engine *engine = context;
    if (record->generation > engine->restored.generation)
        engine->restored.generation = record->generation;
    switch ((enum journal_kind)record->kind) {
    case JOURNAL_INTENT:
        read_intent(&engine->restored, record);
        break;
    case JOURNAL_REPORT:
        read_report(engine, record);
        break;
    case JOURNAL_MARK:
        read_mark(engine, record);
        break;
    case JOURNAL_CONTROL:
        read_control(engine, record);
        break;
    case JOURNAL_CASH:
        engine_read_cash(engine, record);
        break;
    case JOURNAL_OPEN:
    case JOURNAL_CANCEL:
    case JOURNAL_SEAL:
        break;
    }
}

void engine_roll_unclaimed(struct engine *engine)
{
    for (int n = 0; n < engine->restored.book_count; n++) {
        struct restored_book *book = &engine->restored.books[n];
        if (book->claimed)
            continue;
        book->opening_e9 = book->mark_e9;
        if (book->mark_e9 > 0)
            book->cost_micros = muldiv_down(book->position_e9, book->mark_e9, E18_PER_MICRO);
        int64_t ahead =
            book->mark_e9 > 0 || book->ahead_e9 == 0
                ? muldiv_down(book->ahead_e9, book->mark_e9, E18_PER_MICRO) - book->ahead_micros
                : 0;
        engine->closed_micros -= ahead - pnl_fees_micros(book->ahead_fees_e8);
        book->realized_micros = ahead;
        book->fees_e8 = book->ahead_fees_e8;
        book->volume_micros = 0;
        book->cash_flow_micros = -book->ahead_micros;
        book->ahead_e9 = book->ahead_micros = book->ahead_fees_e8 = 0;
    }
}

/* The day of the books stays what it was: the ledger names the next one (engine_take_day). Only
 * with nothing to go on from is it the wall's. */
static void take_restored_day(struct engine *engine)
{
    engine->day =
        engine->restored.day ? engine->restored.day : pnl_day_number(engine_wall_ns(engine));
    engine->late_micros = engine->restored.late_micros;
    engine_roll_cash(engine, engine->day);
}

int engine_restore(struct engine *engine)
{
    int result =
        journal_replay(engine->config.journal_folder, read_record, engine, &engine->replayed);
    if (result < 0)
        return result;
    take_restored_day(engine);
    if (engine->replayed.head_generation > engine->restored.generation)
        engine->restored.generation = engine->replayed.head_generation;
    engine->content.counters[COUNTER_JOURNAL_DAMAGED] =
        engine->replayed.damaged && !engine->replayed.healed;
    return 0;
}

static int64_t whole(int64_t e9, int64_t unit_e9)
{
    return e9 / unit_e9;
}

/* The ledger's slot knows the deadline that the last run gave the order. Without one it counts from
 * now: how long ago the order was sent only the wall could say, and that may have been set, and the
 * window of this run need not be the one that was signed. */
static int64_t lands_until(const struct engine *engine, const struct engine_market *market,
                           uint64_t client_order_id)
{
    int64_t told =
        engine->ledger ? ledger_lands_until(engine->ledger, client_order_id) : LANDS_UNTIL_UNTOLD;
    int64_t window = market->venue->validity_window_ns;
    /* Of a damaged slot a rescue says that it has no end; at a venue with a window it has one. */
    if (told != LANDS_UNTIL_UNTOLD && (told != LANDS_UNTIL_NONE || window <= 0))
        return told;
    return engine->now_ns + (window > LONGEST_WINDOW_NS ? window : LONGEST_WINDOW_NS);
}

static void claim_order(struct engine *engine, struct engine_market *market,
                        const struct journal_record *intent)
{
    const struct instrument *i = market->instrument;
    int64_t age_ns = engine_wall_ns(engine) - intent->wall_ns;
    struct order order = {
        .client_order_id = intent->client_order_id,
        .instrument = i,
        .side = intent->side,
        .type = intent->type,
        .time_in_force = intent->time_in_force,
        .reduce_only = intent->reduce_only,
        .strategy = intent->strategy < RESTORED_STRATEGIES ? intent->strategy : STRATEGY_NONE,
        .state = ORDER_UNKNOWN,
        .price = {whole(intent->price_e9, i->tick_e9)},
        .quantity = {whole(intent->quantity_e9, i->lot_e9)},
        .filled = {whole(intent->cumulative_e9, i->lot_e9)},
        .created_ns = engine->now_ns,
        .sent_ns = engine->now_ns - (age_ns > 0 ? age_ns : 0),
        .lands_until_ns = lands_until(engine, market, intent->client_order_id),
        .sent_wall_ms = intent->wall_ns / 1000000,
        .next_query_ns = engine->now_ns,
    };
    engine_leave_behind(engine, market, &order);
}

void engine_claim_restored(struct engine *engine, struct engine_market *market)
{
    struct restored *restored = &engine->restored;
    const struct instrument *i = market->instrument;
    struct journal_record key = {.venue = i->venue};
    memcpy(key.symbol, i->symbol, sizeof key.symbol);
    for (int n = 0; n < restored->book_count; n++) {
        struct restored_book *book = &restored->books[n];
        if (book->claimed || book->venue != i->venue ||
            memcmp(book->symbol, i->symbol, sizeof key.symbol))
            continue;
        book->claimed = true;
        market->pnl.position_lots = whole(book->position_e9, i->lot_e9);
        market->pnl.cost_micros = book->cost_micros;
        market->pnl.realized_micros = book->realized_micros;
        market->pnl.fees_e8 = book->fees_e8;
        market->pnl.volume_micros = book->volume_micros;
        market->pnl.cash_flow_micros = book->cash_flow_micros;
        market->pnl.ahead_lots = whole(book->ahead_e9, i->lot_e9);
        market->pnl.ahead_micros = book->ahead_micros;
        market->pnl.ahead_fees_e8 = book->ahead_fees_e8;
        market->pnl.mark.ticks = whole(book->mark_e9, i->tick_e9);
        market->pnl.opening.ticks = whole(book->opening_e9, i->tick_e9);
        for (int s = 0; s < RESTORED_STRATEGIES; s++)
            market->strategy_lots[s] = whole(book->strategy_e9[s], i->lot_e9);
    }
    for (int n = 0; n < restored->order_count && !market->delegated; n++) {
        struct restored_order *order = &restored->orders[n];
        if (order->claimed || order->intent.venue != i->venue ||
            memcmp(order->intent.symbol, i->symbol, sizeof key.symbol))
            continue;
        order->claimed = true;
        claim_order(engine, market, &order->intent);
    }
}

/* The first instrument of which the journal tells a position, or an order of a venue of this run
 * that we reserve for, and which is not configured; NULL when all is claimed. */
const char *engine_unclaimed_symbol(const struct engine *engine)
{
    for (int n = 0; n < engine->restored.book_count; n++) {
        const struct restored_book *book = &engine->restored.books[n];
        if (!book->claimed && book->position_e9 != 0)
            return book->symbol;
    }
    for (int n = 0; n < engine->restored.order_count; n++) {
        const struct restored_order *order = &engine->restored.orders[n];
        for (int v = 0; v < engine->venue_count && !order->claimed; v++)
            if (engine->venues[v].venue->id == order->intent.venue && !engine->venues[v].delegated)
                return order->intent.symbol;
    }
    return NULL;
}

int64_t engine_unclaimed_day_micros(const struct engine *engine)
{
    int64_t sum = 0;
    for (int n = 0; n < engine->restored.book_count; n++) {
        const struct restored_book *book = &engine->restored.books[n];
        if (!book->claimed)
            sum += book->realized_micros - pnl_fees_micros(book->fees_e8);
    }
    return sum;
}

/* ---- writing -------------------------------------------------------------------------------- */

void engine_journal_append(struct engine *engine, struct journal_record *record)
{
    if (!engine->journal)
        return;
    record->wall_ns = engine_wall_ns(engine);
    record->generation = engine->generation;
    int result = journal_append(engine->journal, record, true);
    engine->content.counters[COUNTER_JOURNAL_RECORDS]++;
    engine->content.counters[COUNTER_JOURNAL_FULL] += result < 0;
    engine->content.counters[COUNTER_BACKLOG_DROPPED] += result == -ENOBUFS;
}

static void describe_books(struct journal_record *record, const struct engine_market *market)
{
    const struct pnl *pnl = &market->pnl;
    record->venue = market->instrument->venue;
    memcpy(record->symbol, market->instrument->symbol, sizeof record->symbol);
    record->position_e9 = pnl->position_lots * market->instrument->lot_e9;
    record->cost_micros = pnl->cost_micros;
    record->realized_micros = pnl->realized_micros;
    record->fees_e8 = pnl->fees_e8;
}

static void describe_order(struct journal_record *record, const struct order *order)
{
    record->client_order_id = order->client_order_id;
    record->side = order->side;
    record->type = order->type;
    record->time_in_force = order->time_in_force;
    record->reduce_only = order->reduce_only;
    record->strategy = order->strategy;
    record->order_state = order->state;
    record->price_e9 = instrument_price_e9(order->instrument, order->price);
    record->quantity_e9 = instrument_quantity_e9(order->instrument, order->quantity);
    record->cumulative_e9 = instrument_quantity_e9(order->instrument, order->filled);
}

void engine_journal_order(struct engine *engine, const struct oms_entry *entry, int kind)
{
    struct journal_record record = {.kind = (uint16_t)kind};
    describe_books(&record, ENGINE_MARKET(engine, entry->market));
    describe_order(&record, &entry->order);
    engine_journal_append(engine, &record);
}

void engine_journal_report(struct engine *engine, const struct engine_market *market,
                           const struct order *order, const struct execution_report *report)
{
    struct journal_record record = {.kind = JOURNAL_REPORT};
    describe_books(&record, market);
    describe_order(&record, order);
    record.execution_type = report->execution_type;
    record.side = report->side;
    record.maker = report->maker;
    record.reject_reason = report->reject_reason;
    record.last_price_e9 = instrument_price_e9(market->instrument, report->last_price);
    record.last_quantity_e9 = instrument_quantity_e9(market->instrument, report->last_quantity);
    record.fee_e8 = report->fee_e8;
    record.wallet_e8 = engine->venues[market->venue_index].cash.books_e8;
    memcpy(record.execution_id, report->execution_id, sizeof record.execution_id);
    engine_journal_append(engine, &record);
}

void engine_journal_control(struct engine *engine, int control, const struct engine_market *market,
                            uint16_t venue, int64_t value)
{
    struct journal_record record = {.kind = JOURNAL_CONTROL, .venue = venue};
    if (market)
        describe_books(&record, market);
    record.execution_type = (uint8_t)control;
    record.position_e9 = value;
    engine_journal_append(engine, &record);
}

void engine_journal_adopted(struct engine *engine, const struct engine_market *market,
                            const struct execution_report *report)
{
    struct journal_record record = {.kind = JOURNAL_CONTROL,
                                    .execution_type = JOURNAL_CONTROL_ADOPTED};
    describe_books(&record, market);
    memcpy(record.execution_id, report->execution_id, sizeof record.execution_id);
    engine_journal_append(engine, &record);
}

static void mark_market(struct engine *engine, const struct engine_market *market)
{
    struct journal_record record = {.kind = JOURNAL_MARK};
    describe_books(&record, market);
    record.price_e9 = instrument_price_e9(market->instrument, market->pnl.mark);
    record.quantity_e9 = market->pnl.volume_micros;
    record.cumulative_e9 = market->pnl.cash_flow_micros;
    memcpy(record.execution_id, engine->venues[market->venue_index].reconcile.since,
           sizeof record.execution_id);
    engine_journal_append(engine, &record);
    for (uint8_t s = 1; s < RESTORED_STRATEGIES; s++) {
        struct journal_record part = {.kind = JOURNAL_MARK, .strategy = s};
        describe_books(&part, market);
        part.position_e9 = market->strategy_lots[s] * market->instrument->lot_e9;
        if (part.position_e9)
            engine_journal_append(engine, &part);
    }
}

/* Books the journal told of whose instrument has not been seen in this run. */
static void mark_unclaimed(struct engine *engine, const struct restored_book *book)
{
    struct journal_record record = {
        .kind = JOURNAL_MARK,
        .venue = book->venue,
        .position_e9 = book->position_e9,
        .cost_micros = book->cost_micros,
        .realized_micros = book->realized_micros,
        .fees_e8 = book->fees_e8,
        .price_e9 = book->mark_e9,
        .quantity_e9 = book->volume_micros,
        .cumulative_e9 = book->cash_flow_micros,
    };
    memcpy(record.symbol, book->symbol, sizeof record.symbol);
    if (book->venue < VENUES_KNOWN)
        memcpy(record.execution_id, engine->restored.since[book->venue],
               sizeof record.execution_id);
    engine_journal_append(engine, &record);
    for (uint8_t s = 1; s < RESTORED_STRATEGIES; s++) {
        struct journal_record part = {.kind = JOURNAL_MARK, .venue = book->venue, .strategy = s};
        memcpy(part.symbol, book->symbol, sizeof part.symbol);
        part.position_e9 = book->strategy_e9[s];
        if (part.position_e9)
            engine_journal_append(engine, &part);
    }
}

/* Before the first reconcile of an empty journal there are no books to write down. */
void engine_journal_marks(struct engine *engine)
{
    for (int n = 0; n < engine->restored.book_count; n++)
        if (!engine->restored.books[n].claimed)
            mark_unclaimed(engine, &engine->restored.books[n]);
    for (int n = 0; n < engine->market_count; n++) {
        const struct engine_market *market = ENGINE_MARKET(engine, n);
        if (!market->delegated && !engine->venues[market->venue_index].reconcile.adopt)
            mark_market(engine, market);
    }
    engine_journal_cash(engine);
}

void engine_checkpoint(void *context)
{
    struct engine *engine = context;
    engine_journal_control(engine, JOURNAL_CONTROL_FILLS, NULL, VENUE_NONE,
                           engine->content.fills_total);
    engine_journal_marks(engine);
    /* The day after its books: a reader that stops between settles them again, to the same end. */
    engine_journal_control(engine, JOURNAL_CONTROL_DAY, NULL, VENUE_NONE, engine->day);
    if (engine->late_micros)
        engine_journal_control(engine, JOURNAL_CONTROL_LATE, NULL, VENUE_NONE, engine->late_micros);
    for (int n = 0; n < engine->restored.order_count; n++) {
        struct journal_record again = engine->restored.orders[n].intent;
        if (!engine->restored.orders[n].claimed)
            journal_append(engine->journal, &again, true);
    }
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;)
        if (!entry->adopted) /* found at the venue, an adopted order is found there again */
            engine_journal_order(engine, entry, JOURNAL_INTENT);
}
