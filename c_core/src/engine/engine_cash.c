/*
 * Money that moves without a fill: what the connector tells of it, and the comparison of a venue's
 * wallet with the books. Positions that do are in engine_position.c.
 *
 * A reading counts when nothing moved between its question and its end: the wallet is asked for
 * before the missed fills and the history of cash. One that differs stops new risk at once
 * (REJECT_CASH) and is repeated every CASH_AGAIN_NS, because a row may come later than its money;
 * when it still differs CASH_PATIENCE_NS after the first, trading halts.
 */
#include "engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASH_AGAIN_NS    3000000000
#define CASH_CONFIRM_NS  5000000000 /* after an event: its row is there by then */
#define CASH_PATIENCE_NS 10000000000
#define CASH_HALTED_NS   30000000000   /* between readings while it stays so */
#define UNEXPLAINED      "UNEXPLAINED" /* the type of a difference that the books took over */
#define CASH_TRIES       5 /* readings that something moved under, before the next minute */
#define CLOCK_MARGIN_NS  1000000000   /* between the venue's clock and our idea of it */
#define OVERLAP_NS       300000000000 /* rows this old are read again: some come late */

/* ---- totals -----------------------------------------------------------------------------------
 */

static bool has_cash(const struct engine_venue *ev)
{
    return !ev->delegated;
}

void engine_cash_sums(struct engine *engine)
{
    int64_t today = 0, transfers = 0;
    for (int n = 0; n < engine->venue_count; n++) {
        if (!has_cash(&engine->venues[n]))
            continue;
        today += cash_micros(cash_today_e8(&engine->venues[n].cash));
        transfers += cash_micros(cash_transfers_e8(&engine->venues[n].cash));
    }
    for (int id = 0; id < RESTORED_VENUES; id++) {
        if (engine->restored.cash_claimed[id])
            continue;
        today += cash_micros(cash_today_e8(&engine->restored.cash[id]));
        transfers += cash_micros(cash_transfers_e8(&engine->restored.cash[id]));
    }
    engine->cash_micros = today;
    engine->transfers_micros = transfers;
}

static void cash_changed(struct engine *engine)
{
    for (int n = 0; n < engine->venue_count; n++) {
        if (!engine->venues[n].cash.beyond)
            continue;
        engine->venues[n].cash.beyond = false;
        engine_halt(engine, HALT_CASH, "the venue's cash comes to sums beyond all reason");
    }
    engine_cash_sums(engine);
    engine_totals(engine);
}

void engine_roll_cash(struct engine *engine, int64_t day)
{
    for (int n = 0; n < engine->venue_count; n++)
        cash_roll(&engine->venues[n].cash, day);
    for (int id = 0; id < RESTORED_VENUES; id++)
        cash_roll(&engine->restored.cash[id], day);
    engine_cash_sums(engine);
}

/* ---- the journal ------------------------------------------------------------------------------
 */

static void journal_sums(struct engine *engine, uint16_t venue, const struct cash *cash)
{
    struct journal_record record = {
        .kind = JOURNAL_CASH,
        .type = CASH_NONE,
        .venue = venue,
        .last_quantity_e9 = cash->today_e8 * 10,
        .last_price_e9 = cash->transfers_e8 * 10,
        .quantity_e9 = cash->next_today_e8 * 10,
        .price_e9 = cash->next_transfers_e8 * 10,
        .position_e9 = cash->from_ns,
        .cumulative_e9 = cash->known ? cash->books_ns : 0,
        .cost_micros = cash->day,
        .reject_reason = cash->unpriced ? REJECT_CASH : REJECT_NONE,
        .wallet_e8 = cash->books_e8,
        .venue_wall_ns = cash->read_ns,
    };
    engine_journal_append(engine, &record);
}

static void journal_untold(struct engine *engine, uint16_t venue, int64_t trade_id)
{
    engine_journal_control(engine, JOURNAL_CONTROL_UNTOLD, NULL, venue, trade_id);
}

