/*
 * engine_private.h: what the engine's own files share: its state, and the seams between them.
 *
 *   engine.c          life cycle and the duty cycle
 *   engine_orders.c   an order's way out: checks, reservation, journal, gate, venue; cancels
 *   engine_reports.c  an execution report's way in: table, P&L, ledger, strategies
 *   engine_venues.c   sessions, instruments, books, reconcile
 *   engine_ledger.c   totals, reprice, halts, leases, the day
 *   engine_day.c      the end of a day, fills of a closed one, and what a suspend makes stale
 *   engine_journal.c  what a restart restores, and the checkpoint
 *   engine_page.c     status page and telemetry
 */
#ifndef PURSER_ENGINE_ENGINE_PRIVATE_H
#define PURSER_ENGINE_ENGINE_PRIVATE_H

#include "../base/arena.h"
#include "../base/ring.h"
#include "engine.h"

#define RESTORED_BOOKS      64
#define RESTORED_ORDERS     OMS_ORDERS
#define RESTORED_STRATEGIES 8

/* One instrument's books as the journal left them, until the venue tells of the instrument. */
struct restored_book {
    uint16_t venue;
    char symbol[PROTOCOL_SYMBOL];
    int64_t position_e9, cost_micros, realized_micros, fees_e8;
    int64_t volume_micros, cash_flow_micros, mark_e9;
    int64_t opening_e9; /* the mark at which this run has settled it into the day; 0: not known */
    int64_t strategy_e9[RESTORED_STRATEGIES];
    bool claimed;
};

/* An order that was sent and whose end was never written down. */
struct restored_order {
    struct journal_record intent; /* cumulative_e9: filled so far */
    bool claimed;
};

struct restored {
    struct restored_book books[RESTORED_BOOKS];
    int book_count;
    struct restored_order orders[RESTORED_ORDERS];
    int order_count;
    int64_t day, late_micros;
    uint32_t generation; /* highest that made client order ids */
    bool known[16];      /* venues (by enum venue_id) with books */
    char since[16][48];  /* newest execution per venue */
};

struct engine_venue {
    struct venue *venue;
    bool delegated;
    bool reconciled; /* books and venue agreed, and the session has held since */
    bool may_renew;  /* what set_dead_man was told last */
    int session;
    uint16_t by_index[ENGINE_VENUE_INSTRUMENTS]; /* engine market + 1 */
    struct reconcile reconcile;
    int64_t fills;
    int64_t fills_when_asked;
    int inconclusive;          /* reconciles during which fills arrived, in a row */
    int64_t next_reconcile_ns; /* the periodic one */
    int64_t next_soft_ns;      /* one asked for by a report: not before */
    struct risk_throttle throttle;
};

struct engine {
    struct engine_config config;
    int64_t now_ns;
    int64_t tick_received_ns; /* of the tick being worked on; 0: none */
    struct arena arena;

    struct ledger *ledger;
    struct ledger_view view;  /* copied once a cycle */
    struct ledger_roll roll;  /* the same, of the day's end */
    uint32_t line_generation; /* of our line in the ledger when we joined */
    uint32_t generation;      /* in client order ids */
    uint32_t next_sequence;

    struct engine_market markets[ENGINE_MARKETS];
    int market_count;
    struct engine_venue venues[ENGINE_VENUES];
    int venue_count;
    struct venue_events events;
    struct oms oms;
    struct journal *journal;
    struct journal_replayed replayed;
    struct restored restored;
    struct risk_runaway runaway;
    bool runaway_told;

    struct quoter quoter;
    struct signal signal;
    struct hedger hedger;
    struct strategy *strategies[4];
    int strategy_count;
    int64_t aside_until_ns[ENGINE_MARKETS][2];
    struct engine_bridge bridge;

    /* totals over all markets */
    int64_t loss_micros, day_micros;
    int64_t used_micros[2], positions_micros[2];
    bool dirty; /* totals changed since the last reprice */
    int64_t next_reprice_ns;
    int over_budget; /* readings in a row above 105 % */
    int64_t next_over_ns;
    uint32_t epoch;
    int64_t day;
    int64_t late_micros; /* learnt today of fills of closed days */
    int64_t closed_day, closed_micros;

    int64_t next_unclaimed_ns; /* when "books_unclaimed" may be said again */

    bool rebuilt;  /* ledger_rebuild was done in this run */
    bool adding;   /* orders that add risk may leave: state, lease, no drain */
    bool stopping; /* halted, cancel only, or draining: cancel all */
    bool draining;
    bool replaced; /* the ledger's line has another owner */
    bool sweep_now;
    int64_t next_sweep_ns;
    int64_t next_journal_ns;
    int64_t next_mark_ns;
    bool journal_told;

