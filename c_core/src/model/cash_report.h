/*
 * cash_report.h: what a venue said about money that moved without a fill, in our units. Connectors
 * make these; the engine's cash books consume them.
 */
#ifndef PURSER_MODEL_CASH_REPORT_H
#define PURSER_MODEL_CASH_REPORT_H

#include <stdbool.h>

#include "../../../bridge/protocol.h"

struct cash_report {
    uint8_t kind;      /* enum cash_kind; CASH_NONE: what a fill already carries, see trade_id */
    bool provisional;  /* told by an event: its row of the venue's history is still to come */
    bool unpriced;     /* a loss in a coin whose worth is not known: amount_e8 is 0 */
    int64_t amount_e8; /* worth in USD times 1e8, signed: what the account gained */
    int64_t wallet_e8; /* how the wallet that is compared changed; 0 for another coin's */
    int64_t wall_ns;   /* the venue's time */
    char asset[16];
    char key[48];      /* unique per row of an asset: the duplicate guard's key; "" for an event */
    uint64_t identity; /* of an event: equal when the same event is told again */
    int64_t trade_id;  /* CASH_NONE: the fill whose profit or commission this is */
};

#endif
