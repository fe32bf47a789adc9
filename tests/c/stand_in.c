/*
 * stand_in: a participant for tests of damaged memory: joins a line of the ledger, holds two orders
 * there as LIVE, then beats and obeys halts until SIGTERM. Small, so that a test can start
 * thousands.
 *
 *   stand_in LEDGER ROLE VENUE SYMBOL ACCESS     argv[0] and further words are as the tests wish
 */
#include "../../bridge/ledger.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USD 1000000LL

static volatile sig_atomic_t ended;

static void on_term(int number)
{
    (void)number;
    ended = 1;
}

static int hold(struct ledger *ledger, uint64_t id, uint16_t venue, const char *symbol,
                int64_t used)
{
    struct ledger_order order = {.client_order_id = id, .venue = venue, .window_ns = 1};
    const int64_t after[2] = {used, 10 * used};
    const int64_t nothing[2] = {0, 0};
    uint32_t slot;

    snprintf(order.symbol, sizeof order.symbol, "%s", symbol);
    if (ledger_reserve(ledger, &slot, &order, after, ledger_now_ns()) != REJECT_NONE ||
        ledger_gate(ledger, slot, nothing, ledger_now_ns()) != REJECT_NONE)
        return 1;
    ledger_live(ledger, slot);
    return 0;
}

int main(int count, char **words)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    const int64_t nothing[2] = {0, 0};
    struct ledger *ledger;

    if (count < 6)
        return 2;
    signal(SIGTERM, on_term);
    if (ledger_open(&ledger, words[1]) != 0 ||
        ledger_join(ledger, (uint32_t)atoi(words[2]), ledger_now_ns()) != 0 ||
        ledger_rebuild(ledger, nothing, nothing, NULL, 0, ledger_now_ns()) != 0 ||
        hold(ledger, 1, (uint16_t)atoi(words[3]), words[4], 5 * USD) != 0 ||
        hold(ledger, 2, (uint16_t)atoi(words[3]), words[4], 9 * USD) != 0)
        return 1;
    ledger_set_access(ledger, strtoull(words[5], NULL, 10));
    printf("ready\n");
    fflush(stdout);
    while (!ended) {
        ledger_beat(ledger, ledger_now_ns(), ledger_state_now(ledger) >= LEDGER_CANCEL_ONLY);
        nanosleep(&pause, NULL);
    }
    return 0;
}
