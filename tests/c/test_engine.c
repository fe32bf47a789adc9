/* The engine against a venue that this program plays, with a real ledger file and a real journal:
 * what is sent, what is charged, what is booked, and what a restart finds. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../c_core/src/book/order_book.h"
#include "../../c_core/src/engine/engine.h"
#include "../../c_core/src/oms/journal.h"

#define MS     1000000LL
#define SECOND 1000000000LL
#define USD    1000000LL
#define SENT   4096
#define BTC    60000

/* ---- the venue ------------------------------------------------------------------------------ */

enum answer { ANSWER_ACK, ANSWER_REJECT, ANSWER_SILENCE, ANSWER_BUSY };

struct fake {
    struct venue venue;
    struct instrument instrument;
    struct arena arena;
    struct order_book book;
    struct order sent[SENT]; /* every order handed over */
    int sent_count;
    bool open[SENT];
    int64_t filled[SENT];
    uint64_t canceled_ids[SENT];
    int cancels, queries, reconciles, next_execution;
    int orders_answered, cancels_answered, reconciles_answered;
    enum answer answer;
    bool answer_cancels, answer_reconciles;
    bool may_renew;
    bool unsent; /* the socket is full */
    /* told at the next reconcile */
    struct execution_report missed[8];
    int missed_count;
    struct execution_report left[8];
    int left_count;
    int64_t position_lots;
    int64_t entry_ticks;
    int64_t opening_e9; /* the mark at history_from_ms */
    char since[48];
    bool tells_cash; /* wallet and rows are part of a reconcile */
    int64_t wallet_e8;
    struct cash_report rows[16];
    int rows_count;
};

static struct fake fake;
static int64_t now;
static int64_t wall = 1800000000 * SECOND;

static int64_t test_wall(void)
{
    return wall;
}

static int64_t stalled_ns; /* how long the turn in progress has stood still */

static int64_t test_clock(void)
{
    return now + 700 + stalled_ns;
}

static struct execution_report report_on(const struct order *order, int type)
{
    return (struct execution_report){
        .client_order_id = order->client_order_id,
        .venue_order_id = order->client_order_id & 0xFFFFFF,
        .instrument = &fake.instrument,
        .execution_type = (uint8_t)type,
        .side = order->side,
        .price = order->price,
        .quantity = order->quantity,
    };
}

static void tell(const struct execution_report *report)
{
    fake.venue.events->on_execution(fake.venue.events->context, &fake.venue, report);
}

static int fake_start(struct venue *venue, struct loop *loop, int64_t now_ns)
{
    (void)venue;
    (void)loop;
    (void)now_ns;
    return STATUS_OK;
}

static int fake_do_work(struct venue *venue, int64_t now_ns)
{
    (void)venue;
    (void)now_ns;
    return 0;
}

static int fake_submit(struct venue *venue, const struct order *order, int64_t now_ns)
{
    (void)venue;
    (void)now_ns;
    if (fake.answer == ANSWER_BUSY)
        return STATUS_AGAIN;
    CHECK(fake.sent_count < SENT);
    fake.open[fake.sent_count] = fake.answer != ANSWER_REJECT;
    fake.sent[fake.sent_count++] = *order;
    return STATUS_OK;
}

static bool fake_unsent(const struct venue *venue)
{
    (void)venue;
    return fake.unsent;
}

static int fake_cancel(struct venue *venue, const struct order *order, int64_t now_ns)
{
    (void)venue;
    (void)now_ns;
    fake.canceled_ids[fake.cancels++ % SENT] = order->client_order_id;
    return STATUS_OK;
}

static int fake_cancel_all(struct venue *venue, int64_t now_ns)
{
    (void)venue;
    (void)now_ns;
    return STATUS_OK;
}

static int fake_query(struct venue *venue, const struct order *order, int64_t now_ns)
{
    (void)venue;
    (void)order;
    (void)now_ns;
    fake.queries++;
    return STATUS_OK;
}

static int fake_reconcile(struct venue *venue, const char *since, int64_t now_ns)
{
    (void)venue;
    (void)now_ns;
    fake.reconciles++;
    snprintf(fake.since, sizeof fake.since, "%s", since);
    return STATUS_OK;
}

static void fake_set_dead_man(struct venue *venue, bool may_renew)
{
    (void)venue;
    fake.may_renew = may_renew;
}

static void fake_stop(struct venue *venue)
{
    (void)venue;
}

static struct order_book *fake_book(struct venue *venue, uint16_t instrument_index)
{
    (void)venue;
    return instrument_index == 0 ? &fake.book : NULL;
}

static void fake_init(void)
{
    static const struct venue_operations operations = {
        .start = fake_start,
        .do_work = fake_do_work,
        .submit = fake_submit,
        .unsent = fake_unsent,
        .cancel = fake_cancel,
        .cancel_all = fake_cancel_all,
        .query = fake_query,
        .reconcile = fake_reconcile,
        .set_dead_man = fake_set_dead_man,
        .stop = fake_stop,
    };
    static bool made;
    if (!made) {
        CHECK(arena_init(&fake.arena, 16 << 20) == STATUS_OK);
        order_book_init(&fake.book, &fake.arena);
    }
    made = true;
    struct arena arena = fake.arena;
    struct order_book book = fake.book;
    memset(&fake, 0, sizeof fake);
    fake.arena = arena;
    fake.book = book;
    order_book_clear(&fake.book);
    fake.answer_cancels = fake.answer_reconciles = fake.may_renew = true;
    fake.next_execution = 1000;
    fake.instrument = (struct instrument){
        .venue = VENUE_BINANCE,
        .symbol = "BTCUSDT",
        .tick_e9 = 100000000,
        .lot_e9 = 1000000,
        .min_quantity = {1},
        .min_notional = {100 * USD},
        .maker_fee_ppm = 200,
        .taker_fee_ppm = 500,
        .shock_ppm = 100000,
        .trading = true,
    };
    fake.venue = (struct venue){
        .id = VENUE_BINANCE,
        .name = "binance",
        .operations = &operations,
        .validity_window_ns = 2 * SECOND,
        .book = fake_book,
    };
}

static int index_of(uint64_t id)
{
    for (int n = fake.sent_count - 1; n >= 0; n--)
        if (fake.sent[n].client_order_id == id)
            return n;
    return -1;
}

/* The venue fills part of an order and says so. */
static struct execution_report fill(int n, int64_t lots, bool maker)
{
    struct execution_report report = report_on(&fake.sent[n], EXEC_TRADE);
    fake.filled[n] += lots;
    report.cumulative.lots = fake.filled[n];
    report.last_price = fake.sent[n].price;
    report.last_quantity.lots = lots;
    report.maker = maker;
    report.fee_e8 = lots * 1200000;
    snprintf(report.execution_id, sizeof report.execution_id, "%d", fake.next_execution++);
    fake.position_lots += fake.sent[n].side == SIDE_BUY ? lots : -lots;
    if (fake.filled[n] == fake.sent[n].quantity.lots)
        fake.open[n] = false;
    return report;
}

/* ---- the world ------------------------------------------------------------------------------ */

static char folder[64], ledger_path[96], journal_folder[96];
static struct ledger *supervisor, *ledger;
static struct engine *engine;
static struct engine_config config;

static void dead_man_ack(void)
{
    fake.venue.events->on_dead_man(fake.venue.events->context, &fake.venue, now, now + 12 * SECOND);
}

static void tick(int64_t bid_ticks)
{
    order_book_clear(&fake.book);
    order_book_set(&fake.book, BOOK_BID, (struct price){bid_ticks}, (struct quantity){5});
    order_book_set(&fake.book, BOOK_ASK, (struct price){bid_ticks + 1}, (struct quantity){7});
    fake.venue.feed_ns = now;
    fake.venue.events->on_book(fake.venue.events->context, &fake.venue, 0, now);
}

static void answer_orders(void)
{
    for (; fake.orders_answered < fake.sent_count; fake.orders_answered++) {
        int answered = fake.orders_answered;
        struct execution_report report = report_on(
            &fake.sent[answered], fake.answer == ANSWER_REJECT ? EXEC_REJECTED : EXEC_NEW);
        report.reject_reason = fake.answer == ANSWER_REJECT ? REJECT_INSUFFICIENT_BALANCE : 0;
        report.cumulative.lots = fake.filled[answered];
        if (fake.answer != ANSWER_SILENCE && fake.filled[answered] == 0)
            tell(&report);
    }
}

static void answer_cancels(void)
{
    for (; fake.cancels_answered < fake.cancels; fake.cancels_answered++) {
        int n = index_of(fake.canceled_ids[fake.cancels_answered % SENT]);
        if (n < 0 || !fake.open[n] || !fake.answer_cancels)
            continue;
        fake.open[n] = false;
        struct execution_report report = report_on(&fake.sent[n], EXEC_CANCELED);
        report.cumulative.lots = fake.filled[n];
        tell(&report);
    }
}

static void answer_reconcile(void)
{
    if (fake.reconciles_answered == fake.reconciles || !fake.answer_reconciles)
        return;
    fake.reconciles_answered = fake.reconciles;
    const struct venue_events *events = fake.venue.events;
    for (int n = 0; n < fake.left_count; n++)
        events->on_open_order(events->context, &fake.venue, &fake.left[n]);
    for (int n = 0; n < fake.sent_count; n++)
        if (fake.open[n]) {
            struct execution_report report = report_on(&fake.sent[n], EXEC_STATUS);
            report.order_state = ORDER_WORKING;
            report.cumulative.lots = fake.filled[n];
            events->on_open_order(events->context, &fake.venue, &report);
        }
    if (fake.venue.history_from_ms)
        events->on_opening(events->context, &fake.venue, &fake.instrument, fake.opening_e9);
    if (fake.tells_cash) {
        events->on_wallet(events->context, &fake.venue, fake.wallet_e8, wall);
        for (int n = 0; n < fake.rows_count; n++)
            if (fake.rows[n].wall_ns >= fake.venue.cash_since_ns)
                events->on_cash(events->context, &fake.venue, &fake.rows[n]);
        events->on_cash_read(events->context, &fake.venue, wall);
    }
    for (int n = 0; n < fake.missed_count; n++)
        tell(&fake.missed[n]);
    if (fake.position_lots)
        events->on_position(events->context, &fake.venue, &fake.instrument,
                            (struct quantity){fake.position_lots},
                            (struct price){fake.entry_ticks});
    events->on_reconciled(events->context, &fake.venue);
}

static void check_ledger(void)
{
    char text[256];
    struct ledger_view view;
    CHECK(ledger_audit(supervisor, text, sizeof text) == 0);
    ledger_snapshot(supervisor, &view, now);
    for (int d = 0; d < 2; d++)
        CHECK(view.participants[ROLE_ENGINE].used_micros[d] <=
              view.participants[ROLE_ENGINE].alloc_micros[d]);
}

static void turn(int64_t step_ns)
{
    now += step_ns;
    wall += step_ns;
    engine_do_work(engine, now);
}

/* Steps of 10 ms in which the venue answers and the supervisor renews the lease. */
static void run(int steps)
{
    for (int n = 0; n < steps; n++) {
        ledger_heartbeat_supervisor(supervisor, now, now + 2 * SECOND);
        if (fake.may_renew)
            dead_man_ack();
        turn(10 * MS);
        answer_orders();
        answer_cancels();
        answer_reconcile();
        check_ledger();
    }
}

static void start_engine(void)
{
    engine = engine_new(&config);
    CHECK(engine != NULL);
    CHECK(ledger_open(&ledger, ledger_path) == 0);
    CHECK(ledger_join(ledger, ROLE_ENGINE, now) == 0);
    engine_attach_ledger(engine, ledger);
    CHECK(engine_add_venue(engine, &fake.venue, false));
}

static void connect_venue(void)
{
    const struct venue_events *events = fake.venue.events;
    events->on_instrument(events->context, &fake.venue, &fake.instrument);
    fake.venue.session_state = SESSION_SYNCING;
    events->on_session(events->context, &fake.venue, SESSION_SYNCING, "user stream open");
    dead_man_ack();
    tick(BTC * 10);
    fake.venue.session_state = SESSION_READY;
    events->on_session(events->context, &fake.venue, SESSION_READY, "ready");
}

static void disconnect_venue(void)
{
    fake.venue.session_state = SESSION_CONNECTING;
    fake.venue.events->on_session(fake.venue.events->context, &fake.venue, SESSION_CONNECTING,
                                  "socket closed");
}

static void remove_files(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
    }
    closedir(directory);
}

/* The folder's files and what remembers them in the home folder. */
static void lose_journal(void)
{
    char head[128];
    remove_files(journal_folder);
    snprintf(head, sizeof head, "%s.head", journal_folder);
    unlink(head);
}