static void journal_cash(struct engine *engine, uint16_t venue, const struct cash *cash)
{
    if (cash->from_ns != 0)
        journal_sums(engine, venue, cash);
    for (int n = 0; n < CASH_UNTOLD; n++)
        if (cash->untold[n] != 0)
            journal_untold(engine, venue, cash->untold[n]);
}

void engine_journal_cash(struct engine *engine)
{
    for (int n = 0; n < engine->venue_count; n++)
        if (has_cash(&engine->venues[n]))
            journal_cash(engine, engine->venues[n].venue->id, &engine->venues[n].cash);
    for (int id = 0; id < RESTORED_VENUES; id++)
        if (!engine->restored.cash_claimed[id])
            journal_cash(engine, (uint16_t)id, &engine->restored.cash[id]);
}

static void journal_row(struct engine *engine, const struct engine_venue *ev,
                        const struct cash_report *report)
{
    struct journal_record record = {
        .kind = JOURNAL_CASH,
        .type = report->kind,
        .venue = ev->venue->id,
        .last_quantity_e9 = report->amount_e8 * 10,
        .last_price_e9 = report->wallet_e8 * 10,
        .reject_reason = ev->cash.unpriced ? REJECT_CASH : REJECT_NONE,
        .wallet_e8 = ev->cash.books_e8,
        .venue_wall_ns = report->wall_ns,
    };
    memcpy(record.symbol, report->asset, sizeof report->asset);
    memcpy(record.execution_id, report->key, sizeof record.execution_id);
    engine_journal_append(engine, &record);
}

static void read_sums(struct cash *cash, const struct journal_record *record)
{
    cash->today_e8 = record->last_quantity_e9 / 10;
    cash->transfers_e8 = record->last_price_e9 / 10;
    cash->next_today_e8 = record->quantity_e9 / 10;
    cash->next_transfers_e8 = record->price_e9 / 10;
    cash->from_ns = record->position_e9;
    cash->books_ns = record->cumulative_e9;
    cash->known = record->cumulative_e9 != 0;
    cash->books_e8 = record->wallet_e8;
    cash->read_ns = record->venue_wall_ns;
    cash->unpriced = record->reject_reason == REJECT_CASH;
    if (record->cost_micros != 0) /* written before the day of the engine's books, or with it */
        cash->day = record->cost_micros;
}

void engine_raise_cash_day(struct cash *cash, int64_t day)
{
    if (day > cash->day)
        cash->day = day;
}

void engine_read_cash(struct engine *engine, const struct journal_record *record)
{
    if (record->venue >= RESTORED_VENUES)
        return;
    struct cash *cash = &engine->restored.cash[record->venue];
    engine_raise_cash_day(cash, engine->restored.day);
    /* A row has a key, whatever its kind; sums have none. */
    if (record->execution_id[0] == '\0') {
        read_sums(cash, record);
        return;
    }
    struct cash_report report = {
        .kind = record->type,
        .amount_e8 = record->last_quantity_e9 / 10,
        .wallet_e8 = record->last_price_e9 / 10,
        .wall_ns = record->venue_wall_ns,
    };
    memcpy(report.asset, record->symbol, sizeof report.asset);
    if (strncmp(record->execution_id, UNEXPLAINED, sizeof UNEXPLAINED - 1) == 0)
        engine->restored.cash_halt = false;
    oms_execution_seen(&engine->oms, record->venue, record->symbol, record->execution_id, false);
    cash_row(cash, &report);
    cash->books_e8 = record->wallet_e8;
    cash->unpriced = record->reject_reason == REJECT_CASH;
}

void engine_read_wallet(struct engine *engine, const struct journal_record *record)
{
    if (record->venue < RESTORED_VENUES && engine->restored.cash[record->venue].known)
        engine->restored.cash[record->venue].books_e8 = record->wallet_e8;
}

/* A person has seen what was in doubt. */
void engine_read_resume(struct engine *engine)
{
    engine->restored.cash_halt = false;
    for (int id = 0; id < RESTORED_VENUES; id++)
        engine->restored.cash[id].unpriced = false;
}

