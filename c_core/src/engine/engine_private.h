/*
 * engine_private.h: what the engine's own files share: its state, and the seams between them.
 *
 *   engine.c          life cycle and the duty cycle
 *   engine_orders.c   an order's way out: checks, reservation, journal, gate, venue; cancels
 *   engine_reports.c  an execution report's way in: table, P&L, ledger, strategies
 *   engine_foreign.c  orders of the account that are not ours
 *   engine_venues.c   sessions, instruments, books, reconcile
 *   engine_ledger.c   totals, reprice, halts, leases
 *   engine_day.c      the end of a day, fills of a closed one, and what a suspend makes stale
 *   engine_cash.c     money that moves without a fill; the wallet
 *   engine_position.c positions that change without a fill
 *   engine_journal.c  what a restart restores, and the checkpoint
 *   engine_history.c  the day of which no journal tells, made of the venue's own records
 *   engine_page.c     status page and telemetry
 */
#ifndef PURSER_ENGINE_ENGINE_PRIVATE_H
#define PURSER_ENGINE_ENGINE_PRIVATE_H

#include "../base/arena.h"
#include "../base/ring.h"
#include "../pnl/cash.h"
#include "engine.h"

#define RESTORED_BOOKS      64
#define RESTORED_ORDERS     OMS_ORDERS
#define RESTORED_STRATEGIES 8
#define HISTORY_FILLS       65536
#define RESTORED_VENUES     16 /* by enum venue_id */

/* One instrument's books as the journal left them, until the venue tells of the instrument. */
struct restored_book {
    uint16_t venue;
    char symbol[PROTOCOL_SYMBOL];
    int64_t position_e9, cost_micros, realized_micros, fees_e8;
    int64_t volume_micros, cash_flow_micros, mark_e9;
    int64_t opening_e9; /* the mark at which this run has settled it into the day; 0: not known */
    int64_t strategy_e9[RESTORED_STRATEGIES];
    int64_t ahead_e9, ahead_micros, ahead_fees_e8; /* as in struct pnl */
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
    uint32_t generation;             /* highest that made client order ids */
    bool known[RESTORED_VENUES];     /* venues (by enum venue_id) with books */
    char since[RESTORED_VENUES][48]; /* newest execution per venue */
    struct cash cash[RESTORED_VENUES];
    bool cash_claimed[RESTORED_VENUES];
    bool cash_halt; /* the last run halted because cash differed, and nobody has settled it */
};

/* A fill of today at the venue; in the order of the venue's numbers. */
struct history_fill {
    int64_t execution;
    int64_t lots; /* signed */
    struct price price;
    int64_t fee_e8;
    uint16_t market;
};

/* What the venue tells of a day that has no journal. */
struct history {
    bool told;     /* the missing journal was said to be missing */
    bool overflow; /* the day had more fills than fit */
    int passes;
    int count, count_before;
    struct {
        int64_t opening_e9; /* the venue's mark at 00:00 UTC; 0: not known */
        int64_t lots_before;
    } markets[ENGINE_MARKETS];
    struct history_fill fills[HISTORY_FILLS];
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
    struct cash cash;
    int64_t movements; /* of cash, counted */
    int64_t movements_when_asked;
    int64_t next_cash_ns;  /* a reading of the wallet before the periodic one; 0: none */
    int64_t cash_doubt_ns; /* since when the wallet differs from the books; 0: it does not */
    int cash_tries;        /* readings in a row during which something moved */
    bool cash_accepted;    /* a person resumed: the books follow the wallet */
    bool cash_halted;      /* an earlier run halted for cash, and nothing has settled it yet */
    bool wallet_told, cash_read; /* by the reconcile in progress */
    int64_t wallet_e8, wallet_wall_ns, wallet_ns;
};

#define ENGINE_STRANGERS 64

/* An order of the account that is not ours. One that has ended is remembered until its place is
 * needed, so that each is told once. */
struct engine_stranger {
    uint64_t venue_order_id; /* 0: free */
    uint16_t market;
    bool rests;  /* it is charged: open at the venue, with a price */
    bool listed; /* by the reconcile in progress */
    int64_t heard_ns;
};