static void begin_with_limit(int64_t limit_usd)
{
    const int64_t limit[2] = {limit_usd * USD, 20 * limit_usd * USD};
    const int64_t headroom[2] = {limit_usd * USD / 50, 20 * limit_usd * USD / 50};
    int adopted;
    lose_journal();
    unlink(ledger_path);
    fake_init();
    now = ledger_now_ns();
    CHECK(ledger_create(&supervisor, &adopted, ledger_path, limit, headroom, now) == 0);
    ledger_heartbeat_supervisor(supervisor, now, now + 2 * SECOND);
    config = (struct engine_config){
        .mode = 1,
        .journal_folder = journal_folder,
        .risk = {.max_order_quantity_e9 = 50000000,
                 .max_order_notional_micros = 5000 * USD,
                 .max_position_e9 = 50000000,
                 .price_collar_ppm = 10000,
                 .stale_ns = 3 * SECOND,
                 .daily_loss_micros = 500 * USD,
                 .max_open_orders = 20,
                 .orders_per_10s = 2000},
        .quoter = {.enabled = true,
                   .quantity_e9 = 2000000,
                   .max_position_e9 = 10000000,
                   .spread_ticks = 2,
                   .requote_ticks = 3,
                   .levels = 1},
        .signal = {.enabled = true,
                   .interval_ns = 50 * MS,
                   .half_life_ns = 30 * SECOND,
                   .volatility_floor_e9 = 200000000},
        .hedger = {.enabled = true,
                   .max_position_e9 = 50000000,
                   .min_order_e9 = 2000000,
                   .collar_ppm = 500,
                   .interval_ns = 250 * MS},
        .clock_ns = test_clock,
        .wall_ns = test_wall,
    };
}

static void begin_engine(void)
{
    start_engine();
    connect_venue();
    run(2);
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) >= 0);
    run(3);
}

static void begin(void)
{
    begin_with_limit(1000);
    begin_engine();
}

static void end(void)
{
    engine_free(engine);
    ledger_leave(ledger);
    ledger_close(ledger);
    ledger_close(supervisor);
}

static int open_of(int strategy, int side)
{
    struct order orders[64];
    int count = engine_open_orders(engine, orders, 64), found = 0;
    for (int n = 0; n < count; n++)
        found += orders[n].strategy == strategy && (side < 0 || orders[n].side == side);
    return found;
}

static int last_sent(int side)
{
    for (int n = fake.sent_count - 1; n >= 0; n--)
        if (fake.sent[n].side == side && fake.open[n])
            return n;
    CHECK(!"an open order of that side");
    return -1;
}

static int manual(int side, int64_t ticks, int64_t lots, uint64_t *id)
{
    struct message_new_order order = {
        .venue = VENUE_BINANCE,
        .side = (uint8_t)side,
        .type = ORDER_LIMIT,
        .time_in_force = TIF_GTC,
        .symbol = "BTCUSDT",
        .price_e9 = ticks * 100000000,
        .quantity_e9 = lots * 1000000,
    };
    return engine_submit(engine, &order, id);
}

static int64_t counter(enum engine_counter counter)
{
    return engine_page(engine)->counters[counter];
}

static const struct pnl *books(void)
{
    return &engine_market_at(engine, 0)->pnl;
}

/* ---- behaviour ------------------------------------------------------------------------------- */

/* Quotes stand on both sides, post-only, and each is reserved in the ledger before it is sent. */
static void quotes_both_sides(void)
{
    begin();
    CHECK(open_of(STRATEGY_QUOTER, SIDE_BUY) == 1 && open_of(STRATEGY_QUOTER, SIDE_SELL) == 1);
    const struct order *buy = &fake.sent[last_sent(SIDE_BUY)];
    CHECK(buy->time_in_force == TIF_POST_ONLY && buy->price.ticks == BTC * 10);
    CHECK(fake.sent[last_sent(SIDE_SELL)].price.ticks == BTC * 10 + 1);
    struct ledger_slot slots[8];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 2);
    CHECK(slots[0].state == SLOT_LIVE);
    /* Either side fills: 0.002 BTC at 10 % shock and the taker's fee. */
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS] >= 12 * USD);
    CHECK(view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS] < 13 * USD);
    /* A small move keeps the place in the queue, a larger one moves both. */
    int cancels = fake.cancels;
    tick(BTC * 10 + 2);
    run(2);
    CHECK(fake.cancels == cancels);
    tick(BTC * 10 + 5);
    run(3);
    CHECK(fake.cancels == cancels + 2);
    CHECK(fake.sent[last_sent(SIDE_BUY)].price.ticks == BTC * 10 + 5);
    CHECK(engine_page(engine)->tick_to_order.count > 0);
    CHECK(engine_page(engine)->order_to_ack.count > 0);
    end();
}

/* A fill is booked once however often it is told, and P&L, ledger and page follow it. */
static void books_fills_once(void)
{
    begin();
    struct execution_report report = fill(last_sent(SIDE_BUY), 2, true);
    tell(&report);
    tell(&report);
    run(3);
    struct execution_report hollow = fill(last_sent(SIDE_SELL), 0, true);
    tell(&hollow);
    CHECK(books()->position_lots == 2 && books()->cost_micros == 120 * USD);
    CHECK(books()->fees_e8 == 2400000);
    const struct participant_page *page = engine_page(engine);
    engine_publish(engine, now);
    CHECK(page->fills_total == 1 && page->fills[0].sequence == 1 && page->fills[0].maker == 1);
    CHECK(page->counters[COUNTER_DUPLICATE_EXECUTIONS] == 1);
    CHECK(page->positions_count == 1 && page->positions[0].quantity_e9 == 2000000);
    CHECK(page->positions[0].cash_flow_micros == -120 * USD);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].positions_micros[BUDGET_LOSS] >= 12 * USD);
    end();
}

/* A halt from anywhere cancels everything, is acknowledged, and no order follows. */
static void obeys_a_halt(void)
{
    begin();
    int64_t epoch = ledger_halt(supervisor, HALT_OPERATOR);
    int sent = fake.sent_count;
    turn(1 * MS);
    CHECK(fake.cancels >= 2);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].halt_ack == (uint32_t)epoch);
    tick(BTC * 10 + 50);
    run(5);
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_HALTED);
    CHECK(fake.sent_count == sent && open_of(STRATEGY_QUOTER, -1) == 0);
    CHECK(!fake.may_renew);
    struct ledger_slot slots[8];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 0);
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > epoch);
    dead_man_ack();
    run(5);
    tick(BTC * 10);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

static bool halt_is_acknowledged(int64_t epoch)
{
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    return view.participants[ROLE_ENGINE].halt_ack == (uint32_t)epoch;
}

/* While bytes of orders wait for the socket neither a halt nor the day's end is acknowledged: they
 * would leave afterwards, past no gate. */
static void what_waits_for_the_socket_holds_acknowledgements_up(void)
{
    begin();
    CHECK(ledger_first_day(supervisor, wall / (86400 * SECOND)) == 0);
    fake.unsent = true;
    CHECK(ledger_roll_pause(supervisor, now) == 1);
    run(80);
    CHECK(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    fake.unsent = false;
    run(1);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_roll_end(supervisor);
    fake.unsent = true;
    int64_t epoch = ledger_halt(supervisor, HALT_OPERATOR);
    run(20);
    CHECK(!halt_is_acknowledged(epoch));
    fake.unsent = false;
    run(1);
    CHECK(halt_is_acknowledged(epoch));
    end();
}

/* Without a fresh lease quotes are pulled and the dead-man switch is left to expire. */
static void pulls_quotes_without_lease(void)
{
    begin();
    turn(3 * SECOND);
    answer_cancels();
    turn(10 * MS);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 0 && !fake.may_renew);
    uint64_t id;
    tick(BTC * 10);
    dead_man_ack();
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_LEASE_EXPIRED);
    run(3);
    tick(BTC * 10);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2 && fake.may_renew);
    end();
}

/* A process that stood still within a turn looks at the clock once more before the bytes leave: its
 * lease may have ended meanwhile. */
static void a_stalled_turn_sends_nothing_without_lease(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    int sent = fake.sent_count;
    uint64_t id;
    stalled_ns = 3 * SECOND;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_LEASE_EXPIRED);
    struct ledger_slot slots[8];
    CHECK(fake.sent_count == sent && ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 0);
    stalled_ns = 0;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NONE);
    end();
}

/* A silent feed makes the market stale: quotes are pulled until data comes again. */
static void pulls_quotes_on_stale_data(void)
{
    begin();
    run(350);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 0);
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_STALE_DATA);
    tick(BTC * 10);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

/* An unanswered order stays charged and is asked for; "not found" counts only after its window. */
static void unknown_orders_stay_charged(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    fake.answer = ANSWER_SILENCE;
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NONE);
    tick(BTC * 10);
    run(150);
    CHECK(engine_order(engine, id)->state == ORDER_UNKNOWN && fake.queries > 0);
    struct ledger_slot slots[8];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 1 && slots[0].state == SLOT_UNKNOWN);
    struct execution_report missing = report_on(&fake.sent[0], EXEC_STATUS);
    missing.not_found = 1;
    for (int n = 0; n < 5; n++)
        tell(&missing);
    CHECK(engine_order(engine, id)->state == ORDER_UNKNOWN);
    tick(BTC * 10);
    run(250);
    tell(&missing);
    tell(&missing);
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 1);
    tell(&missing);
    CHECK(engine_order(engine, id)->state == ORDER_REJECTED);
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 0);
    end();
}

/* A cancel told before the fill it speaks of frees nothing until the fill is booked. */
static void cancel_before_its_fill(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 4, &id) == REJECT_NONE);
    run(2);
    struct execution_report late = fill(0, 1, true);
    struct execution_report canceled = report_on(&fake.sent[0], EXEC_CANCELED);
    fake.open[0] = false;
    canceled.cumulative.lots = 1;
    tell(&canceled);
    struct ledger_slot slots[8];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 1);
    CHECK(engine_order(engine, id)->state == ORDER_UNKNOWN);
    tell(&late);
    CHECK(engine_order(engine, id)->state == ORDER_CANCELED && books()->position_lots == 1);
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 0);
    end();
}

/* A dropped connection makes orders on their way UNKNOWN; reconcile finds out and trading resumes.
 */
static void reconnects(void)
{
    begin();
    fake.answer = ANSWER_SILENCE;
    fake.answer_cancels = false;
    tick(BTC * 10 + 20);
    turn(1 * MS);
    disconnect_venue();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_SESSION);
    int first_buy = last_sent(SIDE_BUY);
    struct execution_report missed = fill(first_buy, 2, true);
    fake.missed[fake.missed_count++] = missed;
    fake.answer = ANSWER_ACK;
    fake.answer_cancels = true;
    run(3);
    connect_venue();
    run(200);
    CHECK(books()->position_lots == 2);
    for (int n = 0; n < fake.sent_count; n++) {
        const struct order *order = engine_order(engine, fake.sent[n].client_order_id);
        if (!order || order->state != ORDER_UNKNOWN)
            continue;
        struct execution_report status = report_on(order, EXEC_STATUS);
        status.order_state = ORDER_CANCELED;
        status.cumulative.lots = order->filled.lots;
        fake.open[n] = false;
        tell(&status);
    }
    tick(BTC * 10);
    run(5);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

/* A refused order is released, counted, and a streak of them stops trading for a person to look. */
static void refusals_trip_the_guard(void)
{
    begin();
    fake.answer = ANSWER_REJECT;
    for (int n = 0; n < 60; n++) {
        tick(BTC * 10 + (n % 2) * 10);
        run(5);
    }
    const struct participant_page *page = engine_page(engine);
    CHECK(page->refusals[REJECT_INSUFFICIENT_BALANCE] >= 20);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    end();
}

/* Nothing leaves when the socket takes nothing: the reservation is given back at once. */
static void busy_socket_leaves_no_charge(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    fake.answer = ANSWER_BUSY;
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_SESSION);
    struct ledger_slot slots[8];
    CHECK(ledger_slots(supervisor, ROLE_ENGINE, slots, 8) == 0);
    struct ledger_view view;
    run(1);
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS] == 0);
    end();
}

/* The budget refuses what does not fit and takes what reduces, even when it is full. */
static void budget_refuses(void)
{
    begin_with_limit(30);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 4, &id) == REJECT_NONE);
    run(2);
    CHECK(manual(SIDE_BUY, BTC * 10, 4, &id) == REJECT_BUDGET);
    struct execution_report report = fill(0, 4, true);
    tell(&report);
    tick(BTC * 10);
    run(2);
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_BUDGET);
    CHECK(manual(SIDE_SELL, BTC * 10 + 5, 4, &id) == REJECT_NONE);
    CHECK(engine_page(engine)->refusals[REJECT_BUDGET] == 2);
    end();
}

/* A falling market uses up the budget between two reprices; the way out stays open. */
static void exits_while_marks_run_away(void)
{
    begin_with_limit(30);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 4, &id) == REJECT_NONE);
    struct execution_report report = fill(0, 4, true);
    tell(&report);
    tick(BTC * 10);
    run(2);
    tick(BTC * 10 - 22500);
    CHECK(manual(SIDE_BUY, BTC * 10 - 22510, 2, &id) == REJECT_BUDGET);
    CHECK(manual(SIDE_SELL, BTC * 10 - 22500, 4, &id) == REJECT_NONE);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].state == LEDGER_REDUCING);
    end();
}

