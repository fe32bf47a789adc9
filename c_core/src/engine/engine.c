/* Life cycle and the duty cycle. */
#include "engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../bridge/allocate.h"
#include "../base/status.h"

#define JOURNAL_INTERVAL_NS 10000000
#define MARK_INTERVAL_NS    60000000000
#define TELEMETRY_BYTES     (ENGINE_TELEMETRY * sizeof(struct engine_message) + 4096)

/* In the order in which they hear of a tick: whoever sends orders comes before the signal, whose
 * way to the bot is a system call. */
static void add_strategies(struct engine *engine)
{
    if (engine->config.hedger.enabled) {
        hedger_init(&engine->hedger, engine, &engine->config.hedger);
        engine->strategies[engine->strategy_count++] = &engine->hedger.strategy;
    }
    if (engine->config.quoter.enabled) {
        quoter_init(&engine->quoter, engine, &engine->config.quoter);
        engine->strategies[engine->strategy_count++] = &engine->quoter.strategy;
    }
    if (engine->config.signal.enabled) {
        signal_init(&engine->signal, engine, &engine->config.signal);
        engine->strategies[engine->strategy_count++] = &engine->signal.strategy;
    }
}

static bool open_journal(struct engine *engine)
{
    int result = engine_restore(engine);
    if (result < 0 && engine->replayed.text[0]) {
        status_set(STATUS_IO, "%s: in %s", engine->replayed.text, engine->config.journal_folder);
        return false;
    }
    if (result == 0)
        result = journal_open(&engine->journal, engine->config.journal_folder, &engine->replayed,
                              engine->config.mode, engine->restored.generation,
                              engine->config.journal_segment_bytes, engine_checkpoint, engine);
    if (result == 0)
        return true;
    status_set(STATUS_IO, "the journal in %s cannot be opened: %s; make space or fix its rights",
               engine->config.journal_folder, strerror(-result));
    return false;
}

static void judge_journal(struct engine *engine)
{
    const struct journal_replayed *read = &engine->replayed;
    if (read->healed)
        engine_say(engine, EVENT_WARNING, VENUE_NONE, 0, 0, "journal_was_damaged",
                   "%.110s; an earlier run went on from there", read->text);
    else if (read->damaged)
        engine_say(engine, EVENT_ERROR, VENUE_NONE, REJECT_JOURNAL, 0, "journal_damaged",
                   "%.110s; the venue's records fill the rest", read->text);
    if (read->headless)
        engine_say(engine, EVENT_WARNING, VENUE_NONE, REJECT_JOURNAL, 0, "journal_head_missing",
                   "the journal's head file was gone: records missing at its end would not show");
    if (read->records == 0 && read->head_sequence > 0)
        engine_journal_missing(engine, "the journal is gone: its head remembers records");
}

/* The ledger's line remembers the last run's newest seal, whatever became of the home folder. */
static void judge_ledger_head(struct engine *engine)
{
    uint8_t head[JOURNAL_DIGEST];
    const struct journal_replayed *read = &engine->replayed;
    uint64_t sequence =
        (uint64_t)ledger_journal_head(engine->ledger, ROLE_ENGINE, engine->config.mode, head);
    if (sequence == 0 || (read->damaged && !read->healed))
        return;
    if (read->records == 0)
        engine_journal_missing(engine, "the journal is gone: the ledger remembers records of it");
    else if (sequence > read->last_sequence)
        engine_say(
            engine, EVENT_ERROR, VENUE_NONE, REJECT_JOURNAL, 0, "journal_damaged",
            "%llu records are missing at the journal's end; the venue's records fill the rest",
            (unsigned long long)(sequence - read->last_sequence));
    else if (sequence == read->chain.sealed && memcmp(head, read->chain.head, JOURNAL_DIGEST) != 0)
        engine_halt(engine, HALT_JOURNAL, "the journal is another one than the ledger remembers");
}