struct engine_foreign {
    struct engine_stranger orders[ENGINE_STRANGERS];
    int64_t since_wall_ns; /* what another Purser has done before this is history */
    char other[64];        /* the other Purser's name, once it was seen at work; "": none */
    int venue_index;       /* where */
    int64_t halt_ns;       /* the halt comes by then; 0: it has come, or nothing was seen */
    bool able;             /* an order of ours could leave */
    uint64_t card;         /* the order by which the other one hears of us */
    int64_t next_card_ns;
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
    struct history history;
    uint64_t sealed_told; /* sequence of the seal that the ledger holds */
    struct risk_runaway runaway;
    bool runaway_told;

    struct engine_foreign foreign;

    struct quoter quoter;
    struct signal signal;
    struct hedger hedger;
    struct strategy *strategies[4];
    int strategy_count;
    int64_t aside_until_ns[ENGINE_MARKETS][2];
    struct engine_bridge bridge;

    /* totals over all markets */
    int64_t loss_micros, day_micros;
    int64_t cash_micros, transfers_micros; /* today, of all venues; see engine_cash_sums */
    int64_t used_micros[2], positions_micros[2];
    bool dirty; /* totals changed since the last reprice */
    int64_t next_reprice_ns;
    int over_budget; /* readings in a row above 105 % */
    int64_t next_over_ns;
    bool halt_seen; /* and nobody has resumed since */
    int64_t day;
    int64_t late_micros; /* learnt today of fills of closed days */
    int64_t closed_day, closed_micros;

    int64_t next_unclaimed_ns; /* when "books_unclaimed" may be said again */

