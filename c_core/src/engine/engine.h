/*
 * engine.h: one duty cycle over venues, books, strategies, risk, orders and the shared ledger.
 *
 * The engine is a deterministic state machine: it reads no clock for its decisions but at the last
 * gate before an order's bytes leave (time is passed to engine_do_work; the clocks of the
 * configuration stamp records, measure latency, and tell the gate how late it is), makes
 * no system call and no heap call after engine_new, and takes no lock. Sockets belong to the
 * connectors, ZeroMQ and files to other threads: telemetry leaves through a ring.
 *
 * Threads: everything here is called on one thread, the trading thread, except engine_telemetry_pop
 * (one other thread).
 *
 * Life of an engine:
 *   engine_new           allocates all; replays the journal; nothing is sent
 *   engine_attach_ledger after ledger_open + ledger_join of ROLE_ENGINE by the caller
 *   engine_add_venue     sets venue->events; the caller then calls venue->operations->start
 *   engine_do_work       again and again; it calls each venue's do_work
 *   engine_drain         a graceful end: cancels all; done when engine_drained is true
 *   engine_free          closes the journal; the caller leaves and closes the ledger
 *
 * What a connector must do for it:
 *   - on_instrument before the first on_book of that instrument; the pointer stays valid and its
 *     address the same for the venue's life; instrument.index counts from 0 per venue, and
 *     shock_ppm and the fees are set from the configuration.
 *   - SESSION_SYNCING (on_session) once the user stream is open and instruments are known. The
 * engine then calls operations->reconcile; while that returns an error it is called again every 100
 * ms. The answers come as on_open_order, on_execution, on_position (a position that is not told is
 *     zero) and on_reconciled. SESSION_READY may come before or after.
 *   - reconcile may be called again at any time when the session is SYNCING or READY.
 *   - report.text of an order that is not ours (client_order_id 0) begins with "forced" for a
 *     liquidation, auto-deleveraging or settlement: that halts.
 *   - on_event with name "auth_refused" and EVENT_ERROR when the venue refuses the credentials:
 * halts.
 *   - an order that submit took (STATUS_OK) is owed a report; if none comes within the configured
 *     time the engine makes it UNKNOWN and queries.
 */
#ifndef PURSER_ENGINE_ENGINE_H
#define PURSER_ENGINE_ENGINE_H

#include "../../../bridge/page.h"
#include "../oms/journal.h"
#include "../oms/reconcile.h"
#include "strategy.h"

#define ENGINE_VENUES              4
#define ENGINE_MARKETS             32
#define ENGINE_VENUE_INSTRUMENTS   64   /* instrument.index of a venue is below this */
#define ENGINE_TELEMETRY           8192 /* messages in the ring; a power of two */
#define ENGINE_PAGE_INTERVAL_NS    50000000
#define ENGINE_REPRICE_INTERVAL_NS 50000000

/* Places in participant_page.counters. */
enum engine_counter {
    COUNTER_DUTY_CYCLES = 0,
    COUNTER_BOOK_UPDATES = 1,
    COUNTER_TRADES = 2,
    COUNTER_ORDERS_SENT = 3,
    COUNTER_CANCELS_SENT = 4,
    COUNTER_REPORTS = 5,
    COUNTER_FILLS = 6,
    COUNTER_DUPLICATE_EXECUTIONS = 7,
    COUNTER_UNKNOWN_ORDERS = 8,
    COUNTER_QUERIES = 9,
    COUNTER_RECONCILES = 10,
    COUNTER_POSITION_MISMATCHES = 11,
    COUNTER_IMPOSSIBLE_REPORTS = 12,
    COUNTER_FOREIGN_REPORTS = 13,
    COUNTER_TELEMETRY_LOST = 14,
    COUNTER_JOURNAL_RECORDS = 15,
    COUNTER_JOURNAL_FULL = 16,
    COUNTER_HEDGE_REQUESTS = 17,
    COUNTER_HEDGE_ORDERS = 18,
    COUNTER_VENUE_REJECTS = 19,
    COUNTER_REPRICE_SHORT = 20, /* reprices that did not fit: REDUCING */
    COUNTER_SIGNALS = 21,
    COUNTER_ORPHANS_CANCELED = 22,
    COUNTER_JOURNAL_DAMAGED = 23,
    COUNTER_BACKLOG_DROPPED = 24,
    COUNTER_JOURNAL_MISSING = 25, /* 1: today's journal was lost; its result is from the venue */
    COUNTER_FOREIGN_OPEN = 26, /* orders of others on the account that rest now, and are charged */
    /* set by the owner of the duty cycle, with engine_set_counter */
    COUNTER_HEAP_CALLS = 40, /* between tick and order; a build with PURSER_HEAP_TRAP only */
    COUNTER_HEAP_SECTIONS = 41,
    COUNTER_FRAMES = 42,
    COUNTER_MALFORMED_FRAMES = 43,
    COUNTER_TOP_CHECKS = 44, /* our top compared with the venue's own best bid and ask */
    COUNTER_TOP_MISMATCHES = 45,
    COUNTER_STREAM_STALLS = 46,
    COUNTER_REQUEST_TIMEOUTS = 47,
    COUNTER_DEAD_MAN_ACKS = 48,
    COUNTER_BRIDGE_DROPPED = 49, /* messages for the bot while it was away */
};