struct engine *engine_new(const struct engine_config *config)
{
    const char *problem = risk_config_problem(&config->risk);
    if (problem) {
        status_set(STATUS_CONFIG, "%s", problem);
        return NULL;
    }
    struct engine *engine = ALLOCATE(struct engine);
    if (!engine || arena_init(&engine->arena, TELEMETRY_BYTES) != STATUS_OK) {
        free(engine);
        status_set(STATUS_LIMIT, "no memory for the engine");
        return NULL;
    }
    engine->config = *config;
    ring_init(&engine->telemetry, &engine->arena, ENGINE_TELEMETRY, sizeof(struct engine_message));
    arena_seal(&engine->arena);
    oms_init(&engine->oms);
    risk_runaway_init(&engine->runaway, &config->risk);
    engine->next_sequence = 1;
    engine->content.pid = getpid();
    engine->content.started_wall_ns =
        config->started_wall_ns ? config->started_wall_ns : engine_wall_ns(engine);
    if (!open_journal(engine)) {
        engine_free(engine);
        return NULL;
    }
    judge_journal(engine);
    add_strategies(engine);
    engine_totals(engine);
    return engine;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    if (engine->journal)
        engine_journal_marks(engine);
    journal_close(engine->journal);
    arena_fini(&engine->arena);
    free(engine);
}

/* The ledger's generations begin anew with each boot; the venue's memory of our ids does not. So
 * the generation in the ids also stays above every one in the journal. */
void engine_attach_ledger(struct engine *engine, struct ledger *ledger)
{
    engine->ledger = ledger;
    ledger_snapshot(ledger, &engine->view, 0);
    engine->line_generation = engine->view.participants[ROLE_ENGINE].generation;
    engine->generation = engine->line_generation;
    if (engine->generation <= engine->restored.generation)
        engine->generation = engine->restored.generation + 1;
    /* Nothing starts before a halt is lifted: what the last run halted for, a person has seen. */
    engine->halt_seen = engine->restored.cash_halt;
    judge_ledger_head(engine);
    engine_take_day(engine);
}

/* The sequence of fills never goes back, even when the journal was lost and the page was not. */
void engine_attach_page(struct engine *engine, struct page *page,
                        const struct participant_page *previous)
{
    engine->page = page;
    if (previous && previous->fills_total > 0 && previous->mode == engine->config.mode &&
        engine->replayed.records == 0)
        engine_journal_missing(engine, "the journal is gone: the last run's page shows fills");
    if (!previous || previous->fills_total <= engine->content.fills_total)
        return;
    memcpy(engine->content.fills, previous->fills, sizeof previous->fills);
    engine->content.fills_total = previous->fills_total;
    engine_journal_control(engine, JOURNAL_CONTROL_FILLS, NULL, VENUE_NONE, previous->fills_total);
}

void engine_attach_bridge(struct engine *engine, const struct engine_bridge *bridge)
{
    engine->bridge = *bridge;
}

bool engine_add_venue(struct engine *engine, struct venue *venue, bool delegated)
{
    if (engine->venue_count == ENGINE_VENUES)
        return false;
    struct engine_venue *ev = &engine->venues[engine->venue_count++];
    memset(ev, 0, sizeof *ev);
    ev->venue = venue;
    ev->delegated = delegated;
    ev->session = venue->session_state;
    ev->may_renew = true;
    risk_throttle_init(&ev->throttle, engine->config.risk.orders_per_10s);
    if (venue->id < sizeof engine->restored.known / sizeof engine->restored.known[0]) {
        ev->reconcile.adopt = !engine->restored.known[venue->id];
        memcpy(ev->reconcile.since, engine->restored.since[venue->id], sizeof ev->reconcile.since);
    }
    engine_claim_cash(engine, ev);
    engine_listen(engine, venue);
    engine_foreign_begin(engine);
    return true;
}

/* The ledger keeps the newest seal as well. */
static void tell_seal(struct engine *engine)
{
    unsigned char digest[JOURNAL_DIGEST];
    uint64_t sealed = journal_seal_head(engine->journal, digest);
    if (!engine->ledger || sealed == engine->sealed_told)
        return;
    engine->sealed_told = sealed;
    ledger_journal_put(engine->ledger, engine->config.mode, (int64_t)sealed, digest);
}

/* The journal is sealed, and its files are made and retired here, outside the path from tick to
 * order. */