    bool rebuilt;  /* ledger_rebuild was done, and nothing has made it stale since */
    bool charging; /* it was done in this run: from then on marks are charged, stale or not */
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
/* engine_is_unsent: an order that passed the gate may not have left this process yet. */
bool engine_is_unsent(const struct engine *engine);

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
/* engine_want_reconcile: soon, at most once a second. */
void engine_want_reconcile(struct engine *engine, struct engine_venue *ev);
/* engine_attribute_fill: whose position a fill changes; position is the one after it. A foreign
 * fill (STRATEGY_NONE) closes what is held against it: foreign lots, then the hedger's, the
 * quoter's and others', so that no strategy believes to hold what somebody else has closed. When it
 * leaves the account flat, nobody holds anything. Live and from the journal, in any unit. */
void engine_attribute_fill(int64_t held[RESTORED_STRATEGIES], int strategy, int64_t signed_quantity,
                           int64_t position);
/* engine_leave_behind: an order of an earlier run joins the table, to be cancelled. */
struct oms_entry *engine_leave_behind(struct engine *engine, struct engine_market *market,
                                      const struct order *order);

/* engine_foreign.c
 *
 * A person's order is charged as one of ours would be, from the moment it is seen until the venue
 * says that it is gone (a list without it, or a report of its end); its fills are booked; it is
 * told once; trading goes on.
 *
 * Another instance of Purser on the account means two budgets for one account: both must stop.
 *   its order is open, new, changed or filled after our start   it is at work: halt
 *   its fill of before our start, the end of an order of its    history: booked and told
 *
 * Were history a reason to halt, a home restored from a backup could not start. The halt is not
 * immediate: whoever sees the other first makes itself seen. Orders of ours are pulled and no
 * strategy places any, one "card" is sent (the venue's smallest order, immediate or cancel, far
 * from the market: it cannot fill), and when the venue has answered, or 1.5 s after it could have
 * left, or after 10 s in which trading had not begun, the ledger is halted. The other one sees the
 * card on its user stream. A person's resume begins anew: what is still open then halts again.
 *
 * engine_stranger: a report (listed: a row of the open orders) about an order with client_order_id
 * 0. engine_strangers_asked, _answered: around a reconcile's list: what it lacks is gone.
 * engine_foreign_begin: at start and after a resume. engine_foreign_work: each duty cycle. */
void engine_stranger(struct engine *engine, struct engine_venue *ev, struct engine_market *market,
                     const struct execution_report *report, bool listed);
void engine_strangers_asked(struct engine *engine, const struct engine_venue *ev);
void engine_strangers_answered(struct engine *engine, const struct engine_venue *ev);
void engine_foreign_begin(struct engine *engine);
int engine_foreign_work(struct engine *engine);

/* engine_venues.c */
void engine_listen(struct engine *engine, struct venue *venue);
int engine_reconcile_work(struct engine *engine);
struct engine_venue *engine_venue_of(struct engine *engine, const struct venue *venue);
struct engine_market *engine_market_of(struct engine *engine, const struct venue *venue,
                                       const struct instrument *instrument);

/* engine_cash.c */
/* engine_cash_sums: adds up after any change, so that a tick need not look at every venue's. */
void engine_cash_sums(struct engine *engine);
/* engine_roll_cash: the day's sums begin again; movements of the new day that are known stay. */
void engine_roll_cash(struct engine *engine, int64_t day);
void engine_journal_cash(struct engine *engine);
void engine_read_cash(struct engine *engine, const struct journal_record *record);
/* engine_raise_cash_day: the sums are of this day, or of a later one that they name themselves. */
void engine_raise_cash_day(struct cash *cash, int64_t day);
void engine_read_resume(struct engine *engine);
void engine_read_untold(struct engine *engine, const struct journal_record *record);
void engine_read_wallet(struct engine *engine, const struct journal_record *record);
void engine_claim_cash(struct engine *engine, struct engine_venue *ev);
void engine_on_cash(void *context, struct venue *venue, const struct cash_report *report);
void engine_on_wallet(void *context, struct venue *venue, int64_t wallet_e8, int64_t asked_wall_ns);
void engine_on_cash_read(void *context, struct venue *venue, int64_t until_wall_ns);
void engine_cash_fill(struct engine *engine, struct engine_venue *ev,
                      const struct execution_report *report, bool reversed);
/* engine_cash_asked: before a reconcile; engine_judge_cash: at its end. */
void engine_cash_asked(struct engine *engine, struct engine_venue *ev);
void engine_judge_cash(struct engine *engine, struct engine_venue *ev);
void engine_cash_resumed(struct engine *engine);
bool engine_cash_doubted(const struct engine *engine);

/* engine_position.c */
void engine_on_position_changed(void *context, struct venue *venue,
                                const struct instrument *instrument, struct quantity position,
                                int64_t entry_e9, bool after_fill);
/* engine_position_differs: a reconcile read another position than the books hold: the worse of both
 * is charged. engine_settle_position: true when the venue had told that it changed it by hand, and
 * the books now follow. engine_position_agrees: a reconcile read what the books hold. */
void engine_position_differs(struct engine *engine, struct engine_market *market, int64_t lots);
bool engine_settle_position(struct engine *engine, struct engine_market *market, int64_t lots);
void engine_position_agrees(struct engine *engine, struct engine_market *market, int64_t entry_e9);
void engine_watch_positions(struct engine *engine);

/* engine_journal.c */
void engine_journal_append(struct engine *engine, struct journal_record *record);
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

/* engine_history.c: while a venue's reconcile adopts. fill, opening: what it is told; settled: the
 * last pass brought nothing new; rebuild: then makes the books; again: asks once more. */
void engine_history_fill(struct engine *engine, const struct engine_market *market,
                         const struct execution_report *report);
void engine_history_opening(struct engine *engine, const struct engine_market *market,
                            int64_t mark_e9);
bool engine_history_settled(struct engine *engine, const struct engine_venue *ev);
void engine_history_rebuild(struct engine *engine, struct engine_venue *ev);
void engine_history_again(struct engine *engine, struct engine_venue *ev);
/* engine_history_restart: another day's fills are asked for from now on. */
void engine_history_restart(struct engine *engine);
int64_t engine_history_from_ms(const struct engine *engine, const struct venue *venue);
int64_t engine_day_start_ms(const struct engine *engine);
/* engine_journal_missing: said once, and counted for the page. */
void engine_journal_missing(struct engine *engine, const char *why);

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