/* A restarted engine knows its books, cancels what was left, and books missed fills once. */
static void restarts(void)
{
    begin();
    struct execution_report seen = fill(last_sent(SIDE_BUY), 2, true);
    tell(&seen);
    run(2);
    int sell = last_sent(SIDE_SELL);
    int64_t fills_before = engine_page(engine)->fills_total;
    /* Killed here: nothing is said to the venue, the quotes stay there. */
    engine_free(engine);
    ledger_close(ledger);
    CHECK(ledger_reclaim(supervisor, ROLE_ENGINE) >= 1);
    struct execution_report missed = fill(sell, 1, true);
    fake.missed[fake.missed_count++] = seen;
    fake.missed[fake.missed_count++] = missed;
    int cancels = fake.cancels;
    start_engine();
    connect_venue();
    CHECK(books()->position_lots == 2 && books()->cost_micros == 120 * USD);
    CHECK(books()->fees_e8 == 2400000);
    uint64_t id;
    turn(1 * MS);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NOT_RECONCILED);
    CHECK(strcmp(fake.since, "1000") == 0);
    run(20);
    CHECK(fake.cancels > cancels);
    CHECK(books()->position_lots == 1 && books()->fees_e8 == 3600000);
    CHECK(books()->realized_micros == 60000100 - 60000000);
    CHECK(engine_page(engine)->fills_total == fills_before + 1);
    CHECK(engine_market_at(engine, 0)->strategy_lots[STRATEGY_QUOTER] == 1);
    tick(BTC * 10);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

static struct execution_report left_open(uint64_t id, int64_t quantity, int64_t cumulative)
{
    struct order old = {
        .client_order_id = id, .side = SIDE_BUY, .price = {599000}, .quantity = {quantity}};
    struct execution_report report = report_on(&old, EXEC_STATUS);
    report.order_state = cumulative ? ORDER_PARTIALLY_FILLED : ORDER_WORKING;
    report.cumulative.lots = cumulative;
    return report;
}

/* An orphan's earlier fills, told after its count of them, do not make it seem complete: it stays
 * charged and is cancelled. */
static void a_partly_filled_orphan_stays_charged(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    disconnect_venue();
    fake.left[fake.left_count++] = left_open(77, 10, 5);
    struct execution_report earlier = fake.left[0];
    earlier.execution_type = EXEC_TRADE;
    earlier.cumulative.lots = 0; /* a list of fills does not say what its orders hold */
    earlier.last_price.ticks = 599000;
    earlier.last_quantity.lots = 5;
    snprintf(earlier.execution_id, sizeof earlier.execution_id, "900");
    fake.missed[fake.missed_count++] = earlier;
    fake.position_lots = 5;
    connect_venue();
    run(20);
    CHECK(books()->position_lots == 5);
    const struct exposure *exposure = &engine_market_at(engine, 0)->exposure;
    CHECK(exposure->count == 1 && exposure->orders[0].remaining.lots == 5);
    CHECK(fake.cancels >= 1 && fake.canceled_ids[0] == 77);
    struct execution_report canceled = left_open(77, 10, 5);
    canceled.execution_type = EXEC_CANCELED;
    fake.left_count = 0;
    tell(&canceled);
    CHECK(exposure->count == 0 && engine_order(engine, 77)->state == ORDER_CANCELED);
    end();
}

/* A fill of an order of ours that this run does not know leaves its rest open: that is charged. */
static void a_strangers_rest_is_charged(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    struct execution_report report = left_open(78, 10, 4);
    report.execution_type = EXEC_TRADE;
    report.last_price.ticks = 599000;
    report.last_quantity.lots = 4;
    snprintf(report.execution_id, sizeof report.execution_id, "901");
    fake.position_lots = 4;
    tell(&report);
    const struct exposure *exposure = &engine_market_at(engine, 0)->exposure;
    CHECK(books()->position_lots == 4);
    CHECK(exposure->count == 1 && exposure->orders[0].remaining.lots == 6);
    run(3);
    CHECK(fake.cancels == 1 && fake.canceled_ids[0] == 78);
    end();
}

/* An order that had ended and is open at the venue after all is charged again, cancelled, and a
 * person has to look. */
static void an_ended_order_found_open_halts(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 4, &id) == REJECT_NONE);
    run(2);
    struct execution_report canceled = report_on(&fake.sent[0], EXEC_CANCELED);
    tell(&canceled);
    CHECK(engine_order(engine, id)->state == ORDER_CANCELED);
    tick(BTC * 10);
    run(150);
    disconnect_venue();
    connect_venue();
    int cancels = fake.cancels;
    turn(1 * MS);
    fake.answer_cancels = false;
    answer_reconcile();
    turn(1 * MS);
    const struct exposure *exposure = &engine_market_at(engine, 0)->exposure;
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    CHECK(exposure->count == 1 && exposure->orders[0].remaining.lots == 4);
    turn(10 * MS);
    CHECK(fake.cancels > cancels);
    fake.answer_cancels = true;
    tell(&canceled);
    CHECK(exposure->count == 0);
    end();
}

/* ---- orders of others on the account ----------------------------------------------------------
 */

static struct execution_report strangers(int owner, int type, uint64_t venue_order_id)
{
    struct execution_report report = left_open(0, 10, 0);
    report.execution_type = (uint8_t)type;
    report.venue_order_id = venue_order_id;
    report.owner = (uint8_t)owner;
    report.wall_ns = wall;
    snprintf(report.text, sizeof report.text, "%s",
             owner == OWNER_PURSER ? "instance 0badcafe" : "by-hand");
    return report;
}

static struct execution_report strangers_fill(int owner, uint64_t venue_order_id, int64_t lots)
{
    struct execution_report report = strangers(owner, EXEC_TRADE, venue_order_id);
    report.order_state = ORDER_PARTIALLY_FILLED;
    report.cumulative.lots = report.last_quantity.lots = lots;
    report.last_price = report.price;
    fake.position_lots += lots;
    snprintf(report.execution_id, sizeof report.execution_id, "%d", fake.next_execution++);
    return report;
}

/* How often an event of this name was said since the last call; text: the newest one's. */
static int said(const char *name, char text[PROTOCOL_TEXT + 1])
{
    struct engine_message message;
    int count = 0;
    while (engine_telemetry_pop(engine, &message)) {
        struct message_event event;
        if (message.header.kind != MESSAGE_EVENT)
            continue;
        memcpy(&event, message.body, sizeof event);
        if (strncmp(event.name, name, sizeof event.name) != 0)
            continue;
        count++;
        snprintf(text, PROTOCOL_TEXT + 1, "%.*s", PROTOCOL_TEXT, event.text);
    }
    return count;
}

/* A person's order is charged from NEW to its end, told once, and stops nothing. */
static void a_persons_order_is_charged_while_it_rests(void)
{
    char text[PROTOCOL_TEXT + 1] = "";
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    const struct exposure *exposure = &engine_market_at(engine, 0)->exposure;
    int64_t before = exposure->used_micros[BUDGET_LOSS];
    struct execution_report order = strangers(OWNER_PERSON, EXEC_NEW, 9000);
    tell(&order);
    CHECK(exposure->count == 1 && exposure->orders[0].remaining.lots == 10);
    CHECK(exposure->used_micros[BUDGET_LOSS] > before);
    CHECK(exposure_own_orders(exposure) == 0);
    CHECK(engine_page(engine)->counters[COUNTER_FOREIGN_OPEN] == 1);
    struct execution_report fill = strangers_fill(OWNER_PERSON, 9000, 4);
    tell(&fill);
    CHECK(books()->position_lots == 4 && exposure->orders[0].remaining.lots == 6);
    run(3);
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 4, &id) == REJECT_NONE);
    run(2);
    CHECK(fake.cancels == 0 && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    struct execution_report canceled = strangers(OWNER_PERSON, EXEC_CANCELED, 9000);
    canceled.order_state = ORDER_CANCELED;
    canceled.cumulative.lots = 4;
    tell(&canceled);
    CHECK(exposure->count == 1 && exposure->orders[0].client_order_id == id);
    CHECK(engine_page(engine)->counters[COUNTER_FOREIGN_OPEN] == 0);
    CHECK(said("foreign_order_seen", text) == 1 && strstr(text, "by-hand") != NULL);
    end();
}

/* One that the stream told nothing of is charged when a list shows it, until a list lacks it. */
static void a_persons_order_in_the_list_is_charged(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    const struct exposure *exposure = &engine_market_at(engine, 0)->exposure;
    fake.left[fake.left_count++] = strangers(OWNER_PERSON, EXEC_STATUS, 9001);
    disconnect_venue();
    connect_venue();
    run(3);
    CHECK(exposure->count == 1 && exposure->orders[0].remaining.lots == 10);
    disconnect_venue();
    connect_venue();
    run(3);
    CHECK(exposure->count == 1);
    fake.left_count = 0;
    disconnect_venue();
    connect_venue();
    run(3);
    CHECK(exposure->count == 0 && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

static void saw_other(int64_t most_steps)
{
    char text[PROTOCOL_TEXT + 1] = "";
    struct ledger_view view;
    for (; most_steps > 0 && ledger_state_now(supervisor) != LEDGER_HALTED; most_steps--)
        run(1);
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.state == LEDGER_HALTED && view.reason == HALT_FOREIGN);
    CHECK(said("halted", text) == 1);
    CHECK(strstr(text, "instance 0badcafe") && strstr(text, "control resume"));
}

/* Another Purser's new order: our orders are pulled, one order that cannot fill is sent so that the
 * other sees us, and trading halts. */
static void another_pursers_order_halts_both(void)
{
    uint64_t id;
    begin();
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    struct execution_report order = strangers(OWNER_PURSER, EXEC_NEW, 9002);
    int sent = fake.sent_count;
    tell(&order);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 4, &id) == REJECT_FOREIGN);
    saw_other(100);
    CHECK(fake.sent_count == sent + 1);
    const struct order *card = &fake.sent[sent];
    CHECK(card->time_in_force == TIF_IOC && card->side == SIDE_BUY);
    CHECK(card->price.ticks < BTC * 10 - BTC * 10 / 200); /* half a percent below, and more */
    CHECK(instrument_notional_down(&fake.instrument, card->price, card->quantity).micros >=
          100 * USD);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 0);
    end();
}

/* Its open order is found before our first one; then there is no other order than the card. */
static void another_pursers_open_order_halts_at_start(void)
{
    begin_with_limit(1000);
    fake.left[fake.left_count++] = strangers(OWNER_PURSER, EXEC_STATUS, 9003);
    begin_engine();
    saw_other(300);
    CHECK(fake.sent_count == 1 && fake.sent[0].time_in_force == TIF_IOC);
    end();
}

/* Trading that never begins (the ledger stays as it is) halts all the same. */
static void another_purser_halts_without_a_card_too(void)
{
    begin_with_limit(1000);
    fake.left[fake.left_count++] = strangers(OWNER_PURSER, EXEC_STATUS, 9003);
    start_engine();
    connect_venue();
    saw_other(1100);
    CHECK(fake.sent_count == 0);
    end();
}

/* A fill of before our start belongs to a Purser that has ended, as after a restored backup:
 * booked, and no halt. One of now halts. So does what a resume finds. */
static void another_pursers_history_does_not_halt(void)
{
    begin();
    struct execution_report fill = strangers_fill(OWNER_PURSER, 9004, 4);
    fill.wall_ns = wall - 10 * SECOND;
    tell(&fill);
    struct execution_report expired = strangers(OWNER_PURSER, EXEC_EXPIRED, 9005);
    expired.order_state = ORDER_EXPIRED;
    tell(&expired);
    run(200);
    CHECK(books()->position_lots == 4 && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    fill = strangers_fill(OWNER_PURSER, 9006, 4);
    tell(&fill);
    saw_other(100);
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) >= 0);
    dead_man_ack();
    run(100);
    tick(BTC * 10);
    run(5);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE && open_of(STRATEGY_QUOTER, -1) > 0);
    fill = strangers_fill(OWNER_PURSER, 9007, 4);
    tell(&fill);
    saw_other(100);
    end();
}

static void kill_and_restart(void)
{
    engine_free(engine);
    ledger_close(ledger);
    CHECK(ledger_reclaim(supervisor, ROLE_ENGINE) >= 0);
    start_engine();
}

/* Like a SIGKILL: nothing is written at the end. What such an engine held stays where it was. */
static void crash_and_restart(void)
{
    static struct engine *crashed[64];
    static int count;
    CHECK(count < 64 && crashed[count] == NULL);
    crashed[count++] = engine;
    ledger_close(ledger);
    CHECK(ledger_reclaim(supervisor, ROLE_ENGINE) >= 0);
    start_engine();
}

/* The venue denies the first order that was sent, often enough; does the engine believe it? */
static bool denial_ends_the_order(void)
{
    struct execution_report missing = report_on(&fake.sent[0], EXEC_STATUS);
    missing.not_found = 1;
    for (int n = 0; n < OMS_NOT_FOUND_ANSWERS; n++)
        tell(&missing);
    return engine_order(engine, fake.sent[0].client_order_id)->state == ORDER_REJECTED;
}

