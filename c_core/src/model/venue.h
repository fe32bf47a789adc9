/*
 * venue.h: what a connector implements, and what the engine gives it to call. Connectors know
 * nothing of risk, oms or strategies: bytes come in, these calls come out, on the engine's thread,
 * during venue_do_work.
 */
#ifndef PURSER_MODEL_VENUE_H
#define PURSER_MODEL_VENUE_H

#include "../base/status.h"
#include "cash_report.h"
#include "execution_report.h"

struct venue;
struct order_book; /* book/order_book.h */
struct loop;       /* net/loop.h */

/* The engine's ears. `context` is the engine. */
struct venue_events {
    void *context;
    /* A session changed; text says why in words. READY means: instruments known, book synced, user
     * stream open, start-up queries answered, dead-man switch acknowledged. */
    void (*on_session)(void *context, struct venue *venue, int session_state, const char *text);
    void (*on_instrument)(void *context, struct venue *venue, const struct instrument *instrument);
    /* The book changed: already applied. `received_ns` is when the bytes were read. */
    void (*on_book)(void *context, struct venue *venue, uint16_t instrument_index,
                    int64_t received_ns);
    /* Someone's trade. */
    void (*on_trade)(void *context, struct venue *venue, uint16_t instrument_index,
                     struct price price, struct quantity quantity, int aggressor_side,
                     int64_t received_ns);
    void (*on_execution)(void *context, struct venue *venue, const struct execution_report *report);
    /* Reconcile, in this order: each open order, each missed fill (on_execution with EXEC_TRADE),
     * each position, then the end. */
    void (*on_open_order)(void *context, struct venue *venue, const struct execution_report *order);
    void (*on_position)(void *context, struct venue *venue, const struct instrument *instrument,
                        struct quantity position, struct price entry);
    /* The mark at history_from_ms, in 1e-9 of the quote currency; 0: the venue knows none. */
    void (*on_opening)(void *context, struct venue *venue, const struct instrument *instrument,
                       int64_t mark_e9);
    void (*on_reconciled)(void *context, struct venue *venue);
    /* Money moved without a fill: by an event at once, or as a row of the history. */
    void (*on_cash)(void *context, struct venue *venue, const struct cash_report *report);
    /* The wallet's cash, asked for at this venue time; part of a reconcile. */
    void (*on_wallet)(void *context, struct venue *venue, int64_t wallet_e8, int64_t asked_wall_ns);
    /* The history of cash was read to its end up to this venue time; part of a reconcile. */
    void (*on_cash_read)(void *context, struct venue *venue, int64_t until_wall_ns);
    /* The venue told of a position outside a reconcile. after_fill: a fill made it, whose report
     * comes before or after this; else it changed by the venue's hand. */
    void (*on_position_changed)(void *context, struct venue *venue,
                                const struct instrument *instrument, struct quantity position,
                                int64_t entry_e9, bool after_fill);
    /* The venue acknowledged the dead-man switch: it cancels everything at expires_ns unless
     * renewed. */
    void (*on_dead_man)(void *context, struct venue *venue, int64_t armed_ns, int64_t expires_ns);
    void (*on_event)(void *context, struct venue *venue, int level, const char *name,
                     const char *text);
};

struct venue_operations {
    /* Builds sessions on the loop; returns at once; progress arrives as events. */
    int (*start)(struct venue *venue, struct loop *loop, int64_t now_ns);
    /* One turn: timers, parsed input, time-outs. Returns the amount of work done. */
    int (*do_work)(struct venue *venue, int64_t now_ns);
    /* submit: hands the order's bytes to the socket. STATUS_OK: handed over (outcome unknown until
     * a report comes). Any error: nothing left, not a byte. now_ns is the time of the gate: what
     * the venue judges the order's age by is derived from it and not from a later look at a clock,
     * so that a process that stood still between the two sends an order that is as old as its slot
     * says. Whoever sends the bytes of an order again passes the gate again. */
    int (*submit)(struct venue *venue, const struct order *order, int64_t now_ns);
    /* unsent: bytes that were handed over wait for the socket, an order's may be among them: they
     * leave later, past no gate. NULL: nothing ever waits here. */
    bool (*unsent)(const struct venue *venue);
    int (*cancel)(struct venue *venue, const struct order *order, int64_t now_ns);
    int (*cancel_all)(struct venue *venue, int64_t now_ns);
    /* query: asks what became of the order; answered by on_execution with EXEC_STATUS. */
    int (*query)(struct venue *venue, const struct order *order, int64_t now_ns);
    /* query_id: the id by which anyone with the key can ask the venue for the order; NULL: none. */
    void (*query_id)(const struct venue *venue, uint64_t client_order_id,
                     char out[PROTOCOL_QUERY_ID]);
    /* reconcile: asks for everything; `since_execution_id` bounds the missed fills,
     * venue.cash_since_ns the history of cash. */
    int (*reconcile)(struct venue *venue, const char *since_execution_id, int64_t now_ns);
    /* may_renew: 0 stops renewing the dead-man switch, so that the venue cancels by itself. */
    void (*set_dead_man)(struct venue *venue, bool may_renew);
    /* stop: cancel nothing, close everything. */
    void (*stop)(struct venue *venue);
};

struct venue {
    uint16_t id; /* enum venue_id */
    const char *name;
    const struct venue_operations *operations;
    const struct venue_events *events;
    int64_t cash_since_ns; /* kept by the engine: rows of the history since then are asked for */
    /* kept by the connector, read by the engine */
    int session_state;
    int64_t feed_ns;
    int64_t received_ns; /* while a frame is being worked on: when its bytes were read; else 0 */
    int64_t dead_man_armed_ns, dead_man_expires_ns;
    int64_t clock_offset_ns;
    /* set by the engine while it has no books of the venue: reconcile tells of all fills since
     * then, by the venue's wall clock, and of the mark at that time; 0: fills since
     * since_execution_id */
    int64_t history_from_ms;
    int64_t validity_window_ns; /* how long after its gate an order can still land; 0: no end */
    int64_t resyncs, disconnects;
    char text[64];
    struct order_book *(*book)(struct venue *venue, uint16_t instrument_index);
};

#endif
