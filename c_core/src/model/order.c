/* The state table of an order. */
#include "order.h"

#define STATES 9
#define TYPES  9
#define NO     (-1) /* impossible */

/* A fill that completes the order leads to FILLED from anywhere; the table holds the other case. A
 * late word never takes a terminal order back; an acknowledgement beats a missing answer, so only
 * an order that was never acknowledged becomes UNKNOWN for want of one. A refused cancel says only
 * that the order may be gone (Binance USD-M docs, error -2011), so it makes the order UNKNOWN. */
static const int8_t table[STATES][TYPES] = {
    /*                NEW, TRADE, CANCELED, REJECTED, EXPIRED, UNKNOWN, CANCEL_REJECTED,
     *                TRADE_REVERSED, STATUS */
    [ORDER_PENDING_NEW] = {ORDER_WORKING, ORDER_PARTIALLY_FILLED, ORDER_CANCELED, ORDER_REJECTED,
                           ORDER_EXPIRED, ORDER_UNKNOWN, ORDER_PENDING_NEW, ORDER_PENDING_NEW,
                           ORDER_PENDING_NEW},
    [ORDER_WORKING] = {ORDER_WORKING, ORDER_PARTIALLY_FILLED, ORDER_CANCELED, NO, ORDER_EXPIRED,
                       ORDER_WORKING, ORDER_WORKING, ORDER_WORKING, ORDER_WORKING},
    [ORDER_PARTIALLY_FILLED] = {ORDER_PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED, ORDER_CANCELED, NO,
                                ORDER_EXPIRED, ORDER_PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED,
                                ORDER_PARTIALLY_FILLED, ORDER_PARTIALLY_FILLED},
    [ORDER_FILLED] = {ORDER_FILLED, ORDER_FILLED, NO, NO, NO, ORDER_FILLED, ORDER_FILLED,
                      ORDER_FILLED, ORDER_FILLED},
    [ORDER_PENDING_CANCEL] = {ORDER_PENDING_CANCEL, ORDER_PENDING_CANCEL, ORDER_CANCELED,
                              ORDER_REJECTED, ORDER_EXPIRED, ORDER_UNKNOWN, ORDER_UNKNOWN,
                              ORDER_PENDING_CANCEL, ORDER_PENDING_CANCEL},
    [ORDER_CANCELED] = {ORDER_CANCELED, ORDER_CANCELED, ORDER_CANCELED, NO, ORDER_CANCELED,
                        ORDER_CANCELED, ORDER_CANCELED, ORDER_CANCELED, ORDER_CANCELED},
    [ORDER_REJECTED] = {NO, NO, NO, ORDER_REJECTED, ORDER_REJECTED, ORDER_REJECTED, ORDER_REJECTED,
                        ORDER_REJECTED, ORDER_REJECTED},
    [ORDER_EXPIRED] = {ORDER_EXPIRED, ORDER_EXPIRED, ORDER_EXPIRED, NO, ORDER_EXPIRED,
                       ORDER_EXPIRED, ORDER_EXPIRED, ORDER_EXPIRED, ORDER_EXPIRED},
    [ORDER_UNKNOWN] = {ORDER_WORKING, ORDER_PARTIALLY_FILLED, ORDER_CANCELED, ORDER_REJECTED,
                       ORDER_EXPIRED, ORDER_UNKNOWN, ORDER_UNKNOWN, ORDER_UNKNOWN, ORDER_UNKNOWN},
};

int order_state_next(int state, int execution_type, bool complete)
{
    if (state < 0 || state >= STATES || execution_type < 0 || execution_type >= TYPES)
        return NO;
    int next = table[state][execution_type];
    if (next != NO && execution_type == EXEC_TRADE && complete)
        return ORDER_FILLED;
    return next;
}

bool order_state_is_terminal(int state)
{
    return state == ORDER_FILLED || state == ORDER_CANCELED || state == ORDER_REJECTED ||
           state == ORDER_EXPIRED;
}

const char *order_state_name(int state)
{
    static const char *const names[STATES] = {
        "PENDING_NEW", "WORKING",  "PARTIALLY_FILLED", "FILLED",  "PENDING_CANCEL",
        "CANCELED",    "REJECTED", "EXPIRED",          "UNKNOWN",
    };
    return state >= 0 && state < STATES ? names[state] : "?";
}