/* An order of the last run is denied in vain until the deadline in its slot has passed, whatever
 * the wall clock was set to and whatever window this run has. A slot that is gone says nothing:
 * then the longest window counts, from the restart. */
static void a_restart_keeps_the_deadline_of_an_order(bool slot_is_known)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    fake.answer = ANSWER_SILENCE;
    fake.answer_reconciles = fake.answer_cancels = false;
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NONE);
    int64_t sent_ns = now + 700;
    fake.open[0] = false;
    if (!slot_is_known) {
        ledger_close(supervisor);
        CHECK(unlink(ledger_path) == 0);
        int adopted;
        const int64_t limit[2] = {1000 * USD, 20000 * USD};
        const int64_t headroom[2] = {20 * USD, 400 * USD};
        CHECK(ledger_create(&supervisor, &adopted, ledger_path, limit, headroom, now) == 0);
        CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
    }
    wall += 3600 * SECOND;
    fake.venue.validity_window_ns = 100 * MS;
    kill_and_restart();
    turn(1 * MS);
    connect_venue();
    CHECK(!denial_ends_the_order());
    int64_t certain_ns = slot_is_known ? sent_ns + 3 * SECOND : sent_ns + 11 * SECOND;
    while (now + 30 * MS < certain_ns)
        run(1);
    CHECK(!denial_ends_the_order());
    run(5);
    CHECK(denial_ends_the_order());
    end();
}

static bool line_is_reconciled(void)
{
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    return view.participants[ROLE_ENGINE].reconciled_ns != 0;
}

/* A position that no market prices yet has no known loss: what the last run left charged stays so
 * until the first book. */
static void a_position_waits_for_its_mark(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report report = fill(0, 10, true);
    tell(&report);
    run(2);
    kill_and_restart();
    const struct venue_events *events = fake.venue.events;
    events->on_instrument(events->context, &fake.venue, &fake.instrument);
    fake.venue.session_state = SESSION_SYNCING;
    events->on_session(events->context, &fake.venue, SESSION_SYNCING, "user stream open");
    run(20);
    CHECK(books()->position_lots == 10 && !line_is_reconciled());
    tick(BTC * 10 - 5000);
    run(2);
    CHECK(line_is_reconciled());
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS] >= (5 + 59) * USD);
    end();
}

/* What the journal holds of an instrument that is no longer configured cannot be charged: the line
 * is not reconciled, and what the last run left charged stays so. */
static void unconfigured_positions_block(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_NONE);
    struct execution_report report = fill(0, 2, true);
    tell(&report);
    run(2);
    kill_and_restart();
    memcpy(fake.instrument.symbol, "ETHUSDT", 8);
    int64_t held = fake.position_lots;
    fake.position_lots = 0;
    connect_venue();
    run(20);
    CHECK(!line_is_reconciled());
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS] >= 12 * USD);
    kill_and_restart();
    memcpy(fake.instrument.symbol, "BTCUSDT", 8);
    fake.position_lots = held;
    connect_venue();
    run(20);
    CHECK(line_is_reconciled() && books()->position_lots == 2);
    end();
}

static int64_t loss_in_use(void)
{
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    return view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS];
}

static const int64_t DAY_NS = 86400 * SECOND;

/* The supervisor's part: the pause until it is acknowledged, then the new day. */
static void end_day(int64_t day)
{
    CHECK(ledger_roll_pause(supervisor, now) > 0);
    for (int n = 0; n < 100 && !ledger_roll_acked(supervisor, ROLE_ENGINE); n++)
        run(1);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE));
    CHECK(ledger_roll_begin(supervisor, (day)*DAY_NS, now) == 0);
    run(1);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_roll_end(supervisor);
}

/* The result of an instrument that is no longer configured counts today, and not tomorrow. */
static void unconfigured_results_roll_too(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_NONE);
    struct execution_report bought = fill(0, 2, true);
    tell(&bought);
    CHECK(manual(SIDE_SELL, BTC * 10 - 1000, 2, &id) == REJECT_NONE);
    struct execution_report sold = fill(1, 2, true);
    tell(&sold);
    run(2);
    kill_and_restart();
    memcpy(fake.instrument.symbol, "ETHUSDT", 8);
    connect_venue();
    run(20);
    CHECK(line_is_reconciled() && loss_in_use() > 0);
    end_day(wall / DAY_NS + 1);
    run(2);
    CHECK(loss_in_use() == 0);
    kill_and_restart();
    connect_venue();
    run(20);
    CHECK(line_is_reconciled() && loss_in_use() == 0);
    end();
}

/* An end before the first reconcile leaves no books behind that would pass for the venue's. */
static void adopts_after_an_early_end(void)
{
    begin_with_limit(1000);
    fake.position_lots = 3;
    fake.entry_ticks = 600000;
    fake.answer_reconciles = false;
    start_engine();
    connect_venue();
    run(2);
    kill_and_restart();
    fake.answer_reconciles = true;
    connect_venue();
    run(20);
    CHECK(books()->position_lots == 3 && line_is_reconciled());
    end();
}

/* An empty journal takes the venue's position over; fills inside it are booked once. */
static void adopts_a_first_position(void)
{
    begin_with_limit(1000);
    fake.position_lots = -3;
    fake.entry_ticks = 600000;
    struct order old = {
        .client_order_id = 77, .side = SIDE_SELL, .price = {600000}, .quantity = {3}};
    struct execution_report report = report_on(&old, EXEC_TRADE);
    report.last_price = old.price;
    report.last_quantity = old.quantity;
    snprintf(report.execution_id, sizeof report.execution_id, "900");
    fake.missed[fake.missed_count++] = report;
    begin_engine();
    run(20);
    CHECK(books()->position_lots == -3 && books()->cost_micros == -180 * USD);
    CHECK(counter(COUNTER_JOURNAL_MISSING) == 1);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    /* Told again after a restart they are still known. */
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    connect_venue();
    run(20);
    CHECK(books()->position_lots == -3 && engine_page(engine)->fills_total == 0);
    end();
}

static int newest_segment(char path[512])
{
    int newest = 0;
    DIR *directory = opendir(journal_folder);
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int number = 0;
        if (sscanf(entry->d_name, "journal-%d.bin", &number) == 1 && number > newest)
            newest = number;
    }
    closedir(directory);
    snprintf(path, 512, "%s/journal-%08d.bin", journal_folder, newest);
    return newest;
}

static void keep_as_missed(const struct execution_report *report)
{
    CHECK(fake.missed_count < 8);
    fake.missed[fake.missed_count++] = *report;
    fake.missed[fake.missed_count - 1].client_order_id = 0;
    fake.missed[fake.missed_count - 1].wall_ns = wall;
}

static void restart_without_journal(void)
{
    kill_and_restart();
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    lose_journal();
    start_engine();
    connect_venue();
}

/* A day with a loss whose journal is gone has the same realized, fees and cost after the next
 * start, to the micro, however often the venue tells of its fills; and it says that the journal was
 * lost. */
static void a_lost_day_is_made_of_the_venues_fills(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    const int64_t prices[] = {BTC * 10, BTC * 10 - 90, BTC * 10 - 55, BTC * 10 - 140};
    const int sides[] = {SIDE_BUY, SIDE_SELL, SIDE_BUY, SIDE_SELL};
    const int64_t lots[] = {9, 4, 7, 10};
    for (int n = 0; n < 4; n++) {
        CHECK(manual(sides[n], prices[n], lots[n], &id) == REJECT_NONE);
        struct execution_report report = fill(n, lots[n], n % 2 == 0);
        tell(&report);
        keep_as_missed(&report);
        run(1);
    }
    struct pnl before = *books();
    CHECK(before.realized_micros < 0 && before.fees_e8 > 0 && before.position_lots == 2);
    CHECK(counter(COUNTER_JOURNAL_MISSING) == 0);
    restart_without_journal();
    CHECK(counter(COUNTER_JOURNAL_MISSING) == 1); /* the ledger remembers its newest seal */
    turn(10 * MS);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NOT_RECONCILED);
    run(30);
    CHECK(books()->realized_micros == before.realized_micros);
    CHECK(books()->fees_e8 == before.fees_e8 && books()->cost_micros == before.cost_micros);
    CHECK(books()->position_lots == 2 && books()->volume_micros == before.volume_micros);
    CHECK(books()->cash_flow_micros == before.cash_flow_micros);
    CHECK(counter(COUNTER_JOURNAL_MISSING) == 1 && line_is_reconciled());
    /* Written down: the next start knows it without the venue's history. */
    kill_and_restart();
    connect_venue();
    run(20);
    CHECK(books()->realized_micros == before.realized_micros && books()->position_lots == 2);
    CHECK(counter(COUNTER_JOURNAL_MISSING) == 0);
    end();
}

/* One sale at a loss, whose journal is then lost. */
static void lose_a_day_with_a_loss(void)
{
    uint64_t id;
    for (int n = 0; n < 2; n++) {
        int64_t lots = n == 0 ? 9 : 4;
        CHECK(manual(n == 0 ? SIDE_BUY : SIDE_SELL, BTC * 10 - n * 90, lots, &id) == REJECT_NONE);
        struct execution_report report = fill(n, lots, true);
        tell(&report);
        keep_as_missed(&report);
        run(1);
    }
    CHECK(books()->realized_micros < 0 && books()->fees_e8 > 0 && books()->position_lots == 5);
}

/* A ledger whose day is ahead of the venue's loses no fill of the day that the venue is in. */
static void a_lost_day_begins_with_the_venues_if_that_is_earlier(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    CHECK(ledger_first_day(supervisor, wall / (86400 * SECOND) + 1) == 0);
    begin_engine();
    lose_a_day_with_a_loss();
    struct pnl before = *books();
    restart_without_journal();
    run(40);
    CHECK(line_is_reconciled() && books()->day == before.day);
    CHECK(books()->realized_micros == before.realized_micros);
    CHECK(books()->fees_e8 == before.fees_e8);
    end();
}

/* A day that ends while the lost one is being made leaves nothing of it in the new one. */
static void a_lost_day_that_ends_meanwhile_is_not_mixed(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    int64_t day = wall / (86400 * SECOND);
    CHECK(ledger_first_day(supervisor, day) == 0);
    begin_engine();
    lose_a_day_with_a_loss();
    restart_without_journal();
    run(5);
    CHECK(!line_is_reconciled());
    wall += 86400 * SECOND;
    CHECK(ledger_roll_pause(supervisor, now) > 0);
    CHECK(ledger_roll_begin(supervisor, (day + 1) * 86400 * SECOND, now) == 0);
    ledger_roll_end(supervisor);
    run(60);
    CHECK(line_is_reconciled() && books()->day == day + 1 && books()->position_lots == 5);
    CHECK(books()->realized_micros == 0 && books()->fees_e8 == 0);
    end();
}

/* What was held at midnight had cost its mark of then: from the venue, or what loses more. */
static void a_carried_position_opens_at_the_venues_mark(void)
{
    const int64_t marks_e9[] = {60010500000000, 0};
    for (int n = 0; n < 2; n++) {
        begin_with_limit(1000);
        config.quoter.enabled = false;
        fake.opening_e9 = marks_e9[n];
        fake.position_lots = 2;
        fake.entry_ticks = 599000;
        struct order old = {.client_order_id = 0, .side = SIDE_SELL, .price = {600200}};
        struct execution_report report = report_on(&old, EXEC_TRADE);
        report.last_price = old.price;
        report.last_quantity.lots = 3;
        report.fee_e8 = 500;
        report.wall_ns = wall;
        snprintf(report.execution_id, sizeof report.execution_id, "900");
        fake.missed[fake.missed_count++] = report;
        begin_engine();
        run(20);
        /* Five lots were carried: at 60,010.5 of the venue; else at 60,020, the first fill, which
         * is above the entry of 59,900 and the mark of 60,000. */
        int64_t unit = n == 0 ? 60010500 : 60020000;
        CHECK(books()->position_lots == 2 && books()->cost_micros == 5 * unit - 3 * unit);
        CHECK(books()->realized_micros == 3 * 60020000 - 3 * unit);
        CHECK(books()->fees_e8 == 500 && line_is_reconciled());
        end();
    }
}

/* A fill that comes between the venue's answers is counted once, and yesterday's not at all. */
static void a_fill_between_the_answers_counts_once(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    struct order old = {.client_order_id = 0, .side = SIDE_BUY, .price = {600000}};
    struct execution_report report = report_on(&old, EXEC_TRADE);
    report.last_price = old.price;
    report.last_quantity.lots = 3;
    report.wall_ns = wall - 86400 * SECOND;
    snprintf(report.execution_id, sizeof report.execution_id, "800");
    fake.missed[fake.missed_count++] = report;
    report.wall_ns = wall;
    snprintf(report.execution_id, sizeof report.execution_id, "900");
    fake.missed[fake.missed_count++] = report;
    fake.position_lots = 7; /* the venue has one more fill than it has listed */
    fake.entry_ticks = 600000;
    fake.opening_e9 = 59990000000000;
    start_engine();
    connect_venue();
    run(3);
    CHECK(books()->position_lots == 0 && !line_is_reconciled());
    report.last_quantity.lots = 1;
    snprintf(report.execution_id, sizeof report.execution_id, "901");
    tell(&report);
    fake.missed[fake.missed_count++] = report;
    CHECK(books()->position_lots == 0);
    run(40);
    CHECK(books()->position_lots == 7 && line_is_reconciled());
    CHECK(books()->cost_micros == 3 * 59990000 + 4 * 60000000);
    end();
}