void engine_read_untold(struct engine *engine, const struct journal_record *record)
{
    if (record->venue < RESTORED_VENUES)
        cash_fill_untold(&engine->restored.cash[record->venue], record->position_e9);
}

void engine_claim_cash(struct engine *engine, struct engine_venue *ev)
{
    uint16_t id = ev->venue->id;
    if (has_cash(ev) && id < RESTORED_VENUES && !engine->restored.cash_claimed[id]) {
        engine->restored.cash_claimed[id] = true;
        ev->cash = engine->restored.cash[id];
        ev->cash_halted = engine->restored.cash_halt;
    }
    engine_raise_cash_day(&ev->cash, engine->day);
    engine_cash_sums(engine);
}

/* ---- movements --------------------------------------------------------------------------------
 */

static const char *kind_words(int kind)
{
    switch ((enum cash_kind)kind) {
    case CASH_NONE:
        return "a fill";
    case CASH_FUNDING:
        return "funding";
    case CASH_INSURANCE:
        return "insurance";
    case CASH_COMMISSION:
        return "commission";
    case CASH_ADJUSTMENT:
        return "an adjustment";
    case CASH_REWARD:
        return "a reward";
    case CASH_REDEMPTION:
        return "a redemption";
    case CASH_TRANSFER:
        return "a transfer";
    case CASH_OTHER:
        break;
    }
    return "money of an unknown kind";
}

/* A sum in dollars and cents, for people. */
struct dollars {
    char text[32];
};

static struct dollars dollars(int64_t e8)
{
    struct dollars out;
    int64_t cents = e8 / 1000000;
    uint64_t size = cents < 0 ? 0 - (uint64_t)cents : (uint64_t)cents;
    snprintf(out.text, sizeof out.text, "%s%llu.%02llu", cents < 0 ? "-" : "",
             (unsigned long long)(size / 100), (unsigned long long)(size % 100));
    return out;
}

static void say_movement(struct engine *engine, const struct engine_venue *ev,
                         const struct cash_report *report)
{
    bool funding = report->kind == CASH_FUNDING;
    engine_say(engine, report->amount_e8 < 0 ? EVENT_WARNING : EVENT_INFO, ev->venue->id, 0, 0,
               funding ? "funding_charged" : "cash_moved", "%s%s moved %s %.16s",
               report->provisional ? "" : "confirmed: ", kind_words(report->kind),
               dollars(report->amount_e8).text, report->asset);
}

static void look_again(struct engine *engine, struct engine_venue *ev, int64_t in_ns)
{
    int64_t when = engine->now_ns + in_ns;
    if (ev->next_cash_ns == 0 || when < ev->next_cash_ns)
        ev->next_cash_ns = when;
}

void engine_on_cash(void *context, struct venue *venue, const struct cash_report *report)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    if (!has_cash(ev))
        return;
    if (report->amount_e8 > CASH_MOST_E8 || report->amount_e8 < -CASH_MOST_E8 ||
        report->wallet_e8 > CASH_MOST_E8 || report->wallet_e8 < -CASH_MOST_E8) {
        engine_halt(engine, HALT_CASH, "the venue told of a movement of cash beyond all reason");
        return;
    }
    journal_prepare(engine->journal);
    char asset[PROTOCOL_SYMBOL] = {0};
    memcpy(asset, report->asset, sizeof report->asset);
    bool counts;
    if (report->provisional)
        counts = cash_event(&ev->cash, report);
    else
        counts = cash_wants(&ev->cash, report) &&
                 !oms_execution_seen(&engine->oms, venue->id, asset, report->key, false) &&
                 cash_row(&ev->cash, report);
    if (!counts)
        return;
    /* A row of what moved well before the wallet was asked for is in that wallet. */
    bool in_wallet = !report->provisional && ev->wallet_told &&
                     report->wall_ns + CLOCK_MARGIN_NS <= ev->wallet_wall_ns;
    ev->movements += !in_wallet;
    cash_changed(engine);
    if (report->provisional)
        look_again(engine, ev, CASH_CONFIRM_NS);
    else
        journal_row(engine, ev, report);
    if (report->kind != CASH_NONE)
        say_movement(engine, ev, report);
}

