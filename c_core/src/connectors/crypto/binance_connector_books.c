/* Books: deltas and snapshots through book_sync, and the venue's own bookTicker as a witness. */
#include <stdio.h>
#include <string.h>

#include "../../base/heap_trap.h"
#include "binance_connector_session.h"

#define SNAPSHOT_EVERY_NS 1000000000LL  /* at most one a second and symbol: weight 20 each */
#define SILENCE_NS        30000000000LL /* no data though the connection lives: a silent route */

static struct binance_market *market_of(struct binance *b, const struct instrument *instrument)
{
    return &b->markets[instrument->index];
}

static void book_changed(struct binance *b, struct binance_market *market, int64_t received_ns)
{
    b->venue.events->on_book(b->venue.events->context, &b->venue, market->instrument.index,
                             received_ns);
}

/* market_resync: the book is not to be trusted: it is emptied, said to be so, and built anew. */
static void market_resync(struct binance *b, struct binance_market *market, const char *why,
                          int64_t now_ns)
{
    b->venue.resyncs++;
    b->counters.resyncs++;
    market->check_pending = false;
    market->snapshot_wanted = true;
    if (market->sync.state != BOOK_BUFFERING)
        book_sync_reset(&market->sync);
    binance_event(b, EVENT_WARNING, "book_resynced", "%s: %s", market->instrument.symbol, why);
    book_changed(b, market, now_ns);
    binance_session_update(b, now_ns);
}

void binance_market_reset(struct binance *b, int64_t now_ns)
{
    for (int i = 0; i < b->symbols_count; i++) {
        struct binance_market *market = &b->markets[i];
        book_sync_reset(&market->sync);
        market->check_pending = false;
        market->tickers_count = 0;
        market->snapshot_wanted = false;
        if (market->known)
            book_changed(b, market, now_ns);
    }
}

bool binance_market_whole(const struct binance *b)
{
    if (!binance_link_is_open(&b->market_link))
        return false;
    for (int i = 0; i < b->symbols_count; i++)
        if (!book_sync_is_whole(&b->markets[i].sync))
            return false;
    return true;
}

/* --- the witness: bookTicker and depth share one sequence of update ids, so after a delta that
 * ends at u our top must equal the newest ticker with an id of at most u.
 * ------------------------------ */

static bool top_equal(const struct top_of_book *a, const struct top_of_book *b)
{
    return a->bid.ticks == b->bid.ticks && a->ask.ticks == b->ask.ticks &&
           a->bid_quantity.lots == b->bid_quantity.lots &&
           a->ask_quantity.lots == b->ask_quantity.lots;
}

static const struct binance_ticker *ticker_at_or_before(const struct binance_market *market,
                                                        int64_t id)
{
    uint64_t kept =
        market->tickers_count < BINANCE_TICKERS ? market->tickers_count : BINANCE_TICKERS;
    for (uint64_t i = 1; i <= kept; i++) {
        const struct binance_ticker *ticker =
            &market->tickers[(market->tickers_count - i) & (BINANCE_TICKERS - 1)];
        if (ticker->id <= id)
            return ticker;
    }
    return NULL;
}

/* top_check: only once a ticker beyond u has come are all tickers up to u known to be here. */
static void top_check(struct binance *b, struct binance_market *market, int64_t now_ns)
{
    if (!market->check_pending || market->tickers_count == 0)
        return;
    uint64_t newest = (market->tickers_count - 1) & (BINANCE_TICKERS - 1);
    if (market->tickers[newest].id <= market->check_id)
        return;
    market->check_pending = false;
    const struct binance_ticker *witness = ticker_at_or_before(market, market->check_id);
    if (witness == NULL)
        return;
    b->counters.top_checks++;
    if (top_equal(&witness->top, &market->check_top))
        return;
    b->counters.top_mismatches++;
    market_resync(b, market, "its top differs from bookTicker", now_ns);
}

static void on_ticker(struct binance *b, const struct binance_market_event *event,
                      int64_t received_ns)
{
    struct binance_market *market = market_of(b, event->instrument);
    market->ticker_ns = received_ns;
    market->tickers[market->tickers_count++ & (BINANCE_TICKERS - 1)] =
        (struct binance_ticker){event->ticker_id, event->ticker};
    top_check(b, market, received_ns);
}

static void delta_applied(struct binance *b, struct binance_market *market, int64_t id,
                          int64_t received_ns)
{
    if (order_book_is_crossed(&market->book)) {
        market_resync(b, market, "bid and ask crossed", received_ns);
        return;
    }
    market->check_pending = true;
    market->check_id = id;
    market->check_top = order_book_top(&market->book);
    top_check(b, market, received_ns);
    if (b->venue.session_state != SESSION_READY)
        binance_session_update(b, received_ns);
    book_changed(b, market, received_ns);
}

static void on_depth(struct binance *b, const struct binance_market_event *event,
                     int64_t received_ns)
{
    struct binance_market *market = market_of(b, event->instrument);
    market->depth_ns = received_ns;
    if (book_sync_is_whole(&market->sync) && event->delta.last_id <= market->sync.last_id)
        return; /* sent twice: ids only grow, and a real gap shows in the next delta's pu */
    switch (book_sync_delta(&market->sync, &event->delta)) {
    case SYNC_APPLIED:
        delta_applied(b, market, event->delta.last_id, received_ns);
        break;
    case SYNC_GAP:
        market_resync(b, market, "deltas are missing", received_ns);
        break;
    case SYNC_KEPT:
        market->snapshot_wanted = true;
        break;
    case SYNC_DROPPED:
    case SYNC_SNAPSHOT_OLD:
    case SYNC_WAITING:
        break;
    }
}

