/*
 * strategy.h: what a strategy implements, and what it may ask of the engine. Strategies see markets
 * and their own orders; they never see connectors, the ledger or a clock. Everything they keep is
 * allocated by the engine at start. They are called on the engine's thread:
 *
 *   on_book       the market changed (already copied into market->top)
 *   on_execution  a report on an order of theirs, after the books have been updated
 *   on_timer      once a duty cycle
 *   on_hedge      a HEDGE request came (the hedger's)
 *
 * While the engine may not quote (halted, lease expired, not reconciled, stale market …) it cancels
 * quotes itself and strategy_may_quote is false: the strategy then proposes nothing.
 */
#ifndef PURSER_ENGINE_STRATEGY_H
#define PURSER_ENGINE_STRATEGY_H

#include "../oms/oms.h"
#include "../pnl/pnl.h"
#include "../risk/risk_engine.h"

struct engine;
struct strategy;

/* One instrument at one venue, as the engine keeps it. Read-only for strategies. */
struct engine_market {
    struct venue *venue;
    const struct instrument *instrument;
    uint16_t index;       /* in the engine's table */
    uint16_t venue_index; /* of the venue, in the engine's table */
    struct risk_market top;
    struct risk_limits limits;
    struct exposure exposure;
    struct pnl pnl;
    int64_t strategy_lots[8]; /* position by enum strategy_id: whose fills made it */
    bool delegated;           /* another process reserves and books for this venue */
    /* what the venue's stream told last of our position, engine_position.c */
    int64_t told_lots, told_entry_e9;
    int64_t told_due_ns; /* when a report of its fill should have come; 0: not waited for */
    bool told_by_hand;   /* it changed without a fill, and the books do not follow yet */
    int64_t entry_e9;    /* the venue's average entry of the position in the books */
};

struct strategy_operations {
    void (*on_book)(struct strategy *strategy, const struct engine_market *market, int64_t now_ns);
    void (*on_execution)(struct strategy *strategy, const struct engine_market *market,
                         const struct order *order, const struct execution_report *report,
                         int64_t now_ns);
    void (*on_timer)(struct strategy *strategy, int64_t now_ns);
    void (*on_hedge)(struct strategy *strategy, const struct message_hedge *hedge, int64_t now_ns);
};

struct strategy {
    uint8_t id; /* enum strategy_id */
    const char *name;
    const struct strategy_operations *operations;
    struct engine *engine;
};

/* What a strategy wants to send. */
struct order_request {
    uint16_t market; /* engine_market.index */
    uint8_t side, type, time_in_force, reduce_only;
    uint8_t strategy;
    struct price price;
    struct quantity quantity;
};

/* engine_place: checks, reserves, journals, gates and sends. REJECT_NONE and the id, or the reason
 * (counted on the page; nothing left). */
int engine_place(struct engine *engine, const struct order_request *request,
                 uint64_t *client_order_id);

/* engine_withdraw: asks the venue to cancel. False: unknown, ended, or not sendable now (the engine
 * tries again by itself). A second call while the first is under way does nothing. */
bool engine_withdraw(struct engine *engine, uint64_t client_order_id);

/* engine_order: the order while it is in the table; NULL afterwards. */
const struct order *engine_order(struct engine *engine, uint64_t client_order_id);

/* engine_may_quote: orders that add risk may be sent on this market now. */
bool engine_may_quote(const struct engine *engine, const struct engine_market *market);

/* engine_step_aside: asks the quoter to take its quotes of this side off the market until until_ns,
 * because an order of ours would trade with them. */
void engine_step_aside(struct engine *engine, uint16_t market, int side, int64_t until_ns);
int64_t engine_step_aside_until(const struct engine *engine, uint16_t market, int side);

int engine_market_count(const struct engine *engine);
const struct engine_market *engine_market_at(const struct engine *engine, int index);
const struct engine_market *engine_market_find(const struct engine *engine, uint16_t venue,
                                               const char *symbol);

/* engine_say: an event for people: to the telemetry thread, never to a file from here. */
void engine_say(struct engine *engine, int level, uint16_t venue, uint16_t reason,
                uint64_t client_order_id, const char *name, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

/* What the strategies below have to tell: a signal, a hedge order on its way, and the position that
 * hedges have made (a POSITION message to the bot whose quantity is that part alone). */
void engine_signal_sent(struct engine *engine, const struct message_signal *signal);
void engine_hedge_sent(struct engine *engine);
void engine_tell_hedge_position(struct engine *engine, const struct engine_market *market);
/* engine_wall_of: the venue's clock now: ours plus its offset. */
int64_t engine_wall_of(const struct engine *engine, const struct engine_market *market);

/* --- the three strategies: configuration and storage; init in place --- */

struct quoter_config {
    bool enabled;
    int64_t quantity_e9;
    int64_t max_position_e9;
    int spread_ticks; /* between our bid and our ask, around the middle; never crossing the touch */
    int requote_ticks; /* a quote moves when its price is this far from where it should be */
    int skew_ticks;    /* how far both prices shift at max_position; 0: the spread */
    int levels;        /* quotes per side, spread_ticks apart; 1 to QUOTER_LEVELS */
};

#define QUOTER_LEVELS    4
#define STRATEGY_MARKETS 8 /* markets one strategy follows */

struct quoter_side {
    uint64_t orders[QUOTER_LEVELS]; /* client ids; 0: none */
    int64_t retry_ns;               /* after a refusal: not before */
};

#define QUOTER_TIMER_NS 20000000 /* quotes are looked at this often without a tick */

struct quoter {
    struct strategy strategy;
    struct quoter_config config;
    int64_t next_ns;
    struct quoter_side sides[STRATEGY_MARKETS][2];
};

void quoter_init(struct quoter *quoter, struct engine *engine, const struct quoter_config *config);

struct signal_config {
    bool enabled;
    int64_t interval_ns;
    int64_t half_life_ns;        /* of the volatility's exponential average */
    int64_t volatility_floor_e9; /* annualised; 0.2 is 200000000 */
};

struct signal_market {
    struct page_signal latest;
    int64_t venue_wall_ns;
    int64_t sample_mid_e9; /* of the last volatility sample */
    int64_t sample_ns;
    int64_t published_ns;
    bool synced;
    double variance; /* of the log return, per second */
    double seconds;  /* weight gathered so far */
};

struct signal {
    struct strategy strategy;
    struct signal_config config;
    struct signal_market markets[STRATEGY_MARKETS];
};

void signal_init(struct signal *signal, struct engine *engine, const struct signal_config *config);
/* signal_fill_page: the latest values, for the status page; returns how many. */
int signal_fill_page(const struct signal *signal, struct page_signal out[PAGE_SIGNALS]);

struct hedger_config {
    bool enabled;
    int64_t max_position_e9;
    int64_t min_order_e9;
    int64_t collar_ppm;
    int64_t interval_ns;
};

struct hedger_market {
    struct message_hedge request; /* the newest target */
    bool wanted;
    uint64_t order; /* outstanding; 0: none */
    int64_t next_ns;
};

struct hedger {
    struct strategy strategy;
    struct hedger_config config;
    struct hedger_market markets[STRATEGY_MARKETS];
};

void hedger_init(struct hedger *hedger, struct engine *engine, const struct hedger_config *config);

#endif
