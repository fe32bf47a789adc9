/* The wallet and the history of cash as steps of a reconcile, and the user stream's account events.
 *
 * The history is read from where the engine says to the venue's present, in windows of at most
 * seven days, each page by page to its end. */
#include <stdio.h>
#include <string.h>

#include "binance_connector_session.h"

#define WINDOW_MS (7 * 24 * 3600 * 1000LL)
#define WALLET    "USDT" /* what USD-M futures settle in: the wallet that is compared */
/* A reading costs weight 35; reconciles that follow one another within this are spared it. */
#define READ_AGAIN_NS 2500000000LL

/* ---- the wallet and the history -----------------------------------------------------------------
 */

bool binance_cash_due(const struct binance *b, int64_t now_ns)
{
    return b->cash.done_ns == 0 || now_ns - b->cash.done_ns >= READ_AGAIN_NS;
}

int binance_wallet_ask(struct binance *b, int64_t now_ns)
{
    b->cash.wallet_asked_ms = binance_wall_ms(b);
    return binance_call(b, BINANCE_CALL_BALANCE, 0, b->reconcile.run, 0, "", now_ns);
}

bool binance_wallet_read(struct binance *b, const struct binance_answer *answer)
{
    int64_t wallet_e8;
    if (binance_wire_wallet(&wallet_e8, WALLET, answer->http->body, answer->http->body_length) !=
        STATUS_OK)
        return false;
    b->venue.events->on_wallet(b->venue.events->context, &b->venue, wallet_e8,
                               b->cash.wallet_asked_ms * CLOCK_NS_PER_MS);
    return true;
}

static void window_begin(struct binance_cash *cash, int64_t first_ms)
{
    int64_t left = cash->until_ms - first_ms;
    cash->first_ms = first_ms;
    cash->last_ms = left > WINDOW_MS ? first_ms + WINDOW_MS : cash->until_ms;
    cash->page = 1;
}

void binance_income_begin(struct binance *b)
{
    int64_t since_ms = b->venue.cash_since_ns / CLOCK_NS_PER_MS;
    b->cash.until_ms = binance_wall_ms(b);
    window_begin(&b->cash, since_ms > 0 ? since_ms : b->cash.until_ms);
}

int binance_income_ask(struct binance *b, int64_t now_ns)
{
    char parameters[128];
    const struct binance_cash *cash = &b->cash;
    if (binance_wire_income_query(parameters, sizeof parameters, cash->first_ms, cash->last_ms,
                                  cash->page) == 0)
        return STATUS_LIMIT;
    return binance_call(b, BINANCE_CALL_INCOME, 0, b->reconcile.run, 0, parameters, now_ns);
}

/* What one row is to the engine. The worth of another coin is not in the row: a coin that is no
 * dollar counts nothing, and a loss in it stops new risk. Commission of a fill is charged with the
 * fill, at the configured rate, whatever coin paid it. */
static void row_report(struct binance *b, const struct binance_income *row)
{
    uint8_t kind = row->of_fill ? CASH_NONE : row->kind;
    bool unpriced = binance_is_unpriced(row->asset, kind, row->amount_e8);
    if (unpriced)
        binance_event(b, EVENT_ERROR, "cash_unpriced",
                      "%s took %lld units of 1e-8 %s: its worth in dollars is not known and no "
                      "part of today's loss; no new risk until a person has looked",
                      row->type, (long long)-row->amount_e8, row->asset);
    struct cash_report report = {
        .kind = kind,
        .unpriced = unpriced,
        .amount_e8 = binance_is_dollar(row->asset) ? row->amount_e8 : 0,
        .wallet_e8 = strcmp(row->asset, WALLET) == 0 ? row->amount_e8 : 0,
        .wall_ns = row->time_ms * CLOCK_NS_PER_MS,
        .trade_id = row->trade_id,
    };
    memcpy(report.asset, row->asset, sizeof report.asset);
    binance_income_key(report.key, row);
    b->venue.events->on_cash(b->venue.events->context, &b->venue, &report);
}