void engine_cash_fill(struct engine *engine, struct engine_venue *ev,
                      const struct execution_report *report, bool reversed)
{
    if (!has_cash(ev))
        return;
    int64_t trade_id = strtoll(report->execution_id, NULL, 10);
    if (report->wallet_told) {
        cash_fill(&ev->cash, reversed ? -report->wallet_e8 : report->wallet_e8);
        cash_fill_told(&ev->cash, trade_id);
    } else if (ev->cash.known && cash_fill_untold(&ev->cash, trade_id)) {
        journal_untold(engine, ev->venue->id, trade_id);
    }
}

/* ---- the wallet -------------------------------------------------------------------------------
 */

void engine_cash_asked(struct engine *engine, struct engine_venue *ev)
{
    struct cash *cash = &ev->cash;
    int64_t venue_wall_ns = engine_wall_ns(engine) + ev->venue->clock_offset_ns;
    /* Without a journal the whole day's movements are wanted, as the whole day's fills are. */
    if (cash->from_ns == 0)
        cash->from_ns =
            ev->reconcile.adopt ? engine_day_start_ms(engine) * 1000000 - 1 : venue_wall_ns;
    /* A wall clock that stood ahead at an earlier reading must not hide the rows since then. */
    int64_t read_ns = cash->read_ns < venue_wall_ns ? cash->read_ns : venue_wall_ns;
    int64_t since = read_ns > 0 ? read_ns - OVERLAP_NS : cash->from_ns;
    ev->venue->cash_since_ns = since > cash->from_ns ? since : cash->from_ns;
    ev->movements_when_asked = ev->movements;
    ev->wallet_told = false;
}

void engine_on_wallet(void *context, struct venue *venue, int64_t wallet_e8, int64_t asked_wall_ns)
{
    struct engine_venue *ev = engine_venue_of(context, venue);
    if (wallet_e8 > CASH_BOUND_E8 || wallet_e8 < -CASH_BOUND_E8) {
        engine_halt(context, HALT_CASH, "the venue told of a wallet beyond all reason");
        return;
    }
    ev->wallet_told = true;
    ev->wallet_e8 = wallet_e8;
    ev->wallet_wall_ns = asked_wall_ns;
}

void engine_on_cash_read(void *context, struct venue *venue, int64_t until_wall_ns)
{
    struct engine *engine = context;
    struct engine_venue *ev = engine_venue_of(engine, venue);
    int dropped = cash_read_to(&ev->cash, until_wall_ns);
    ev->cash_read = true;
    if (dropped > 0) {
        ev->movements++;
        engine_say(engine, EVENT_WARNING, venue->id, 0, 0, "cash_unconfirmed",
                   "%d movements that events told of are in no row of the venue's history; the "
                   "wallet decides",
                   dropped);
    }
    cash_changed(engine);
}

static void doubt(struct engine *engine, struct engine_venue *ev)
{
    int64_t expected = cash_expected_e8(&ev->cash);
    bool first = ev->cash_doubt_ns == 0;
    if (first) {
        ev->cash_doubt_ns = engine->now_ns;
        engine->sweep_now = true;
        engine_say(engine, EVENT_ERROR, ev->venue->id, REJECT_CASH, 0, "cash_differs",
                   "the wallet holds %s and our books expect %s (%lld units of 1e-8 apart): no "
                   "new risk; looking again",
                   dollars(ev->wallet_e8).text, dollars(expected).text,
                   (long long)(ev->wallet_e8 - expected));
    }
    look_again(engine, ev, engine->view.state < LEDGER_HALTED ? CASH_AGAIN_NS : CASH_HALTED_NS);
    if (engine->now_ns - ev->cash_doubt_ns >= CASH_PATIENCE_NS &&
        engine->view.state < LEDGER_HALTED)
        engine_halt(engine, HALT_CASH, "the venue's cash differs from our books and stays so");
}

