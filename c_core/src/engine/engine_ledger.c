/* Totals, reprice, halts and leases: the engine's side of the shared budget. */
#include "engine_private.h"

#include <errno.h>

#define OVER_READINGS         10
#define OVER_INTERVAL_NS      100000000
#define UNCLAIMED_INTERVAL_NS 60000000000

void engine_totals(struct engine *engine)
{
    int64_t day = engine_unclaimed_day_micros(engine) + engine->cash_micros;
    int64_t used[2] = {0, 0}, positions[2] = {0, 0};
    for (int n = 0; n < engine->market_count; n++) {
        const struct engine_market *market = ENGINE_MARKET(engine, n);
        if (market->delegated)
            continue;
        day += pnl_day_micros(&market->pnl);
        for (int d = 0; d < 2; d++) {
            used[d] += market->exposure.used_micros[d];
            positions[d] += market->exposure.positions_micros[d];
        }
    }
    engine->day_micros = day;
    day = engine_charged_day_micros(engine);
    engine->loss_micros = day < 0 ? -day : 0;
    for (int d = 0; d < 2; d++) {
        int64_t loss = d == BUDGET_LOSS ? engine->loss_micros : 0;
        engine->used_micros[d] = used[d] + loss;
        engine->positions_micros[d] = positions[d] + loss;
    }
    engine->dirty = true;
}

void engine_market_changed(struct engine *engine, struct engine_market *market)
{
    market->exposure.position_lots = market->pnl.position_lots;
    market->exposure.cost_micros = market->pnl.cost_micros;
    market->exposure.mark = market->pnl.mark;
    exposure_update(&market->exposure);
    engine_totals(engine);
}

void engine_halt(struct engine *engine, uint32_t reason, const char *text)
{
    struct message_halt halt = {.reason = reason};
    for (size_t n = 0; n + 1 < sizeof halt.text && text[n]; n++)
        halt.text[n] = text[n];
    if (engine->ledger)
        halt.epoch = (uint32_t)ledger_halt(engine->ledger, reason);
    engine->halt_seen = true;
    engine->sweep_now = true;
    engine_journal_control(engine, JOURNAL_CONTROL_HALT, NULL, VENUE_NONE, (int64_t)reason);
    engine_tell(engine, MESSAGE_HALT, &halt, sizeof halt);
    engine_say(engine, EVENT_ERROR, VENUE_NONE, REJECT_HALTED, 0, "halted", "%s", text);
}

bool engine_all_reconciled(const struct engine *engine)
{
    int venues = 0;
    for (int n = 0; n < engine->venue_count; n++) {
        if (engine->venues[n].delegated)
            continue;
        if (!engine->venues[n].reconciled)
            return false;
        venues++;
    }
    return venues > 0;
}

bool engine_is_unsent(const struct engine *engine)
{
    for (int n = 0; n < engine->venue_count; n++) {
        const struct venue *venue = engine->venues[n].venue;
        if (venue->operations->unsent && venue->operations->unsent(venue))
            return true;
    }
    return false;
}

/* Only a person leaves HALTED: the guards that only a person lifts are lifted. A new epoch alone is
 * no sign of one, because each start of the supervisor begins one as well. */
static void resume(struct engine *engine)
{
    risk_runaway_init(&engine->runaway, &engine->config.risk);
    engine->runaway_told = false;
    engine_foreign_begin(engine);
    engine_cash_resumed(engine);
    engine_journal_control(engine, JOURNAL_CONTROL_RESUME, NULL, VENUE_NONE, engine->view.epoch);
}

/* While the lease is fresh and trading is not halted the venue's dead-man switch may be renewed. */
static void set_dead_man(struct engine *engine, bool may_renew)
{
    for (int n = 0; n < engine->venue_count; n++) {
        struct engine_venue *ev = &engine->venues[n];
        if (ev->may_renew == may_renew || !ev->venue->operations->set_dead_man)
            continue;
        ev->may_renew = may_renew;
        ev->venue->operations->set_dead_man(ev->venue, may_renew);
    }
}

/* Another process has taken our line: it answers for what is open; this one only cancels. */
static void watch_generation(struct engine *engine)
{
    if (engine->replaced ||
        engine->view.participants[ROLE_ENGINE].generation == engine->line_generation)
        return;
    engine->replaced = true;
    engine_say(engine, EVENT_ERROR, VENUE_NONE, REJECT_STALE_GENERATION, 0, "engine_replaced", "%s",
               reject_reason_text(REJECT_STALE_GENERATION));
}

void engine_watch_ledger(struct engine *engine)
{
    if (!engine->ledger) {
        engine->adding = false;
        engine->stopping = engine->draining;
        return;
    }
    struct ledger_view *view = &engine->view;
    ledger_glance(engine->ledger, view, engine->now_ns);
    ledger_roll_now(engine->ledger, &engine->roll);
    watch_generation(engine);
    bool leased = engine->now_ns < view->lease_deadline_ns;
    bool halted = view->state == LEDGER_HALTED;
    bool was_adding = engine->adding, was_stopping = engine->stopping;
    bool quitting = engine->draining || engine->replaced;
    bool day_ends = engine_day_ends(engine);
    engine->adding = view->state == LEDGER_ACTIVE && leased && !quitting && !day_ends &&
                     engine->roll.clock_doubt_ns == 0 &&
                     view->participants[ROLE_ENGINE].state != LEDGER_REDUCING &&
                     !engine->foreign.other[0] && !engine_cash_doubted(engine);
    engine->stopping =
        halted || view->state == LEDGER_CANCEL_ONLY || quitting || (day_ends && leased);
    if (engine->adding != was_adding || engine->stopping != was_stopping)
        engine->sweep_now = true;
    set_dead_man(engine, (leased || view->state == LEDGER_INIT) && !halted);
    if (!halted && engine->halt_seen)
        resume(engine);
    engine->halt_seen = halted;
}