struct engine_config {
    uint32_t mode;                /* 0 dry-run (sends nothing) 1 paper 2 live */
    const char *journal_folder;   /* exists, 0700 */
    size_t journal_segment_bytes; /* 0: JOURNAL_SEGMENT_BYTES */
    struct risk_config risk;
    struct quoter_config quoter;
    struct signal_config signal;
    struct hedger_config hedger;
    int64_t (*clock_ns)(void); /* CLOCK_BOOTTIME; NULL: clock_now_ns */
    int64_t (*wall_ns)(void);  /* NULL: clock_wall_ns */
    int64_t started_wall_ns;   /* 0: wall_ns() at engine_new */
};

/* engine_new: NULL with status_text() set when a limit is missing, memory is short or the journal's
 * first segments do not fit. A damaged journal is not a failure: it is read up to the damage, and
 * an event says so. */
struct engine *engine_new(const struct engine_config *config);
void engine_free(struct engine *engine);

/* engine_attach_ledger: the ledger must be joined as ROLE_ENGINE. Orders are refused with NO_LEDGER
 * before. client order ids take the line's generation, or a higher one than any in the journal. */
void engine_attach_ledger(struct engine *engine, struct ledger *ledger);

/* engine_attach_page: the page must be created by the caller; published every 50 ms from do_work.
 * previous: what page_create found there, whose fills fill the ring until new ones come; or NULL.
 */
void engine_attach_page(struct engine *engine, struct page *page,
                        const struct participant_page *previous);

/* engine_attach_bridge: where SIGNAL, hedge POSITION and hedge EXECUTION_REPORT messages for the
 * bot go; called on the trading thread during do_work; must not block. */
struct engine_bridge {
    void *context;
    void (*send)(void *context, uint16_t kind, const void *body, uint32_t size);
};
void engine_attach_bridge(struct engine *engine, const struct engine_bridge *bridge);

/* engine_add_venue: false when the table is full. delegated: orders sent there are reserved, booked
 * and limited by another process (the Polymarket gateway); here they only pass the structural
 * checks, and the venue is not part of reconcile, exposure or P&L. */
bool engine_add_venue(struct engine *engine, struct venue *venue, bool delegated);

/* engine_do_work: one turn. Returns the amount of work done: 0 means the caller may wait. */
int engine_do_work(struct engine *engine, int64_t now_ns);

/* engine_deadline_ns: the caller must not wait beyond this before the next turn. */
int64_t engine_deadline_ns(const struct engine *engine);

/* engine_hedge: a HEDGE request from the bot. */
void engine_hedge(struct engine *engine, const struct message_hedge *hedge);

/* engine_hedge_withdraw: the bot has gone away: the targets stay, and nothing is traded towards
 * them until it asks again. */
void engine_hedge_withdraw(struct engine *engine);

/* Manual orders, in the units of protocol.h. engine_submit returns the reason, and the id when it
 * is REJECT_NONE; message->client_order_id is ignored. engine_cancel: 0 for every order of ours;
 * returns how many cancels were handed over or queued. */
int engine_submit(struct engine *engine, const struct message_new_order *message,
                  uint64_t *client_order_id);
int engine_cancel(struct engine *engine, uint64_t client_order_id);

/* engine_drain: no new orders, cancel all; engine_drained: nothing of ours is open any more. */
void engine_drain(struct engine *engine);
bool engine_drained(const struct engine *engine);

/* engine_open_orders: copies at most max open orders; returns how many. */
int engine_open_orders(struct engine *engine, struct order *out, int max);

/* engine_page: the engine's own copy of the page, refreshed at each publish (engine_publish does
 * one now). The name client order ids carry at the venue is the connector's affair. */
const struct participant_page *engine_page(const struct engine *engine);
void engine_publish(struct engine *engine, int64_t now_ns);

/* engine_set_counter: a counter that is kept outside of the engine, for the page. */
void engine_set_counter(struct engine *engine, enum engine_counter counter, int64_t value);

/* One telemetry message: what goes out on the PUB socket as header + body. */
struct engine_message {
    struct message_header header;
    uint8_t body[256];
};

/* engine_telemetry_pop: the oldest message; false when there is none. One consumer thread. */
bool engine_telemetry_pop(struct engine *engine, struct engine_message *out);

#endif