/* A record rewritten with its checksum takes the books back to the last seal before it; the venue's
 * fills since then make the same day again. */
static void a_rewritten_record_is_found(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    uint64_t id;
    for (int n = 0; n < 4; n++) {
        CHECK(manual(n % 2 ? SIDE_SELL : SIDE_BUY, BTC * 10 - 30 * n, 3, &id) == REJECT_NONE);
        struct execution_report report = fill(n, 3, true);
        tell(&report);
        keep_as_missed(&report);
        run(15);
    }
    struct pnl before = *books();
    engine_free(engine);
    char path[512];
    newest_segment(path);
    FILE *file = fopen(path, "r+");
    CHECK(file != NULL);
    struct journal_record record;
    int changed = 0;
    while (fread(&record, sizeof record, 1, file) == 1 && record.sequence)
        if (record.kind == JOURNAL_REPORT && record.fees_e8 > 0) {
            record.realized_micros = record.fees_e8 = 0;
            record.crc = journal_crc(&record);
            CHECK(fseek(file, -(long)sizeof record, SEEK_CUR) == 0);
            CHECK(fwrite(&record, sizeof record, 1, file) == 1 && fflush(file) == 0);
            CHECK(fseek(file, 0, SEEK_CUR) == 0);
            changed++;
        }
    CHECK(fclose(file) == 0 && changed >= 4);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    connect_venue();
    run(30);
    CHECK(counter(COUNTER_JOURNAL_DAMAGED) == 1);
    CHECK(books()->realized_micros == before.realized_micros && line_is_reconciled());
    CHECK(books()->fees_e8 == before.fees_e8 && before.realized_micros < 0);
    /* The alarm is of this start: the next one reads what was written since. */
    kill_and_restart();
    CHECK(counter(COUNTER_JOURNAL_DAMAGED) == 0 && counter(COUNTER_JOURNAL_MISSING) == 0);
    connect_venue();
    run(20);
    CHECK(books()->fees_e8 == before.fees_e8);
    end();
}

/* A folder or a link in a segment's place is named, with what to do; nothing is made beside it. */
static void a_segment_that_is_no_file_is_named(void)
{
    char path[160];
    for (int n = 0; n < 2; n++) {
        begin_with_limit(1000);
        snprintf(path, sizeof path, "%s/journal-00000003.bin", journal_folder);
        CHECK((n == 0 ? mkdir(path, 0700) : symlink("elsewhere", path)) == 0);
        CHECK(engine_new(&config) == NULL);
        CHECK(strstr(status_text(), "journal-00000003.bin") != NULL);
        CHECK(strstr(status_text(), n == 0 ? "a folder" : "a symbolic link") != NULL);
        CHECK(strstr(status_text(), "remove it") != NULL);
        CHECK((n == 0 ? rmdir(path) : unlink(path)) == 0);
    }
    begin_engine();
    end();
}

/* A difference between our position and the venue's that stays halts trading. */
static void mismatch_halts(void)
{
    begin();
    fake.position_lots += 1;
    disconnect_venue();
    connect_venue();
    run(10);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    CHECK(engine_page(engine)->counters[COUNTER_POSITION_MISMATCHES] == 1);
    tick(BTC * 10);
    run(500);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    end();
}

static struct message_hedge hedge_to(int64_t target_e9, int64_t expires_ns)
{
    return (struct message_hedge){
        .request_id = 1,
        .symbol = "BTCUSDT",
        .target_e9 = target_e9,
        .price_limit_ppm = 300,
        .expires_ns = expires_ns,
    };
}

static int bridge_positions, sent_at_signal;
static int64_t bridge_quantity_e9;

static void bridge_send(void *context, uint16_t kind, const void *body, uint32_t size)
{
    (void)context;
    (void)size;
    if (kind == MESSAGE_SIGNAL)
        sent_at_signal = fake.sent_count;
    if (kind != MESSAGE_POSITION)
        return;
    bridge_positions++;
    bridge_quantity_e9 = ((const struct message_position *)body)->quantity_e9;
}

/* A hedge goes out as one IOC at the collar after the quoter has stepped aside, up to the absolute
 * target, and not after it has expired. */
static void hedges_to_a_target(void)
{
    begin();
    struct engine_bridge bridge = {.send = bridge_send};
    engine_attach_bridge(engine, &bridge);
    struct message_hedge expired = hedge_to(6000000, now - 1);
    engine_hedge(engine, &expired);
    run(5);
    CHECK(engine_page(engine)->counters[COUNTER_HEDGE_ORDERS] == 0);
    struct message_hedge hedge = hedge_to(6000000, now + 60 * SECOND);
    engine_hedge(engine, &hedge);
    tick(BTC * 10);
    run(3);
    int order = fake.sent_count - 1;
    while (order >= 0 && fake.sent[order].strategy != STRATEGY_HEDGER)
        order--;
    CHECK(order >= 0);
    CHECK(fake.sent[order].time_in_force == TIF_IOC && fake.sent[order].quantity.lots == 6);
    CHECK(fake.sent[order].price.ticks == 600180);
    CHECK(open_of(STRATEGY_QUOTER, SIDE_SELL) == 0);
    int sent = fake.sent_count;
    struct execution_report report = fill(order, 4, false);
    tell(&report);
    struct execution_report expired_rest = report_on(&fake.sent[order], EXEC_EXPIRED);
    expired_rest.cumulative.lots = 4;
    fake.open[order] = false;
    tell(&expired_rest);
    CHECK(engine_market_at(engine, 0)->strategy_lots[STRATEGY_HEDGER] == 4);
    CHECK(bridge_positions >= 3 && bridge_quantity_e9 == 4000000);
    tick(BTC * 10);
    run(60);
    int second = -1;
    for (int n = sent; n < fake.sent_count; n++)
        if (fake.sent[n].strategy == STRATEGY_HEDGER) {
            CHECK(second < 0);
            second = n;
        }
    CHECK(second >= 0 && fake.sent[second].quantity.lots == 2);
    report = fill(second, 2, false);
    tell(&report);
    engine_hedge(engine, &hedge);
    tick(BTC * 10);
    run(150);
    CHECK(engine_page(engine)->counters[COUNTER_HEDGE_ORDERS] == 2);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

static int64_t held_by(int strategy)
{
    return engine_market_at(engine, 0)->strategy_lots[strategy];
}

/* The hedger is asked for a position, and the venue fills its order whole. */
static void tell_fill_of_hedger(int64_t lots)
{
    struct message_hedge hedge = hedge_to(lots * 1000000, now + SECOND);
    engine_hedge(engine, &hedge);
    tick(BTC * 10);
    run(3);
    int order = fake.sent_count - 1;
    while (order >= 0 && fake.sent[order].strategy != STRATEGY_HEDGER)
        order--;
    CHECK(order >= 0);
    struct execution_report report = fill(order, lots < 0 ? -lots : lots, false);
    tell(&report);
    run(120);
    tick(BTC * 10);
    run(2);
    CHECK(held_by(STRATEGY_HEDGER) == lots);
}

/* An order that this engine never sent has filled; the next reconcile tells of it. */
static void miss_foreign_fill(int side, int64_t lots, const char *execution_id)
{
    struct order stranger = {.side = (uint8_t)side, .price = {BTC * 10}, .quantity = {lots}};
    struct execution_report report = report_on(&stranger, EXEC_TRADE);
    report.last_price = stranger.price;
    report.last_quantity.lots = lots;
    snprintf(report.execution_id, sizeof report.execution_id, "%s", execution_id);
    fake.missed[fake.missed_count++] = report;
    fake.position_lots += side == SIDE_BUY ? lots : -lots;
}

/* The account was flattened by orders that are not ours: nobody holds anything, the hedger does not
 * trade the mirror of what it once held, and a restart finds the same in the journal. */
static void a_flattened_account_stays_flat(void)
{
    begin();
    tell_fill_of_hedger(-6);
    struct execution_report quote = fill(last_sent(SIDE_BUY), 2, true);
    tell(&quote);
    CHECK(held_by(STRATEGY_HEDGER) == -6 && held_by(STRATEGY_QUOTER) == 2);
    config.quoter.enabled = false;
    kill_and_restart();
    miss_foreign_fill(SIDE_BUY, 4, "f1");
    connect_venue();
    run(20);
    CHECK(books()->position_lots == 0);
    for (int again = 0; again < 2; again++) {
        CHECK(held_by(STRATEGY_HEDGER) == 0 && held_by(STRATEGY_QUOTER) == 0);
        struct message_hedge none = hedge_to(0, now + 60 * SECOND);
        engine_hedge(engine, &none);
        tick(BTC * 10);
        int sent = fake.sent_count;
        run(60);
        CHECK(fake.sent_count == sent);
        kill_and_restart();
        connect_venue();
        run(20);
    }
    end();
}

/* A foreign fill closes what is foreign first, then the hedger's lots, then the quoter's; one in
 * the same direction closes nothing. The journal's reader comes to the same end. */
static void foreign_fills_close_lots_in_turn(void)
{
    begin();
    tell_fill_of_hedger(6);
    struct execution_report quote = fill(last_sent(SIDE_BUY), 2, true);
    tell(&quote);
    config.quoter.enabled = false;
    kill_and_restart();
    miss_foreign_fill(SIDE_BUY, 3, "f1");
    miss_foreign_fill(SIDE_SELL, 5, "f2");
    miss_foreign_fill(SIDE_SELL, 5, "f3");
    connect_venue();
    run(20);
    CHECK(books()->position_lots == 1);
    CHECK(held_by(STRATEGY_NONE) == 0);
    CHECK(held_by(STRATEGY_HEDGER) == 0 && held_by(STRATEGY_QUOTER) == 1);
    kill_and_restart();
    connect_venue();
    CHECK(held_by(STRATEGY_HEDGER) == 0 && held_by(STRATEGY_QUOTER) == 1);
    run(20);
    miss_foreign_fill(SIDE_SELL, 4, "f4");
    tell(&fake.missed[fake.missed_count - 1]);
    CHECK(books()->position_lots == -3);
    CHECK(held_by(STRATEGY_QUOTER) == 0 && held_by(STRATEGY_NONE) == -3);
    end();
}

/* Telling the bot is a system call, so a tick's own orders leave before its signal. */
static void orders_leave_before_the_signal(void)
{
    begin();
    struct engine_bridge bridge = {.send = bridge_send};
    engine_attach_bridge(engine, &bridge);
    run(10);
    int sent = fake.sent_count;
    sent_at_signal = -1;
    tick(BTC * 10 + 10);
    CHECK(fake.sent_count > sent && sent_at_signal == fake.sent_count);
    end();
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* When the disk takes no more, orders that add risk are refused with JOURNAL, those that reduce
 * still leave, no fill is lost, and trading goes on when there is space again. */
static void survives_a_full_disk(void)
{
    begin_with_limit(1000);
    config.journal_segment_bytes = 64 * 1024;
    begin_engine();
    limit_file_size(4096);
    bool refused = false;
    for (int n = 0; n < 400 && !refused; n++) {
        tick(BTC * 10 + (n % 2) * 10);
        run(2);
        refused = engine_page(engine)->refusals[REJECT_JOURNAL] > 0;
    }
    CHECK(refused);
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10 - 20, 2, &id) == REJECT_JOURNAL);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    limit_file_size(RLIM_INFINITY);
    for (int n = 0; n < 150; n++) {
        tick(BTC * 10);
        run(1);
    }
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    struct execution_report report = fill(last_sent(SIDE_BUY), 2, true);
    tell(&report);
    run(1);
    int64_t realized = books()->realized_micros;
    engine_free(engine);
    engine = engine_new(&config);
    CHECK(engine != NULL);
    CHECK(engine_page(engine)->fills_total == 1);
    CHECK(engine_page(engine)->counters[COUNTER_JOURNAL_DAMAGED] == 0);
    CHECK(realized == 0);
    end();
}

/* ---- the end of a day ---------------------------------------------------------------------------
 */

static void restart_engine(void)
{
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    connect_venue();
}

/* Begins with one buy of the quoter filled, in a ledger whose day is the wall's. */
static int64_t begin_with_a_day(void)
{
    begin();
    int64_t day = wall / DAY_NS;
    CHECK(ledger_first_day(supervisor, day) == 0);
    struct execution_report report = fill(last_sent(SIDE_BUY), 2, true);
    tell(&report);
    run(2);
    CHECK(books()->day == day && books()->fees_e8 == 2400000);
    return day;
}