/* binance_income_read: -1 when the answer was no use, 1 when the history is read to its end. */
int binance_income_read(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    struct scan list;
    struct binance_income row;
    struct binance_cash *cash = &b->cash;
    int rows = 0, more = binance_wire_list(&list, answer->http->body, answer->http->body_length);
    while (more >= 0 && (more = binance_wire_income_next(&list, &row)) == 1)
        rows++;
    if (more < 0)
        return -1; /* half a page is no page */
    binance_wire_list(&list, answer->http->body, answer->http->body_length);
    while (binance_wire_income_next(&list, &row) == 1)
        row_report(b, &row);
    if (rows >= BINANCE_INCOME_PAGE) {
        cash->page++;
        return 0;
    }
    if (cash->last_ms < cash->until_ms) {
        window_begin(cash, cash->last_ms);
        return 0;
    }
    cash->done_ns = now_ns;
    b->venue.events->on_cash_read(b->venue.events->context, &b->venue,
                                  cash->until_ms * CLOCK_NS_PER_MS);
    return 1;
}

/* ---- ACCOUNT_UPDATE
 * ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *p = bytes;
    for (size_t n = 0; n < length; n++)
        hash = (hash ^ p[n]) * 1099511628211ULL; /* FNV-1a */
    return hash;
}

/* The same event told again has the same time, reason, coin, change and balance after it. */
static uint64_t identity_of(const struct binance_user_event *event,
                            const struct binance_balance *balance)
{
    uint64_t hash = 14695981039346656037ULL;
    hash = mix(hash, &event->transaction_ms, sizeof event->transaction_ms);
    hash = mix(hash, event->account_reason, sizeof event->account_reason);
    hash = mix(hash, balance->asset, sizeof balance->asset);
    hash = mix(hash, &balance->change_e8, sizeof balance->change_e8);
    return mix(hash, &balance->wallet_e8, sizeof balance->wallet_e8);
}

static void balance_report(struct binance *b, const struct binance_user_event *event,
                           const struct binance_balance *balance)
{
    if (balance->change_e8 == 0)
        return; /* what fills did: they tell it themselves */
    uint8_t kind = binance_cash_kind(event->account_reason);
    struct cash_report report = {
        .kind = kind,
        .provisional = true,
        .unpriced = binance_is_unpriced(balance->asset, kind, balance->change_e8),
        .amount_e8 = binance_is_dollar(balance->asset) ? balance->change_e8 : 0,
        .wallet_e8 = strcmp(balance->asset, WALLET) == 0 ? balance->change_e8 : 0,
        .wall_ns = event->transaction_ms * CLOCK_NS_PER_MS,
        .identity = identity_of(event, balance),
    };
    memcpy(report.asset, balance->asset, sizeof report.asset);
    b->venue.events->on_cash(b->venue.events->context, &b->venue, &report);
}

void binance_account_event(struct binance *b, const struct binance_user_event *event)
{
    for (size_t n = 0; n < event->balance_count; n++)
        balance_report(b, event, &event->balances[n]);
    bool after_fill = strcmp(event->account_reason, "ORDER") == 0;
    for (size_t n = 0; n < event->position_count; n++) {
        const struct binance_position *position = &event->positions[n];
        if (strcmp(position->position_side, "BOTH") != 0)
            continue;
        b->venue.events->on_position_changed(b->venue.events->context, &b->venue,
                                             position->instrument, position->quantity,
                                             position->entry_e9, after_fill);
    }
}

/* ---- fills
 * --------------------------------------------------------------------------------------- */

void binance_fill_wallet(struct execution_report *report, bool has_realized, int64_t realized_e8,
                         bool has_commission, int64_t commission_e8, const char *asset)
{
    report->wallet_told = has_realized && has_commission;
    report->wallet_e8 = realized_e8 - (strcmp(asset, WALLET) == 0 ? commission_e8 : 0);
}
