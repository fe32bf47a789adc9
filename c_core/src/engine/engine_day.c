/* The end of a day. The engine follows the words of the ledger's header (bridge/ledger.h) and never
 * begins a day by its own clock; a fill of a day that is closed belongs to that day, and its loss
 * counts against today's limit as well. */
#include "engine_private.h"

/* So long the cancels may take until the pause is acknowledged without their answers: what rests
 * then at the venue is of before the pause, and nothing more can leave. */
#define CANCELS_WAIT_NS 600000000
/* A turn that begins so long after the one before finds nothing of what it knew fresh. */
#define STOOD_STILL_NS 5000000000
#define NS_PER_S       1000000000LL

bool engine_day_ends(const struct engine *engine)
{
    return engine->roll.phase != ROLL_NONE;
}

int64_t engine_charged_day_micros(const struct engine *engine)
{
    return engine->day_micros + (engine->late_micros < 0 ? engine->late_micros : 0);
}

static void show_closed_day(struct engine *engine)
{
    engine->content.day = engine->day;
    engine->content.late_micros = engine->late_micros;
    engine->content.closed_day = engine->closed_day;
    engine->content.closed_micros = engine->closed_micros;
}

/* The day after its books, as in a checkpoint: a reader that stops between settles them again, to
 * the same end. */
static void begin_day(struct engine *engine, int64_t day)
{
    engine_journal_marks(engine);
    engine->closed_day = engine->day;
    engine->closed_micros = engine->day_micros;
    engine->late_micros = 0;
    for (int n = 0; n < engine->market_count; n++) {
        if (!ENGINE_MARKET(engine, n)->delegated)
            engine->closed_micros -= pnl_ahead_micros(&ENGINE_MARKET(engine, n)->pnl);
        pnl_roll(&ENGINE_MARKET(engine, n)->pnl, day);
        engine_market_changed(engine, ENGINE_MARKET(engine, n));
    }
    engine_roll_unclaimed(engine);
    engine_roll_cash(engine, day);
    engine->day = day;
    engine_history_restart(engine);
    engine_totals(engine);
    engine_journal_marks(engine);
    engine_journal_control(engine, JOURNAL_CONTROL_DAY, NULL, VENUE_NONE, day);
    show_closed_day(engine);
    engine_say(engine, EVENT_INFO, VENUE_NONE, 0, 0, "day_closed",
               "day %lld closed with %lld micro-dollars; the count begins anew",
               (long long)engine->closed_day, (long long)engine->closed_micros);
}

void engine_take_day(struct engine *engine)
{
    ledger_roll_now(engine->ledger, &engine->roll);
    if (engine->roll.day == 0 || engine->roll.phase == ROLL_PAUSE)
        return;
    if (engine->restored.day == 0 && engine->market_count == 0) {
        engine->day = engine->roll.day;
        engine_roll_cash(engine, engine->day);
        engine_journal_control(engine, JOURNAL_CONTROL_DAY, NULL, VENUE_NONE, engine->day);
    } else if (engine->roll.day > engine->day) {
        begin_day(engine, engine->roll.day);
    } else if (engine->roll.day < engine->day) {
        engine_say(engine, EVENT_WARNING, VENUE_NONE, 0, 0, "day_ahead",
                   "the journal counts day %lld, the ledger day %lld: its sums stay until the "
                   "ledger is beyond it",
                   (long long)engine->day, (long long)engine->roll.day);
    }
    show_closed_day(engine);
    ledger_roll_ack(engine->ledger, engine->roll.sequence, ROLL_NONE, engine->day);
}

/* Nothing more can leave: each order passes the gate before it is written, and none waits for its
 * socket. */
static bool is_quiet(const struct engine *engine)
{
    if (engine_is_unsent(engine))
        return false;
    return engine->oms.open <= engine->oms.unknown ||
           engine->now_ns - engine->roll.began_ns >= CANCELS_WAIT_NS;
}

void engine_follow_day(struct engine *engine)
{
    const struct ledger_roll *roll = &engine->roll;
    if (engine->replaced)
        return;
    if (roll->phase != ROLL_PAUSE && roll->day > engine->day) {
        begin_day(engine, roll->day);
        engine_publish(engine, engine->now_ns);
    } else if (roll->phase == ROLL_PAUSE && !is_quiet(engine)) {
        return;
    }
    ledger_roll_ack(engine->ledger, roll->sequence, roll->phase, engine->day);
}

void engine_watch_stall(struct engine *engine, int64_t now_ns)
{
    int64_t stood_ns = now_ns - engine->now_ns;
    if (engine->now_ns == 0 || stood_ns < STOOD_STILL_NS || !engine->rebuilt)
        return;
    engine->rebuilt = false;
    for (int n = 0; n < engine->venue_count; n++) {
        struct engine_venue *ev = &engine->venues[n];
        if (ev->delegated)
            continue;
        ev->reconciled = false;
        if (ev->session >= SESSION_SYNCING)
            reconcile_want(&ev->reconcile, now_ns);
    }
    engine_say(engine, EVENT_WARNING, VENUE_NONE, REJECT_NOT_RECONCILED, 0, "stood_still",
               "this process stood still for %lld s (a suspend, or a stop): orders, fills and "
               "positions are asked for anew",
               (long long)(stood_ns / NS_PER_S));
}

bool engine_is_late(const struct engine *engine, const struct engine_market *market,
                    int64_t venue_wall_ns)
{
    return venue_wall_ns > 0 && market->pnl.opening.ticks > 0 &&
           pnl_day_number(venue_wall_ns) < engine->day;
}

void engine_book_late(struct engine *engine, struct engine_market *market,
                      const struct execution_report *report, bool reversed)
{
    int64_t result = pnl_late(&market->pnl, report->side, report->last_price, report->last_quantity,
                              report->fee_e8, reversed);
    engine->late_micros += result;
    engine->closed_micros += result;
    engine_journal_control(engine, JOURNAL_CONTROL_LATE, NULL, VENUE_NONE, engine->late_micros);
    show_closed_day(engine);
    engine_say(engine, EVENT_WARNING, market->instrument->venue, 0, report->client_order_id,
               "fill_of_closed_day",
               "a fill of day %lld: %lld micro-dollars are of that day; today's limit is charged "
               "with the loss",
               (long long)pnl_day_number(report->wall_ns), (long long)result);
}