    struct page *page;
    int64_t next_page_ns;
    struct participant_page content;
    struct ring telemetry;
    int64_t next_top_ns[ENGINE_MARKETS];
    int64_t next_refusal_ns[REJECT_REASON_COUNT];
    int64_t next_risk_state_ns;
};

/* engine_ledger.c */
void engine_totals(struct engine *engine); /* after exposure_update of any market */
void engine_market_changed(struct engine *engine, struct engine_market *market);
void engine_watch_ledger(struct engine *engine); /* start of a cycle: state, lease, epoch */
int engine_settle_ledger(struct engine *engine); /* end of a cycle: rebuild, reprice, beat */
void engine_reprice(struct engine *engine);
void engine_halt(struct engine *engine, uint32_t reason, const char *text);
bool engine_all_reconciled(const struct engine *engine);

/* engine_day.c */
/* engine_take_day: at start: the ledger's day, when it names one. */
void engine_take_day(struct engine *engine);
/* engine_follow_day: at the end of a cycle: what the phase of the day's end asks for. */
void engine_follow_day(struct engine *engine);
bool engine_day_ends(const struct engine *engine);
/* engine_charged_day_micros: today's result as the limit sees it: also a loss that belongs to a
 * closed day and was learnt today. */
int64_t engine_charged_day_micros(const struct engine *engine);
/* engine_watch_stall: before now_ns replaces the last turn's time. */
void engine_watch_stall(struct engine *engine, int64_t now_ns);
/* engine_is_late: of a day that is closed, by the venue's time, and the mark of its end is known.
 */
bool engine_is_late(const struct engine *engine, const struct engine_market *market,
                    int64_t venue_wall_ns);
void engine_book_late(struct engine *engine, struct engine_market *market,
                      const struct execution_report *report, bool reversed);

/* engine_orders.c */
int engine_sweep(struct engine *engine);
void engine_released(struct engine *engine, struct oms_entry *entry);
void engine_reserved_unknown(struct engine *engine, struct oms_entry *entry);

/* engine_reports.c */
void engine_on_execution(void *context, struct venue *venue, const struct execution_report *report);
void engine_on_open_order(void *context, struct venue *venue,
                          const struct execution_report *report);
/* engine_attribute_fill: whose position a fill changes; position is the one after it. A foreign
 * fill (STRATEGY_NONE) closes what is held against it: foreign lots, then the hedger's, the
 * quoter's and others', so that no strategy believes to hold what somebody else has closed. When it
 * leaves the account flat, nobody holds anything. Live and from the journal, in any unit. */
void engine_attribute_fill(int64_t held[RESTORED_STRATEGIES], int strategy, int64_t signed_quantity,
                           int64_t position);
/* engine_leave_behind: an order of an earlier run joins the table, to be cancelled. */
struct oms_entry *engine_leave_behind(struct engine *engine, struct engine_market *market,
                                      const struct order *order);

/* engine_venues.c */
void engine_listen(struct engine *engine, struct venue *venue);
int engine_reconcile_work(struct engine *engine);
struct engine_venue *engine_venue_of(struct engine *engine, const struct venue *venue);
struct engine_market *engine_market_of(struct engine *engine, const struct venue *venue,
                                       const struct instrument *instrument);

/* engine_journal.c */
int engine_restore(struct engine *engine);
void engine_checkpoint(void *context);
void engine_claim_restored(struct engine *engine, struct engine_market *market);
void engine_journal_order(struct engine *engine, const struct oms_entry *entry, int kind);
void engine_journal_report(struct engine *engine, const struct engine_market *market,
                           const struct order *order, const struct execution_report *report);
void engine_journal_control(struct engine *engine, int control, const struct engine_market *market,
                            uint16_t venue, int64_t value);
/* engine_journal_adopted: a fill that is part of an adopted position: known, never booked. */
void engine_journal_adopted(struct engine *engine, const struct engine_market *market,
                            const struct execution_report *report);
void engine_journal_marks(struct engine *engine);
/* engine_roll_unclaimed: the day's end for books whose instrument this run has not seen. */
void engine_roll_unclaimed(struct engine *engine);
const char *engine_unclaimed_symbol(const struct engine *engine);
int64_t engine_unclaimed_day_micros(const struct engine *engine);

/* engine_page.c */
void engine_record_fill(struct engine *engine, const struct page_fill *fill);
void engine_tell(struct engine *engine, uint16_t kind, const void *body, uint32_t size);
void engine_tell_bridge(struct engine *engine, uint16_t kind, const void *body, uint32_t size);
void engine_tell_report(struct engine *engine, const struct order *order,
                        const struct execution_report *report);
void engine_tell_position(struct engine *engine, const struct engine_market *market);
void engine_tell_top(struct engine *engine, const struct engine_market *market);
void engine_tell_risk_state(struct engine *engine);
int64_t engine_wall_ns(const struct engine *engine);

#define ENGINE_MARKET(engine, n) (&(engine)->markets[n])

#endif
