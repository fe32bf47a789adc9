/*
 * The order of the ledger's stores and loads between two processors: whoever halts and then looks
 * at the slots sees every order whose gate said yes. Without the fence of ledger_gate both may miss
 * each other, on x86 as well: the slot still waits in the sender's store buffer while the sender
 * reads the control word of a moment ago.
 */
#include "../../bridge/ledger.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

#define ROUNDS 30000
#define SPINS  2000

static const int64_t limit[2] = {1000000000, 20000000000};
static const int64_t nothing[2] = {0, 0};
static const int64_t used[2] = {5000000, 50000000};

static char path[64];
static struct ledger *supervisor;
static _Atomic int round_now;
static _Atomic int sender_done;
static _Atomic int gate_said;

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_ledger_order.c:%d: %s\n", line, expression);
    abort();
}

/* wait_for: spins for the closest meeting, and yields where both threads share one processor. */
static void wait_for(_Atomic int *word, int value)
{
    for (int spin = 0; atomic_load(word) != value; spin++)
        if (spin > SPINS)
            sched_yield();
}

static void *sender(void *ledger_of_engine)
{
    struct ledger *ledger = ledger_of_engine;
    struct ledger_order order = {.venue = VENUE_BINANCE, .symbol = "BTCUSDT"};

    for (int round = 1; round <= ROUNDS; round++) {
        uint32_t slot = 0;
        int said;

        order.client_order_id = (uint64_t)round;
        wait_for(&round_now, round);
        said = ledger_reserve(ledger, &slot, &order, used, 1);
        if (said == REJECT_NONE)
            said = ledger_gate(ledger, slot, nothing, 1);
        atomic_store(&gate_said, said);
        atomic_store(&sender_done, round);
        wait_for(&round_now, -round);
        if (said == REJECT_NONE)
            ledger_release(ledger, slot, nothing, nothing, 1);
        atomic_store(&sender_done, -round);
    }
    return NULL;
}

/* The slots are as they were just after the halt: but for every sixteenth round, nobody waited for
 * the sender. */
static void halt_and_look(int round, int *missed, int *sent)
{
    struct ledger_slot slots[2];
    int seen;

    if (round % 16 == 0)
        wait_for(&sender_done, round);
    for (volatile int delay = round % 401; delay > 0; delay--)
        ;
    REQUIRE(ledger_halt(supervisor, HALT_OPERATOR) > 0);
    seen = ledger_slots(supervisor, ROLE_ENGINE, slots, 2);
    wait_for(&sender_done, round);
    *sent += atomic_load(&gate_said) == REJECT_NONE;
    *missed += atomic_load(&gate_said) == REJECT_NONE && seen == 0;
}

static void test_a_halt_sees_every_order_that_passed_the_gate(void)
{
    struct ledger *engine;
    pthread_t thread;
    int missed = 0;
    int sent = 0;

    REQUIRE(ledger_open(&engine, path) == 0 && ledger_join(engine, ROLE_ENGINE, 1) == 0);
    REQUIRE(ledger_rebuild(engine, nothing, nothing, NULL, 0, 1) == 0);
    REQUIRE(pthread_create(&thread, NULL, sender, engine) == 0);
    for (int round = 1; round <= ROUNDS; round++) {
        REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
        atomic_store(&round_now, round);
        halt_and_look(round, &missed, &sent);
        atomic_store(&round_now, -round);
        wait_for(&sender_done, -round);
    }
    REQUIRE(pthread_join(thread, NULL) == 0);
    fprintf(stderr, "%d of %d orders passed the gate, %d of them unseen by the halt\n", sent,
            ROUNDS, missed);
    REQUIRE(sent > 0 && missed == 0);
    ledger_close(engine);
}

int main(void)
{
    char folder[] = "/dev/shm/test-ledger-order-XXXXXX";
    int adopted;

    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/ledger", folder);
    REQUIRE(ledger_create(&supervisor, &adopted, path, limit, nothing, 1) == 0);
    ledger_heartbeat_supervisor(supervisor, 1, INT64_MAX);
    test_a_halt_sees_every_order_that_passed_the_gate();
    ledger_close(supervisor);
    (void)unlink(path);
    REQUIRE(rmdir(folder) == 0);
    return 0;
}