/* The engine begins no day by its own clock: not at midnight, not at a halt, not at a restart. */
static void no_day_begins_by_the_own_clock(void)
{
    int64_t day = begin_with_a_day();
    wall += DAY_NS;
    run(5);
    CHECK(books()->day == day && books()->fees_e8 == 2400000);
    restart_engine();
    run(20);
    CHECK(books()->day == day && books()->fees_e8 == 2400000);
    ledger_halt(supervisor, HALT_OPERATOR);
    run(5);
    CHECK(books()->day == day && books()->fees_e8 == 2400000);
    end();
}

/* The leader's roll: quotes are cancelled, the pause is acknowledged, no order leaves until the
 * end, the old day is closed, and quoting goes on by itself. */
static void the_day_ends_with_the_leader(void)
{
    int64_t day = begin_with_a_day();
    wall += DAY_NS;
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    int sent = fake.sent_count;
    CHECK(ledger_roll_pause(supervisor, now) == 1);
    turn(10 * MS);
    CHECK(!ledger_roll_acked(supervisor, ROLE_ENGINE)); /* the venue has not answered */
    run(2);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE) && open_of(STRATEGY_QUOTER, -1) == 0);
    CHECK(books()->day == day);
    uint64_t id;
    for (int n = 0; n < 5; n++) {
        tick(BTC * 10 + 50 * n);
        CHECK(manual(SIDE_SELL, BTC * 10, 2, &id) == REJECT_DAY_ROLL);
        run(1);
    }
    CHECK(ledger_roll_begin(supervisor, (day + 1) * DAY_NS, now) == 0);
    run(1);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE) && fake.sent_count == sent);
    CHECK(books()->day == day + 1 && books()->fees_e8 == 0 && books()->realized_micros == 0);
    CHECK(books()->position_lots == 2 && ledger_day_of(supervisor, ROLE_ENGINE) == day + 1);
    ledger_roll_end(supervisor);
    run(2);
    CHECK(fake.sent_count > sent && open_of(STRATEGY_QUOTER, -1) == 2);
    restart_engine();
    CHECK(books()->day == day + 1 && books()->fees_e8 == 0);
    end();
}

/* A venue that answers no cancel holds the acknowledgement up for 600 ms, and the order stays
 * charged across the day's end. */
static void unknown_orders_stay_charged_across_the_day(void)
{
    int64_t day = begin_with_a_day();
    fake.answer_cancels = false;
    CHECK(ledger_roll_pause(supervisor, now) == 1);
    run(30);
    CHECK(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    run(35);
    CHECK(ledger_roll_acked(supervisor, ROLE_ENGINE));
    CHECK(ledger_roll_begin(supervisor, (day + 1) * DAY_NS, now) == 0);
    run(1);
    ledger_roll_end(supervisor);
    run(60);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].open_orders >= 2);
    CHECK(view.participants[ROLE_ENGINE].used_micros[0] >
          view.participants[ROLE_ENGINE].positions_micros[0]);
    CHECK(books()->day == day + 1);
    end();
}

/* An engine that was away while the day ended begins it at its start, at its last mark. */
static void who_comes_late_begins_the_ledgers_day(void)
{
    int64_t day = begin_with_a_day();
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    CHECK(ledger_roll_pause(supervisor, now) == 1);
    CHECK(ledger_roll_begin(supervisor, (day + 1) * DAY_NS, now) == 0);
    ledger_roll_end(supervisor);
    start_engine();
    connect_venue();
    CHECK(books()->day == day + 1 && books()->fees_e8 == 0 && books()->position_lots == 2);
    end();
}

/* A fill of the new day that arrives before the day begins is in the new day and not in the closed
 * one, with and without a crash in between. */
static void a_fill_ahead_of_the_roll_is_the_new_days(void)
{
    for (int crash = 0; crash < 2; crash++) {
        begin_with_limit(1000);
        config.quoter.enabled = false;
        int64_t day = wall / DAY_NS;
        CHECK(ledger_first_day(supervisor, day) == 0);
        begin_engine();
        fake.answer_cancels = false;
        uint64_t id;
        CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
        tick(BTC * 10 - 3001);
        CHECK(ledger_roll_pause(supervisor, now) > 0);
        run(1);
        wall += DAY_NS;
        struct execution_report ahead = fill(0, 10, true);
        ahead.wall_ns = wall;
        tell(&ahead);
        run(1);
        engine_publish(engine, now);
        int64_t loss = engine_page(engine)->day_micros;
        CHECK(loss < -3 * USD && books()->fees_e8 == ahead.fee_e8);
        if (crash) {
            engine_free(engine);
            ledger_close(ledger);
            ledger_reclaim(supervisor, ROLE_ENGINE);
        }
        CHECK(ledger_roll_begin(supervisor, (day + 1) * DAY_NS, now) == 0);
        if (crash) {
            start_engine();
            turn(1 * MS);
            connect_venue();
            tick(BTC * 10 - 3001);
        }
        run(2);
        ledger_roll_end(supervisor);
        run(2);
        engine_publish(engine, now);
        CHECK(books()->day == day + 1 && books()->position_lots == 10);
        CHECK(engine_page(engine)->day_micros == loss && books()->fees_e8 == ahead.fee_e8);
        CHECK(crash || engine_page(engine)->closed_micros == 0);
        end();
    }
}

/* A fill of yesterday that is learnt today belongs to yesterday; its loss is charged today as well,
 * also after a restart, and its gain is not. */
static void a_late_fill_belongs_to_its_day(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    begin_engine();
    int64_t day = wall / DAY_NS;
    CHECK(ledger_first_day(supervisor, day) == 0);
    fake.answer_cancels = false; /* the venue has matched them, and is slow to say so */
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report losing = fill(0, 10, true), gaining = fill(1, 10, true);
    losing.wall_ns = gaining.wall_ns = wall;
    tick(BTC * 10 - 3001); /* the mark at the day's end: 600 lower than both prices */
    end_day(day + 1);
    wall += DAY_NS;
    tell(&losing);
    run(2);
    int64_t loss = engine_page(engine)->late_micros;
    CHECK(loss < -3 * USD && books()->position_lots == 10 && books()->fees_e8 == 0);
    CHECK(engine_page(engine)->closed_day == day);
    CHECK(engine_page(engine)->closed_micros == loss);
    engine_publish(engine, now);
    CHECK(engine_page(engine)->day_micros == 0);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].positions_micros[0] >= -loss);
    int64_t charged = view.participants[ROLE_ENGINE].positions_micros[0];
    gaining.last_price.ticks -= 6000;
    tell(&gaining);
    run(2);
    CHECK(engine_page(engine)->late_micros > loss && books()->position_lots == 20);
    int64_t late = engine_page(engine)->late_micros;
    restart_engine();
    run(30);
    engine_publish(engine, now);
    CHECK(engine_page(engine)->late_micros == late);
    ledger_snapshot(supervisor, &view, now);
    CHECK(charged > 0 && view.participants[ROLE_ENGINE].positions_micros[0] > 0);
    end();
}

/* While the clock is doubted quotes are pulled and nothing new is sent; exits pass. */
static void a_doubted_clock_pulls_quotes(void)
{
    begin_with_a_day();
    ledger_doubt_clock(supervisor, now);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 0);
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_CLOCK_JUMP);
    CHECK(manual(SIDE_SELL, BTC * 10 + 1, 2, &id) == REJECT_NONE);
    ledger_doubt_clock(supervisor, 0);
    run(3);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

/* After ten minutes of standing still the venue is asked for everything before any order leaves;
 * until it answers the marks go on being charged. */
static void a_suspend_makes_everything_stale(void)
{
    begin_with_a_day();
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    int64_t reconciled_ns = view.participants[ROLE_ENGINE].reconciled_ns;
    int sent = fake.sent_count, asked = fake.reconciles;
    now += 600 * SECOND;
    ledger_heartbeat_supervisor(supervisor, now, now + 2 * SECOND);
    fake.answer_reconciles = false;
    turn(10 * MS);
    dead_man_ack();
    tick(BTC * 10 + 500);
    run(20);
    CHECK(fake.reconciles > asked && fake.sent_count == sent);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 0);
    ledger_snapshot(supervisor, &view, now);
    int64_t charged = view.participants[ROLE_ENGINE].positions_micros[BUDGET_LOSS];
    tick(BTC * 10 - 3000); /* 0.002 BTC lose 0.7 USD, of which a smaller shock gives 0.07 back */
    run(20);
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].positions_micros[BUDGET_LOSS] > charged + USD / 2);
    fake.answer_reconciles = true;
    tick(BTC * 10 + 510);
    run(30);
    tick(BTC * 10 + 500);
    run(2);
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.participants[ROLE_ENGINE].reconciled_ns > reconciled_ns + 600 * SECOND);
    CHECK(open_of(STRATEGY_QUOTER, -1) == 2);
    end();
}

/* Records from this one on were never written. */
static void blank_newest_segment(long kept)
{
    char path[512];
    newest_segment(path);
    FILE *file = fopen(path, "r+");
    CHECK(file != NULL);
    static const char blank[16 * 256];
    CHECK(fseek(file, kept * 256, SEEK_SET) == 0);
    CHECK(fwrite(blank, sizeof blank, 1, file) == 1 && fclose(file) == 0);
}

/* Killed after any record of the new day's first checkpoint, yesterday's gain is not today's. */
static void a_kill_while_the_day_rolls(void)
{
    for (long kept = 1; kept < 12; kept++) {
        begin_with_limit(1000);
        config.quoter.enabled = false;
        begin_engine();
        uint64_t id;
        CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_NONE);
        struct execution_report bought = fill(0, 2, true);
        tell(&bought);
        CHECK(manual(SIDE_SELL, BTC * 10 + 100, 2, &id) == REJECT_NONE);
        struct execution_report sold = fill(1, 2, true);
        tell(&sold);
        run(2);
        CHECK(books()->realized_micros > 0);
        CHECK(ledger_roll_pause(supervisor, now) > 0);
        CHECK(ledger_roll_begin(supervisor, (wall / DAY_NS + 1) * DAY_NS, now) == 0);
        ledger_roll_end(supervisor);
        kill_and_restart();
        engine_free(engine);
        blank_newest_segment(kept);
        ledger_close(ledger);
        ledger_reclaim(supervisor, ROLE_ENGINE);
        start_engine();
        connect_venue();
        CHECK(books()->realized_micros == 0 && books()->fees_e8 == 0);
        end();
    }
}

/* A graceful end cancels everything and is done when the venue has confirmed. */
static void drains(void)
{
    begin();
    engine_drain(engine);
    CHECK(!engine_drained(engine));
    run(3);
    CHECK(engine_drained(engine));
    end();
}

/* An engine whose line in the ledger was given to another process only cancels from then on. */
static void a_replaced_engine_stops(void)
{
    begin();
    ledger_reclaim(supervisor, ROLE_ENGINE);
    int sent = fake.sent_count;
    turn(10 * MS);
    answer_cancels();
    tick(BTC * 10 + 50);
    turn(10 * MS);
    CHECK(fake.cancels >= 2 && fake.sent_count == sent && open_of(STRATEGY_QUOTER, -1) == 0);
    end();
}

/* Loss beyond the day's limit halts by itself. */
static void daily_loss_halts(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    config.risk.daily_loss_micros = 10 * USD;
    begin_engine();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report report = fill(0, 10, true);
    tell(&report);
    tick(BTC * 10 - 9000);
    run(1);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    tick(BTC * 10 - 12000);
    run(1);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    end();
}

/* ---- money and positions without a fill --------------------------------------------------------
 */

#define E8 100000000LL

static struct cash_report movement(int kind, int64_t usd)
{
    static uint64_t identity;
    return (struct cash_report){
        .kind = (uint8_t)kind,
        .provisional = true,
        .amount_e8 = usd * E8,
        .wallet_e8 = usd * E8,
        .wall_ns = wall,
        .asset = "USDT",
        .identity = ++identity,
    };
}

static void tell_cash(const struct cash_report *report)
{
    fake.venue.events->on_cash(fake.venue.events->context, &fake.venue, report);
}

/* The venue's history knows of the movement from now on. */
static struct cash_report row_of(const struct cash_report *event)
{
    struct cash_report row = *event;
    row.provisional = false;
    row.identity = 0;
    snprintf(row.key, sizeof row.key, "TYPE%d:%d", row.kind, fake.rows_count + 1);
    fake.rows[fake.rows_count++] = row;
    return row;
}

static int64_t engine_used(void)
{
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    return view.participants[ROLE_ENGINE].used_micros[BUDGET_LOSS];
}

static const struct participant_page *page_now(void)
{
    engine_publish(engine, now);
    return engine_page(engine);
}

/* A venue whose wallet has been read, and an engine that quotes nothing. */
static void begin_with_cash(void)
{
    begin_with_limit(1000);
    config.quoter.enabled = false;
    config.risk.daily_loss_micros = 10000 * USD;
    fake.tells_cash = true;
    fake.wallet_e8 = 100000 * E8;
    begin_engine();
    run(20);
    CHECK(page_now()->venues[0].wallet_ns > 0);
    CHECK(page_now()->venues[0].books_e8 == 100000 * E8);
}

static void look_at_wallet(void)
{
    run(6100); /* past the periodic reconcile */
}