/* A frame that cannot be read may have been a delta of any book: all of them are built anew. */
static void on_malformed(struct binance *b, int64_t received_ns)
{
    b->counters.malformed_frames++;
    binance_event(b, EVENT_WARNING, "frame_malformed", "market stream: %s", status_text());
    for (int i = 0; i < b->symbols_count; i++)
        market_resync(b, &b->markets[i], "a frame was malformed", received_ns);
}

static void on_trade(struct binance *b, const struct binance_market_event *event,
                     int64_t received_ns)
{
    b->venue.events->on_trade(b->venue.events->context, &b->venue, event->instrument->index,
                              event->price, event->quantity, event->aggressor_side, received_ns);
}

static void market_dispatch(struct binance *b, const struct binance_market_event *event,
                            int64_t received_ns)
{
    switch ((enum binance_market_kind)event->kind) {
    case BINANCE_MARKET_DEPTH:
        if (event->instrument != NULL)
            on_depth(b, event, received_ns);
        break;
    case BINANCE_MARKET_TICKER:
        if (event->instrument != NULL)
            on_ticker(b, event, received_ns);
        break;
    case BINANCE_MARKET_TRADE:
        if (event->instrument != NULL)
            on_trade(b, event, received_ns);
        break;
    case BINANCE_MARKET_SHUTDOWN:
        binance_link_rotate(&b->market_link, "the venue announced a shutdown");
        break;
    case BINANCE_MARKET_REPLY:
    case BINANCE_MARKET_MARK:
    case BINANCE_MARKET_OTHER:
        break;
    }
}

void binance_market_message(void *context, const char *bytes, size_t length, int64_t received_ns)
{
    struct binance_link *link = context;
    struct binance *b = link->session;
    b->counters.frames++;
    b->work++;
    b->venue.received_ns = received_ns;
    heap_trap_arm();
    if (binance_wire_market(b->market_event, b->levels, BINANCE_LEVELS_MAX, &b->known, bytes,
                            length) != STATUS_OK) {
        on_malformed(b, received_ns);
    } else {
        if (b->market_event->kind == BINANCE_MARKET_DEPTH ||
            b->market_event->kind == BINANCE_MARKET_TICKER) {
            b->venue.feed_ns = received_ns;
            binance_link_data(link, received_ns);
        }
        market_dispatch(b, b->market_event, received_ns);
    }
    heap_trap_disarm();
    b->venue.received_ns = 0;
}

/* --- snapshots and silence -------------------------------------------------------------------- */

void binance_market_snapshot(struct binance *b, const struct binance_answer *answer, int64_t now_ns)
{
    struct binance_market *market = &b->markets[answer->index];
    struct book_delta snapshot;
    market->snapshot_asked = false;
    if (!binance_link_is_open(&b->market_link) || market->sync.state != BOOK_BUFFERING)
        return;
    market->snapshot_wanted = true;
    if (!answer->accepted)
        return;
    if (binance_wire_snapshot(&snapshot, b->levels, BINANCE_LEVELS_MAX, &market->instrument,
                              answer->http->body, answer->http->body_length) != STATUS_OK) {
        b->counters.malformed_frames++;
        binance_event(b, EVENT_WARNING, "frame_malformed", "depth snapshot: %s", status_text());
        return;
    }
    enum book_sync_result result = book_sync_snapshot(&market->sync, &snapshot);
    if (result == SYNC_APPLIED || result == SYNC_WAITING)
        market->snapshot_wanted = false;
    if (result == SYNC_APPLIED)
        delta_applied(b, market, market->sync.last_id, now_ns);
}

static void snapshot_turn(struct binance *b, int index, int64_t now_ns)
{
    struct binance_market *market = &b->markets[index];
    char parameters[64];
    if (!market->snapshot_wanted || market->snapshot_asked ||
        now_ns - market->snapshot_ns < SNAPSHOT_EVERY_NS)
        return;
    snprintf(parameters, sizeof parameters, "symbol=%s&limit=1000", market->instrument.symbol);
    market->snapshot_asked =
        binance_call(b, BINANCE_CALL_DEPTH, index, 0, 0, parameters, now_ns) == STATUS_OK;
    if (market->snapshot_asked)
        market->snapshot_ns = now_ns;
}

/* Both streams must carry data of their own: a route that is wrong, or died at the venue, stays
 * silent behind a connection that answers pings. The pause before trying again doubles each time,
 * because a market may also just be quiet. */
static void silence_turn(struct binance *b, int64_t now_ns)
{
    struct binance_link *link = &b->market_link;
    int shift = link->failures < 5 ? link->failures : 5;
    for (int i = 0; i < b->symbols_count; i++) {
        int64_t depth_ns = b->markets[i].depth_ns, ticker_ns = b->markets[i].ticker_ns;
        int64_t oldest = depth_ns < ticker_ns ? depth_ns : ticker_ns;
        if (oldest < link->opened_ns)
            oldest = link->opened_ns;
        if (now_ns - oldest > SILENCE_NS << shift && !link->rotate) {
            b->counters.stalls++;
            binance_event(b, EVENT_WARNING, "stream_stalled", "%s: no %s for %lld s",
                          b->markets[i].instrument.symbol,
                          depth_ns < ticker_ns ? "depth" : "bookTicker",
                          (long long)((now_ns - oldest) / CLOCK_NS_PER_S));
            binance_link_rotate(link, "the stream is silent");
        }
    }
}

void binance_market_turn(struct binance *b, int64_t now_ns)
{
    if (!binance_link_is_open(&b->market_link))
        return;
    for (int i = 0; i < b->symbols_count; i++)
        snapshot_turn(b, i, now_ns);
    silence_turn(b, now_ns);
}