/* After a halt for cash only a person lets trading begin again, in this run or the next. */
static bool is_accepted(const struct engine *engine, const struct engine_venue *ev)
{
    return (ev->cash_accepted && ev->cash_doubt_ns != 0) ||
           (ev->cash_halted && engine->view.state < LEDGER_HALTED);
}

/* A person resumed after a halt for cash: the books take the wallet over. What was lost counts as a
 * result, what was gained as a transfer: an unexplained gain must not pay for losses. */
static void take_over(struct engine *engine, struct engine_venue *ev)
{
    int64_t difference = ev->wallet_e8 - cash_expected_e8(&ev->cash);
    struct cash_report report = {
        .kind = difference < 0 ? CASH_OTHER : CASH_TRANSFER,
        .amount_e8 = difference,
        .wallet_e8 = difference,
        .wall_ns = ev->wallet_wall_ns + 1,
        .asset = "USDT",
    };
    snprintf(report.key, sizeof report.key, UNEXPLAINED ":%lld", (long long)ev->wallet_wall_ns);
    engine_on_cash(engine, ev->venue, &report);
    engine_say(engine, EVENT_WARNING, ev->venue->id, 0, 0, "cash_taken_over",
               "after resume the books follow the wallet: %s without an explanation",
               dollars(difference).text);
}

static void agreed(struct engine *engine, struct engine_venue *ev)
{
    if (ev->cash_doubt_ns != 0)
        engine_say(engine, EVENT_INFO, ev->venue->id, 0, 0, "cash_agrees",
                   "the wallet and our books agree again");
    ev->cash_doubt_ns = 0;
    ev->cash_accepted = ev->cash_halted = false;
    ev->cash_tries = 0;
}

/* The engine stops adding when it hears of the loss; the halt makes a person look. */
static void judge_unpriced(struct engine *engine, struct engine_venue *ev)
{
    if (!ev->cash.unpriced || engine->view.state == LEDGER_HALTED)
        return;
    if (!ev->cash_halted)
        engine_halt(engine, HALT_CASH, "the venue took a coin whose worth is not known");
    else
        ev->cash.unpriced = false; /* the last run halted, and a person has resumed */
}

void engine_judge_cash(struct engine *engine, struct engine_venue *ev)
{
    if (!ev->wallet_told || !ev->cash_read) {
        /* A venue spares a reconcile the reading when one was just made. */
        if (ev->cash_doubt_ns != 0)
            look_again(engine, ev, CASH_AGAIN_NS);
        return;
    }
    ev->wallet_told = ev->cash_read = false;
    ev->wallet_ns = engine->now_ns;
    if (ev->fills != ev->fills_when_asked || ev->movements != ev->movements_when_asked) {
        if (ev->cash_doubt_ns != 0 || ev->cash_tries++ < CASH_TRIES)
            look_again(engine, ev, CASH_AGAIN_NS);
        return;
    }
    ev->cash_tries = 0;
    judge_unpriced(engine, ev);
    if (!ev->cash.known) {
        cash_begin(&ev->cash, ev->wallet_e8, ev->wallet_wall_ns);
        journal_sums(engine, ev->venue->id, &ev->cash);
    } else if (cash_agrees(&ev->cash, ev->wallet_e8)) {
        agreed(engine, ev);
    } else if (is_accepted(engine, ev)) {
        take_over(engine, ev);
        agreed(engine, ev);
    } else {
        doubt(engine, ev);
    }
    cash_changed(engine);
}

void engine_cash_resumed(struct engine *engine)
{
    for (int n = 0; n < engine->venue_count; n++) {
        struct engine_venue *ev = &engine->venues[n];
        ev->cash.unpriced = false;
        if (ev->cash_doubt_ns == 0)
            continue;
        ev->cash_accepted = true;
        look_again(engine, ev, 0);
    }
}

bool engine_cash_doubted(const struct engine *engine)
{
    for (int n = 0; n < engine->venue_count; n++)
        if (engine->venues[n].cash_doubt_ns != 0 || engine->venues[n].cash.unpriced)
            return true;
    return false;
}