/* An event counts at once, its row confirms it and counts nothing more, however often either is
 * told; two charges of 600 under a limit of 1,000 halt. */
static void funding_is_part_of_the_limit(void)
{
    begin_with_cash();
    struct cash_report event = movement(CASH_FUNDING, -600);
    fake.wallet_e8 -= 600 * E8;
    tell_cash(&event);
    turn(1 * MS);
    CHECK(engine_used() == 600 * USD);
    CHECK(page_now()->cash_micros == -600 * USD && page_now()->day_micros == -600 * USD);
    CHECK(page_now()->venues[0].books_e8 == 99400 * E8);
    tell_cash(&event);
    struct cash_report row = row_of(&event);
    tell_cash(&row);
    tell_cash(&row);
    tell_cash(&event);
    turn(1 * MS);
    CHECK(engine_used() == 600 * USD && page_now()->venues[0].books_e8 == 99400 * E8);
    look_at_wallet();
    CHECK(engine_used() == 600 * USD && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    event = movement(CASH_FUNDING, -600);
    fake.wallet_e8 -= 600 * E8;
    tell_cash(&event);
    for (int n = 0; n < 200; n++) {
        ledger_heartbeat_supervisor(supervisor, now, now + 2 * SECOND);
        turn(10 * MS);
    }
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    CHECK(page_now()->day_micros == -1200 * USD);
    end();
}

/* A row whose event was lost counts when it is read; a late event of it counts nothing more. */
static void a_lost_event_is_found_in_the_history(void)
{
    begin_with_cash();
    struct cash_report event = movement(CASH_INSURANCE, -70);
    fake.wallet_e8 -= 70 * E8;
    row_of(&event);
    look_at_wallet();
    CHECK(page_now()->cash_micros == -70 * USD && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    tell_cash(&event);
    run(2);
    CHECK(page_now()->cash_micros == -70 * USD);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    end();
}

/* A wall clock that stood an hour ahead for a while hides no row of the time after. */
static void a_clock_that_was_ahead_hides_no_row(void)
{
    begin_with_cash();
    wall += 3600 * SECOND;
    look_at_wallet();
    wall -= 3600 * SECOND;
    look_at_wallet();
    struct cash_report event = movement(CASH_FUNDING, -70);
    fake.wallet_e8 -= 70 * E8;
    row_of(&event);
    look_at_wallet();
    CHECK(page_now()->cash_micros == -70 * USD);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

/* Deposits and withdrawals move the wallet and what the books expect, never the result. */
static void transfers_are_no_result(void)
{
    begin_with_cash();
    struct cash_report deposit = movement(CASH_TRANSFER, 5000);
    fake.wallet_e8 += 5000 * E8;
    tell_cash(&deposit);
    run(2);
    CHECK(page_now()->transfers_micros == 5000 * USD && page_now()->day_micros == 0);
    CHECK(engine_used() == 0);
    row_of(&deposit);
    struct cash_report withdrawal = movement(CASH_TRANSFER, -200);
    fake.wallet_e8 -= 200 * E8;
    row_of(&withdrawal);
    look_at_wallet();
    CHECK(page_now()->transfers_micros == 4800 * USD && page_now()->day_micros == 0);
    CHECK(page_now()->venues[0].books_e8 == 104800 * E8 && engine_used() == 0);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

/* One event for two positions and a row for each are the same money. */
static void sums_of_one_moment_match(void)
{
    begin_with_cash();
    struct cash_report event = movement(CASH_FUNDING, -30);
    fake.wallet_e8 -= 30 * E8;
    tell_cash(&event);
    struct cash_report part = movement(CASH_FUNDING, -10);
    row_of(&part);
    part = movement(CASH_FUNDING, -20);
    row_of(&part);
    look_at_wallet();
    CHECK(page_now()->cash_micros == -30 * USD);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

/* Killed after a row and after an event without one: each counts exactly once afterwards, and so
 * does what moved while the engine was away, fills included. */
static void cash_survives_a_restart(void)
{
    begin_with_cash();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report bought = fill(0, 10, true);
    bought.wallet_told = 1;
    bought.wallet_e8 = -12000000;
    fake.wallet_e8 -= 12000000;
    tell(&bought);
    struct cash_report first = movement(CASH_FUNDING, -5);
    fake.wallet_e8 -= 5 * E8;
    tell_cash(&first);
    row_of(&first);
    look_at_wallet();
    CHECK(page_now()->cash_micros == -5 * USD);
    struct cash_report second = movement(CASH_FUNDING, -6);
    fake.wallet_e8 -= 6 * E8;
    tell_cash(&second);
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    row_of(&second);
    wall += 3600 * SECOND;
    struct cash_report third = movement(CASH_TRANSFER, 100);
    fake.wallet_e8 += 100 * E8;
    row_of(&third);
    start_engine();
    CHECK(page_now()->cash_micros == -5 * USD);
    connect_venue();
    run(20);
    CHECK(page_now()->cash_micros == -11 * USD && page_now()->transfers_micros == 100 * USD);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(books()->position_lots == 10);
    tick(BTC * 10);
    run(2);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NONE);
    end();
}

/* Money that nothing explains: no new risk at once, exits go on, and trading halts when it stays;
 * after a person's resume the books follow, and the loss is today's. */
static void an_unexplained_difference_halts(void)
{
    begin_with_cash();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report bought = fill(0, 10, true);
    bought.wallet_told = 1;
    tell(&bought);
    run(2);
    fake.wallet_e8 -= 2; /* one smallest unit would be tolerated */
    for (int n = 0; n < 6100 && page_now()->venues[0].text[0] != 'i'; n++) {
        tick(BTC * 10);
        run(1);
    }
    CHECK(page_now()->venues[0].text[0] == 'i'); /* its cash differs … */
    tick(BTC * 10);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_CASH);
    CHECK(manual(SIDE_SELL, BTC * 10 + 1, 2, &id) == REJECT_NONE);
    run(1400);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    struct ledger_view view;
    ledger_snapshot(supervisor, &view, now);
    CHECK(view.reason == HALT_CASH);
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
    run(1000);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(page_now()->cash_micros == -1); /* never in our favour */
    tick(BTC * 10);
    run(2);
    CHECK(manual(SIDE_BUY, BTC * 10 - 10, 2, &id) == REJECT_NONE);
    end();
}

/* The same when the engine was ended by the halt: a person's resume counts for the next run too. */
static void a_resume_after_a_restart_settles_cash(void)
{
    begin_with_cash();
    fake.wallet_e8 -= 3 * E8;
    run(7600);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    connect_venue();
    run(20);
    CHECK(page_now()->venues[0].books_e8 == 100000 * E8); /* still halted: nobody has looked */
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
    look_at_wallet();
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(page_now()->cash_micros == -3 * USD);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    fake.wallet_e8 -= 3 * E8; /* what comes after it is new */
    run(7600);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
    end();
}

static void nobody_took_the_wallet_over(void)
{
    CHECK(page_now()->venues[0].books_e8 == 100000 * E8 && page_now()->cash_micros == 0);
    CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
}

/* A supervisor that starts again makes a new epoch too: that is nobody who looked, and money that
 * nothing explains still halts. So does it when the engine starts anew under it. */
static void a_restart_is_no_resume(void)
{
    for (int anew = 0; anew < 2; anew++) {
        begin_with_cash();
        fake.wallet_e8 -= 3 * E8;
        if (anew) {
            crash_and_restart();
            connect_venue();
        }
        CHECK(ledger_set_state(supervisor, LEDGER_INIT, HALT_NONE, 1) > 0);
        for (int n = 0; n < 6100 && page_now()->venues[0].text[0] != 'i'; n++)
            run(1);
        CHECK(page_now()->venues[0].text[0] == 'i'); /* its cash differs … */
        CHECK(ledger_state_now(supervisor) == LEDGER_INIT);
        CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
        run(1600);
        nobody_took_the_wallet_over();
        CHECK(ledger_set_state(supervisor, LEDGER_INIT, HALT_NONE, 1) > 0);
        run(5);
        CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
        run(500);
        CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8); /* a person has looked */
        CHECK(page_now()->cash_micros == -3 * USD);
        end();
    }
}

/* A reading that is spared, because one was just made, is made up for at once. */
static void a_resume_does_not_wait_for_the_next_minute(void)
{
    begin_with_cash();
    fake.wallet_e8 -= 3 * E8;
    for (int n = 0; n < 7600 && ledger_state_now(supervisor) != LEDGER_HALTED; n++)
        run(1);
    CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
    fake.tells_cash = false;
    run(5);
    fake.tells_cash = true;
    run(400);
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    end();
}

/* A halt for cash that a row has explained since gives no run after it leave to take over what
 * nobody has seen. */
static void a_settled_halt_accepts_nothing_new(void)
{
    for (int resumed_first = 0; resumed_first < 2; resumed_first++) {
        begin_with_cash();
        struct cash_report event = movement(CASH_FUNDING, -7);
        fake.wallet_e8 -= 7 * E8;
        run(7600);
        CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
        if (!resumed_first) {
            row_of(&event);
            run(3100);
            CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
        }
        CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
        if (resumed_first)
            row_of(&event);
        run(400);
        CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
        CHECK(page_now()->cash_micros == -7 * USD);
        crash_and_restart();
        fake.wallet_e8 -= 3 * E8;
        connect_venue();
        run(1600);
        CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8 + 3 * E8);
        CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
        end();
    }
}

/* A loss in a coin whose worth is not known: no new risk at once, a halt when the wallet has been
 * read, through crashes, until a person resumes; its row is the same loss. */
static void an_unpriced_loss_waits_for_a_person(void)
{
    for (int crashed = 0; crashed < 2; crashed++) {
        begin_with_cash();
        struct cash_report event = movement(CASH_COMMISSION, 0);
        event.unpriced = true;
        memset(event.asset, 0, sizeof event.asset);
        memcpy(event.asset, "BNB", 4);
        struct cash_report row = row_of(&event);
        tell_cash(crashed ? &row : &event);
        uint64_t id;
        run(1);
        tick(BTC * 10);
        CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_CASH);
        CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
        if (crashed) {
            run(1);
            crash_and_restart();
            connect_venue();
        }
        for (int n = 0; n < 1000 && ledger_state_now(supervisor) != LEDGER_HALTED; n++)
            run(1);
        CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
        if (crashed) { /* the engine ends with the halt, and a person resumes before the next run */
            run(2);
            engine_free(engine);
            ledger_close(ledger);
            CHECK(ledger_reclaim(supervisor, ROLE_ENGINE) >= 0);
        }
        CHECK(ledger_set_state(supervisor, LEDGER_INIT, HALT_NONE, 1) > 0);
        if (crashed) {
            fake.may_renew = true; /* as a new session finds it */
            start_engine();
            connect_venue();
        }
        run(20);
        CHECK(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
        look_at_wallet();
        CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
        tick(BTC * 10);
        run(2);
        CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_NONE);
        end();
    }
}

/* A difference that a later row explains lifts the doubt without a person. */
static void a_late_row_lifts_the_doubt(void)
{
    begin_with_cash();
    struct cash_report event = movement(CASH_FUNDING, -7);
    fake.wallet_e8 -= 7 * E8;
    look_at_wallet();
    uint64_t id;
    tick(BTC * 10);
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_CASH);
    row_of(&event);
    run(400);
    tick(BTC * 10);
    CHECK(manual(SIDE_BUY, BTC * 10, 2, &id) == REJECT_NONE);
    CHECK(page_now()->cash_micros == -7 * USD);
    end();
}

/* A charge of 120, and then a fill that does not tell what it did to the wallet. */
static struct execution_report fill_without_its_money(void)
{
    begin_with_cash();
    struct cash_report charge = movement(CASH_FUNDING, -120);
    fake.wallet_e8 -= 120 * E8;
    row_of(&charge);
    look_at_wallet();
    CHECK(page_now()->cash_micros == -120 * USD);
    uint64_t id;
    tick(BTC * 10);
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    struct execution_report bought = fill(last_sent(SIDE_BUY), 10, true);
    fake.wallet_e8 -= 12000000;
    return bought;
}

static void commission_row(const struct execution_report *of)
{
    fake.rows[fake.rows_count++] = (struct cash_report){
        .kind = CASH_NONE,
        .amount_e8 = -12000000,
        .wallet_e8 = -12000000,
        .wall_ns = wall,
        .asset = "USDT",
        .key = "COMMISSION:9",
        .trade_id = strtoll(of->execution_id, NULL, 10),
    };
}

static void the_charge_and_the_fill_are_booked(void)
{
    CHECK(page_now()->venues[0].books_e8 == fake.wallet_e8);
    CHECK(page_now()->cash_micros == -120 * USD);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
}

/* A fill that did not tell what it did to the wallet is completed by its rows, and a crash after
 * that finds the day's sums and the wallet as they were. */
static void a_fill_without_its_money_is_completed(void)
{
    struct execution_report bought = fill_without_its_money();
    commission_row(&bought);
    tell(&bought);
    look_at_wallet();
    the_charge_and_the_fill_are_booked();
    crash_and_restart();
    CHECK(page_now()->cash_micros == -120 * USD);
    connect_venue();
    look_at_wallet();
    the_charge_and_the_fill_are_booked();
    end();
}

