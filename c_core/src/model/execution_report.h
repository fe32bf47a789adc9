/*
 * execution_report.h: what a venue said about one of our orders, in our units. Connectors make
 * these; the OMS consumes them.
 */
#ifndef PURSER_MODEL_EXECUTION_REPORT_H
#define PURSER_MODEL_EXECUTION_REPORT_H

#include "order.h"

/* Whose order it is. All of them change the account's position, and all of them are charged. */
enum order_owner {
    OWNER_US = 0,     /* this instance, of this run or an earlier one */
    OWNER_PERSON = 1, /* anybody without Purser's form of id: a person, another program */
    OWNER_VENUE = 2,  /* liquidation, auto-deleveraging, settlement */
    OWNER_PURSER = 3, /* another instance of Purser; text names it */
};

struct execution_report {
    uint64_t client_order_id; /* 0: not ours; see owner and text */
    uint64_t venue_order_id;
    const struct instrument *instrument;
    uint8_t execution_type; /* enum execution_type */
    uint8_t order_state;    /* EXEC_STATUS: the venue's word on the state */
    uint8_t side, maker;
    uint8_t provisional;
    uint8_t owner;          /* enum order_owner */
    uint8_t not_found;      /* EXEC_STATUS: the venue does not know the order (yet) */
    uint16_t reject_reason; /* enum reject_reason */
    int32_t venue_code;     /* their error number; 0: none */
    struct price price;
    struct quantity quantity, cumulative;
    struct price last_price; /* EXEC_TRADE */
    struct quantity last_quantity;
    int64_t fee_e8;        /* commission in USD times 1e8; negative: rebate */
    int64_t wallet_e8;     /* EXEC_TRADE: what the venue says it did to the wallet's cash */
    uint8_t wallet_told;   /* 1: wallet_e8 is known */
    int64_t wall_ns;       /* venue's time */
    char execution_id[48]; /* unique per fill: the duplicate guard's key */
    char text[64];
};

#endif