static int journal_work(struct engine *engine)
{
    if (engine->now_ns < engine->next_journal_ns)
        return 0;
    engine->next_journal_ns = engine->now_ns + JOURNAL_INTERVAL_NS;
    int work = journal_do_work(engine->journal, engine->now_ns);
    tell_seal(engine);
    if (engine->now_ns >= engine->next_mark_ns) {
        engine->next_mark_ns = engine->now_ns + MARK_INTERVAL_NS;
        journal_prepare(engine->journal);
        engine_journal_marks(engine);
    }
    bool full = journal_room_now(engine->journal) != JOURNAL_ROOM_FREE ||
                journal_problem(engine->journal)[0];
    if (full != engine->journal_told) {
        engine->journal_told = full;
        engine_say(engine, full ? EVENT_ERROR : EVENT_INFO, VENUE_NONE, full ? REJECT_JOURNAL : 0,
                   0, full ? "journal_full" : "journal_recovered", "%s",
                   full ? journal_problem(engine->journal) : "the journal has room again");
    }
    return work;
}

int engine_do_work(struct engine *engine, int64_t now_ns)
{
    int work = 0;
    engine_watch_stall(engine, now_ns);
    engine->now_ns = now_ns;
    engine_watch_ledger(engine);
    for (int n = 0; n < engine->venue_count; n++)
        work += engine->venues[n].venue->operations->do_work(engine->venues[n].venue, now_ns);
    work += engine_reconcile_work(engine);
    engine_watch_positions(engine);
    for (int n = 0; n < engine->strategy_count; n++)
        if (engine->strategies[n]->operations->on_timer)
            engine->strategies[n]->operations->on_timer(engine->strategies[n], now_ns);
    work += engine_foreign_work(engine);
    work += engine_sweep(engine);
    work += engine_settle_ledger(engine);
    work += journal_work(engine);
    engine->content.counters[COUNTER_DUTY_CYCLES]++;
    if (now_ns >= engine->next_page_ns)
        engine_publish(engine, now_ns);
    return work;
}

int64_t engine_deadline_ns(const struct engine *engine)
{
    int64_t deadline = engine->next_page_ns;
    if (engine->oms.open > 0 && engine->next_sweep_ns < deadline)
        deadline = engine->next_sweep_ns;
    return deadline;
}

void engine_hedge(struct engine *engine, const struct message_hedge *hedge)
{
    engine->content.counters[COUNTER_HEDGE_REQUESTS]++;
    for (int n = 0; n < engine->strategy_count; n++)
        if (engine->strategies[n]->operations->on_hedge)
            engine->strategies[n]->operations->on_hedge(engine->strategies[n], hedge,
                                                        engine->now_ns);
}

void engine_hedge_withdraw(struct engine *engine)
{
    for (int n = 0; n < STRATEGY_MARKETS; n++)
        engine->hedger.markets[n].wanted = false;
}

void engine_drain(struct engine *engine)
{
    engine->draining = true;
    engine->stopping = true;
    engine->adding = false;
    engine->sweep_now = true;
}

bool engine_drained(const struct engine *engine)
{
    return engine->draining && engine->oms.open == 0;
}

int engine_market_count(const struct engine *engine)
{
    return engine->market_count;
}

const struct engine_market *engine_market_at(const struct engine *engine, int index)
{
    return index >= 0 && index < engine->market_count ? ENGINE_MARKET(engine, index) : NULL;
}

const struct engine_market *engine_market_find(const struct engine *engine, uint16_t venue,
                                               const char *symbol)
{
    for (int n = 0; n < engine->market_count; n++) {
        const struct instrument *i = engine->markets[n].instrument;
        if (i->venue == venue && strncmp(i->symbol, symbol, sizeof i->symbol) == 0)
            return ENGINE_MARKET(engine, n);
    }
    return NULL;
}

void engine_step_aside(struct engine *engine, uint16_t market, int side, int64_t until_ns)
{
    engine->aside_until_ns[market][side] = until_ns;
}

int64_t engine_step_aside_until(const struct engine *engine, uint16_t market, int side)
{
    return engine->aside_until_ns[market][side];
}
