/*
 * order.h: an order of ours and its state table.
 */
#ifndef PURSER_MODEL_ORDER_H
#define PURSER_MODEL_ORDER_H

#include "instrument.h"

struct order {
    uint64_t client_order_id; /* role:8 | generation:24 | sequence:32 */
    uint64_t venue_order_id;  /* theirs; 0: not known yet */
    const struct instrument *instrument;
    uint8_t side, type, time_in_force, reduce_only;
    uint8_t state; /* enum order_state */
    uint8_t strategy;
    uint8_t cancel_requested;
    uint8_t query_attempts;
    uint32_t ledger_slot;
    struct price price;
    struct quantity quantity, filled;
    int64_t created_ns, sent_ns, acked_ns, next_query_ns;
    int64_t lands_until_ns; /* as in its ledger slot: until then it can still reach the book;
                             * LANDS_UNTIL_NONE: no end is known */
    int64_t sent_wall_ms;   /* the timestamp that was signed */
};

/* order_state_next: the state after an execution report of this type arrives in `state`, or -1 when
 * the pair is impossible (a bug of ours or of the venue; the caller reports it and keeps the
 * state). A pure table; a late or repeated report maps to the same state. `complete`: cumulative =
 * quantity. */
int order_state_next(int state, int execution_type, bool complete);
bool order_state_is_terminal(int state);
const char *order_state_name(int state);

#endif
