/*
 * reasons.h: every reason for which an order can be refused: one line makes the enum, the name,
 * the text and (through gen.py) the Python enum. Numbers are stable: add at the end, never
 * renumber.
 */
#ifndef PURSER_BRIDGE_REASONS_H
#define PURSER_BRIDGE_REASONS_H

/* X(number, NAME, "text for people") */
#define REJECT_REASONS(X)                                                                          \
    X(0, NONE, "accepted")                                                                         \
    X(1, BUDGET, "the shared risk budget has no room for it")                                      \
    X(2, HALTED, "trading is halted")                                                              \
    X(3, NOT_ACTIVE, "the ledger is not in a state that allows new risk")                          \
    X(4, REDUCING, "only orders that reduce risk are allowed now")                                 \
    X(5, LEASE_EXPIRED, "the supervisor has not renewed permission to add risk")                   \
    X(6, LEDGER_BUSY, "the ledger's lock was held; try again")                                     \
    X(7, STALE_GENERATION, "this process was replaced by a newer one")                             \
    X(8, NO_SLOT, "too many open orders for the ledger")                                           \
    X(9, NOT_RECONCILED, "the venue's open orders and position are not known yet")                 \
    X(10, MAX_QUANTITY, "quantity above the per-order maximum")                                    \
    X(11, MAX_NOTIONAL, "notional above the per-order maximum")                                    \
    X(12, PRICE_COLLAR, "price too far from the market")                                           \
    X(13, POSITION_LIMIT, "worst-case position above the instrument's limit")                      \
    X(14, OPEN_ORDERS, "too many open orders on the instrument")                                   \
    X(15, THROTTLE, "message rate limit; room is kept for cancels")                                \
    X(16, SELF_TRADE, "would trade with an order of our own")                                      \
    X(17, STALE_DATA, "market data is stale, gapped or crossed")                                   \
    X(18, DEAD_MAN, "the venue's dead-man switch is not armed")                                    \
    X(19, SESSION, "the venue's session is not ready")                                             \
    X(20, TICK_SIZE, "price is not on the tick grid")                                              \
    X(21, LOT_SIZE, "quantity is not on the lot grid or below the minimum")                        \
    X(22, MIN_NOTIONAL, "notional below the venue's minimum")                                      \
    X(23, DUPLICATE, "duplicate client order id")                                                  \
    X(24, DAILY_LOSS, "today's loss limit is reached")                                             \
    X(25, CLOCK, "clock offset to the venue is too large")                                         \
    X(26, BLIND, "our own fills cannot be seen")                                                   \
    X(27, RUNAWAY, "too many orders, rejects or repeated fills; a person must look")               \
    X(28, VENUE_REJECT, "the venue refused it")                                                    \
    X(29, POST_ONLY_CROSS, "a post-only order would have crossed the book")                        \
    X(30, INSUFFICIENT_BALANCE, "not enough balance or margin at the venue")                       \
    X(31, RATE_LIMITED, "the venue's rate limit")                                                  \
    X(32, VENUE_AUTH, "the venue refused the key or signature")                                    \
    X(33, VENUE_MODE, "the venue accepts no new orders now")                                       \
    X(34, JOURNAL, "the journal cannot be written")                                                \
    X(35, NO_SHOCK, "no stress move is set for the instrument, so it cannot be sold short")        \
    X(36, UNKNOWN_INSTRUMENT, "no such instrument")                                                \
    X(37, BAD_ORDER, "malformed order")                                                            \
    X(38, NO_LEDGER, "the shared risk ledger is missing or damaged")                               \
    X(39, MODE, "this mode sends no orders")                                                       \
    X(40, SIGNAL, "no fresh reference price from the engine")                                      \
    X(41, BRIDGE, "the other process is not connected")                                            \
    X(42, DAY_ROLL, "the day is being closed; orders go on in a moment")                           \
    X(43, CLOCK_JUMP, "the wall clock jumped and is not confirmed yet")                            \
    X(44, FOREIGN, "another Purser trades on this account")                                        \
    X(45, CASH, "the venue's cash differs from the books")

#ifndef PURSER_CDEF
enum reject_reason {
#define REASON_ENUM(number, name, text) REJECT_##name = number,
    REJECT_REASONS(REASON_ENUM)
#undef REASON_ENUM
        REJECT_REASON_COUNT
};

/* reject_reason_name(r): "BUDGET"; "?" when out of range. reject_reason_text(r): its sentence. */
const char *reject_reason_name(int reason);
const char *reject_reason_text(int reason);
#endif

#endif