/* A crash between such a fill and its row: the next run still knows that the row is wanted. */
static void a_crash_before_a_fills_row_loses_nothing(void)
{
    for (int checkpoints = 0; checkpoints < 2; checkpoints++) {
        struct execution_report bought = fill_without_its_money();
        tell(&bought);
        turn(1 * MS);
        for (int n = 0; n <= checkpoints; n++)
            crash_and_restart();
        commission_row(&bought);
        connect_venue();
        look_at_wallet();
        the_charge_and_the_fill_are_booked();
        end();
    }
}

/* A row that is read before the fill it belongs to is read again after it. */
static void a_row_before_its_fill_is_not_used_up(void)
{
    struct execution_report bought = fill_without_its_money();
    commission_row(&bought);
    tell_cash(&fake.rows[fake.rows_count - 1]);
    tell(&bought);
    look_at_wallet();
    the_charge_and_the_fill_are_booked();
    end();
}

/* Money of the next day counts before and after the roll; of a day that is closed, today. */
static void cash_belongs_to_its_day(void)
{
    begin_with_cash();
    int64_t day_ns = 86400 * SECOND, left = day_ns - wall % day_ns;
    struct cash_report before = movement(CASH_FUNDING, -1);
    before.provisional = false;
    snprintf(before.key, sizeof before.key, "A:1");
    tell_cash(&before);
    struct cash_report after = movement(CASH_FUNDING, -2);
    after.provisional = false;
    after.wall_ns = wall + left + 1;
    snprintf(after.key, sizeof after.key, "A:2");
    tell_cash(&after);
    CHECK(page_now()->cash_micros == -3 * USD);
    wall += left;
    end_day(wall / DAY_NS);
    run(2);
    CHECK(page_now()->cash_micros == -2 * USD);
    struct cash_report late = movement(CASH_FUNDING, -4);
    late.provisional = false;
    late.wall_ns = wall - 10 * SECOND;
    snprintf(late.key, sizeof late.key, "A:3");
    tell_cash(&late);
    CHECK(page_now()->cash_micros == -6 * USD);
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    CHECK(page_now()->cash_micros == -6 * USD);
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    wall += day_ns;
    CHECK(ledger_roll_pause(supervisor, now) > 0);
    CHECK(ledger_roll_begin(supervisor, wall, now) == 0);
    ledger_roll_end(supervisor);
    start_engine();
    CHECK(page_now()->cash_micros == 0);
    end();
}

/* Sums and wallets beyond all reason halt; they do not end the process. */
static void cash_beyond_reason_halts(void)
{
    for (int kind = 0; kind < 3; kind++) {
        begin_with_cash();
        for (int n = 0; n < 40 && kind < 2; n++) {
            struct cash_report row = movement(kind ? CASH_FUNDING : CASH_TRANSFER, 0);
            row.provisional = false;
            row.amount_e8 = row.wallet_e8 = 4000000000 * E8;
            snprintf(row.key, sizeof row.key, "A:%d", n);
            tell_cash(&row);
        }
        if (kind == 2)
            fake.wallet_e8 = INT64_MAX;
        for (int n = 0; n < 6100 && ledger_state_now(supervisor) != LEDGER_HALTED; n++)
            run(1);
        CHECK(ledger_state_now(supervisor) == LEDGER_HALTED);
        struct ledger_view view;
        ledger_snapshot(supervisor, &view, now);
        CHECK(view.reason == HALT_CASH);
        end();
    }
}

/* Killed after any record of the day's end, the next run finds the new day's cash, once. */
static void a_kill_while_the_day_rolls_keeps_cash(void)
{
    for (long kept = 1; kept < 12; kept++) {
        begin_with_cash();
        struct cash_report today = movement(CASH_FUNDING, -1);
        today.provisional = false;
        snprintf(today.key, sizeof today.key, "A:1");
        tell_cash(&today);
        struct cash_report tomorrow = movement(CASH_FUNDING, -2);
        tomorrow.provisional = false;
        tomorrow.wall_ns = (wall / DAY_NS + 1) * DAY_NS + 1;
        snprintf(tomorrow.key, sizeof tomorrow.key, "A:2");
        tell_cash(&tomorrow);
        CHECK(page_now()->cash_micros == -3 * USD);
        CHECK(ledger_roll_pause(supervisor, now) > 0);
        CHECK(ledger_roll_begin(supervisor, (wall / DAY_NS + 1) * DAY_NS, now) == 0);
        ledger_roll_end(supervisor);
        kill_and_restart();
        CHECK(page_now()->cash_micros == -2 * USD);
        engine_free(engine);
        blank_newest_segment(kept);
        ledger_close(ledger);
        ledger_reclaim(supervisor, ROLE_ENGINE);
        start_engine();
        CHECK(page_now()->cash_micros == -2 * USD);
        end();
    }
}

static void tell_position(int64_t lots, int64_t entry_usd, bool after_fill)
{
    fake.venue.events->on_position_changed(fake.venue.events->context, &fake.venue,
                                           &fake.instrument, (struct quantity){lots},
                                           entry_usd * 1000000000, after_fill);
}

/* A position that the venue changed by hand is charged in the same cycle; the reconcile that
 * follows settles the books without a profit, and trading goes on. */
static void a_position_changed_by_hand_is_charged_at_once(void)
{
    begin_with_cash();
    fake.position_lots = 40;
    fake.entry_ticks = BTC * 10;
    tell_position(40, BTC, false);
    turn(1 * MS);
    CHECK(books()->position_lots == 0);
    CHECK(engine_used() == 240 * USD); /* 0.04 BTC at 60,000 and a shock of 10 % */
    run(200);
    CHECK(books()->position_lots == 40 && books()->cost_micros == 2400 * USD);
    CHECK(engine_used() == 240 * USD && books()->realized_micros == 0);
    CHECK(page_now()->day_micros == 0 && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    /* Taken away again: the worse of both is charged until the venue's answer settles it. */
    fake.position_lots = 10;
    tell_position(10, BTC, false);
    turn(1 * MS);
    CHECK(engine_used() == 240 * USD);
    run(200);
    CHECK(books()->position_lots == 10 && books()->cost_micros == 600 * USD);
    CHECK(engine_used() == 60 * USD);
    engine_free(engine);
    ledger_close(ledger);
    ledger_reclaim(supervisor, ROLE_ENGINE);
    start_engine();
    connect_venue();
    run(20);
    CHECK(books()->position_lots == 10 && ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

/* What the venue takes away leaves at the entry that it told last, also when it told it together
 * with the position that our books held already. */
static void a_position_taken_away_loses_its_gain(void)
{
    begin_with_cash();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    run(2);
    struct execution_report report = fill(0, 10, true);
    report.fee_e8 = 0;
    report.wallet_told = 1;
    fake.entry_ticks = BTC * 10;
    tell(&report);
    tell_position(10, BTC - 1000, true);
    turn(1 * MS);
    fake.position_lots = 0;
    tell_position(0, 0, false);
    run(200);
    CHECK(books()->position_lots == 0 && books()->cost_micros == 0);
    CHECK(books()->realized_micros == -10 * USD); /* 0.01 BTC that were entered 1,000 lower */
    end();
}

/* The position of a fill may be told before or after its report: neither is a difference. One
 * whose report does not come is charged after the grace, and the fill is looked for. */
static void a_fills_position_waits_for_its_report(void)
{
    begin_with_cash();
    uint64_t id;
    CHECK(manual(SIDE_BUY, BTC * 10, 10, &id) == REJECT_NONE);
    run(2);
    int reconciles = fake.reconciles;
    struct execution_report first = fill(0, 4, true);
    first.wallet_told = 1;
    tell_position(4, BTC, true);
    int64_t used = engine_used();
    turn(1 * MS);
    CHECK(engine_used() <= used);
    tell(&first);
    run(250);
    CHECK(books()->position_lots == 4 && fake.reconciles == reconciles);
    struct execution_report second = fill(0, 4, true);
    second.wallet_told = 1;
    tell(&second);
    tell_position(8, BTC, true);
    run(250);
    CHECK(fake.reconciles == reconciles);
    struct execution_report lost = fill(0, 2, true);
    lost.wallet_told = 1;
    fake.missed[fake.missed_count++] = lost;
    tell_position(10, BTC, true);
    run(150);
    CHECK(books()->position_lots == 8);
    run(150);
    CHECK(books()->position_lots == 10 && fake.reconciles > reconciles);
    CHECK(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    end();
}

/* Telemetry messages carry the layout's kinds and sizes, and signals their numbers. */
static void telemetry_and_signals(void)
{
    begin();
    struct engine_message message;
    int signals = 0, reports = 0;
    while (engine_telemetry_pop(engine, &message)) {
        CHECK(message.header.length >= sizeof message.header);
        if (message.header.kind == MESSAGE_SIGNAL) {
            struct message_signal signal;
            memcpy(&signal, message.body, sizeof signal);
            CHECK(signal.mid_e9 == 60000050000000 && signal.volatility_e9 == 200000000);
            CHECK(signal.microprice_e9 > signal.bid_e9 && signal.microprice_e9 < signal.mid_e9);
            signals++;
        }
        reports += message.header.kind == MESSAGE_EXECUTION_REPORT;
    }
    CHECK(signals >= 1 && reports == 2);
    end();
}

int main(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/test-engine-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(ledger_path, sizeof ledger_path, "%s/ledger", folder);
    snprintf(journal_folder, sizeof journal_folder, "%s/engine", folder);
    CHECK(mkdir(journal_folder, 0700) == 0);
    signal(SIGXFSZ, SIG_IGN);
    quotes_both_sides();
    books_fills_once();
    obeys_a_halt();
    what_waits_for_the_socket_holds_acknowledgements_up();
    pulls_quotes_without_lease();
    a_stalled_turn_sends_nothing_without_lease();
    pulls_quotes_on_stale_data();
    unknown_orders_stay_charged();
    cancel_before_its_fill();
    reconnects();
    refusals_trip_the_guard();
    busy_socket_leaves_no_charge();
    budget_refuses();
    exits_while_marks_run_away();
    restarts();
    a_restart_keeps_the_deadline_of_an_order(true);
    a_restart_keeps_the_deadline_of_an_order(false);
    a_partly_filled_orphan_stays_charged();
    a_strangers_rest_is_charged();
    a_persons_order_is_charged_while_it_rests();
    a_persons_order_in_the_list_is_charged();
    another_pursers_order_halts_both();
    another_pursers_open_order_halts_at_start();
    another_purser_halts_without_a_card_too();
    another_pursers_history_does_not_halt();
    an_ended_order_found_open_halts();
    a_position_waits_for_its_mark();
    unconfigured_positions_block();
    unconfigured_results_roll_too();
    adopts_after_an_early_end();
    adopts_a_first_position();
    a_lost_day_is_made_of_the_venues_fills();
    a_lost_day_begins_with_the_venues_if_that_is_earlier();
    a_lost_day_that_ends_meanwhile_is_not_mixed();
    a_carried_position_opens_at_the_venues_mark();
    a_fill_between_the_answers_counts_once();
    a_rewritten_record_is_found();
    a_segment_that_is_no_file_is_named();
    mismatch_halts();
    hedges_to_a_target();
    a_flattened_account_stays_flat();
    foreign_fills_close_lots_in_turn();
    orders_leave_before_the_signal();
    survives_a_full_disk();
    no_day_begins_by_the_own_clock();
    the_day_ends_with_the_leader();
    unknown_orders_stay_charged_across_the_day();
    who_comes_late_begins_the_ledgers_day();
    a_late_fill_belongs_to_its_day();
    a_fill_ahead_of_the_roll_is_the_new_days();
    a_doubted_clock_pulls_quotes();
    a_suspend_makes_everything_stale();
    a_kill_while_the_day_rolls();
    drains();
    daily_loss_halts();
    a_replaced_engine_stops();
    telemetry_and_signals();
    funding_is_part_of_the_limit();
    a_lost_event_is_found_in_the_history();
    a_clock_that_was_ahead_hides_no_row();
    transfers_are_no_result();
    sums_of_one_moment_match();
    cash_survives_a_restart();
    an_unexplained_difference_halts();
    a_resume_after_a_restart_settles_cash();
    a_restart_is_no_resume();
    a_resume_does_not_wait_for_the_next_minute();
    a_settled_halt_accepts_nothing_new();
    an_unpriced_loss_waits_for_a_person();
    a_late_row_lifts_the_doubt();
    a_fill_without_its_money_is_completed();
    a_crash_before_a_fills_row_loses_nothing();
    a_row_before_its_fill_is_not_used_up();
    cash_belongs_to_its_day();
    cash_beyond_reason_halts();
    a_kill_while_the_day_rolls_keeps_cash();
    a_position_changed_by_hand_is_charged_at_once();
    a_position_taken_away_loses_its_gain();
    a_fills_position_waits_for_its_report();
    remove_files(journal_folder);
    rmdir(journal_folder);
    unlink(ledger_path);
    rmdir(folder);
    return 0;
}