/* Used above alloc by more than a twentieth, reading after reading: the marks run away from us. */
static void watch_over_budget(struct engine *engine)
{
    const struct ledger_participant_view *mine = &engine->view.participants[ROLE_ENGINE];
    if (engine->now_ns < engine->next_over_ns || !engine->charging)
        return;
    engine->next_over_ns = engine->now_ns + OVER_INTERVAL_NS;
    bool over = false;
    for (int d = 0; d < 2; d++)
        over = over || engine->used_micros[d] > muldiv_down(mine->alloc_micros[d], 105, 100);
    engine->over_budget = over ? engine->over_budget + 1 : 0;
    if (engine->over_budget >= OVER_READINGS && engine->view.state < LEDGER_HALTED) {
        engine->over_budget = 0;
        engine_halt(engine, HALT_OVER_BUDGET,
                    "the risk in use stays more than 5 % above its rights");
    }
}

static void watch_daily_loss(struct engine *engine)
{
    if (engine_charged_day_micros(engine) > -engine->config.risk.daily_loss_micros ||
        engine->view.state >= LEDGER_HALTED)
        return;
    engine_halt(engine, HALT_DAILY_LOSS, "today's loss limit is reached");
}

/* truth_is_known: each position has a market that prices it, and the journal tells of none that is
 * not configured. Until then what the last run left charged stays as it is. */
static bool truth_is_known(struct engine *engine)
{
    const char *symbol = engine_unclaimed_symbol(engine);
    if (symbol && engine->now_ns >= engine->next_unclaimed_ns) {
        engine->next_unclaimed_ns = engine->now_ns + UNCLAIMED_INTERVAL_NS;
        engine_say(engine, EVENT_ERROR, VENUE_NONE, REJECT_NOT_RECONCILED, 0, "books_unclaimed",
                   "the journal tells of %.32s, which is not configured: add it to symbols, or "
                   "close it with the configuration that opened it",
                   symbol);
    }
    for (int n = 0; n < engine->market_count; n++) {
        const struct engine_market *market = ENGINE_MARKET(engine, n);
        if (!market->delegated && market->pnl.position_lots != 0 && !market->top.synced)
            return false;
    }
    return symbol == NULL;
}

static void rebuild(struct engine *engine)
{
    uint64_t keep[OMS_ORDERS];
    int count = 0;
    struct oms_entry *entry;
    for (int cursor = 0; (entry = oms_next(&engine->oms, &cursor)) != NULL;)
        if (entry->order.ledger_slot != OMS_SLOT_NONE)
            keep[count++] = entry->order.client_order_id;
    engine_totals(engine);
    int result = ledger_rebuild(engine->ledger, engine->used_micros, engine->positions_micros, keep,
                                count, engine->now_ns);
    if (result < 0 && result != -ENOSPC)
        return;
    engine->rebuilt = engine->charging = true;
    engine->dirty = true;
    engine_say(engine, result ? EVENT_WARNING : EVENT_INFO, VENUE_NONE, result ? REJECT_BUDGET : 0,
               0, "ledger_rebuilt",
               result ? "positions are above what the budget has left" : "books and venues agree");
}

/* The guard refuses orders by itself; the halt makes a person look. */
static void watch_runaway(struct engine *engine)
{
    if (!engine->runaway.tripped || engine->runaway_told)
        return;
    engine->runaway_told = true;
    engine_journal_control(engine, JOURNAL_CONTROL_RUNAWAY, NULL, VENUE_NONE, 0);
    engine_halt(engine, HALT_BUG, "too many refusals or repeated fills: look, then control resume");
}

void engine_reprice(struct engine *engine)
{
    int result = ledger_reprice(engine->ledger, engine->used_micros, engine->positions_micros,
                                engine->now_ns);
    engine->content.counters[COUNTER_REPRICE_SHORT] += result < 0;
    engine->dirty = false;
    engine->next_reprice_ns = engine->now_ns + ENGINE_REPRICE_INTERVAL_NS;
}

int engine_settle_ledger(struct engine *engine)
{
    if (!engine->ledger)
        return 0;
    int work = 0;
    if (!engine->rebuilt && engine_all_reconciled(engine) && truth_is_known(engine)) {
        rebuild(engine);
        /* Until now the leader did not wait for us, so a day may have begun; from now on it does.
         */
        ledger_roll_now(engine->ledger, &engine->roll);
        work++;
    }
    if (engine->charging && (engine->dirty || engine->now_ns >= engine->next_reprice_ns)) {
        work += engine->dirty;
        engine_reprice(engine);
    }
    watch_over_budget(engine);
    watch_daily_loss(engine);
    watch_runaway(engine);
    engine_follow_day(engine);
    ledger_beat(engine->ledger, engine->now_ns,
                engine->view.state >= LEDGER_CANCEL_ONLY && !engine_is_unsent(engine));
    return work;
}
