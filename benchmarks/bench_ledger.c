/*
 * bench_ledger: the cost of one order at the shared ledger: reserve, gate, live and release, alone
 * and while a second process does the same. Prints nanoseconds an order, the best of several runs.
 */
#include "../bridge/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS 1000000
#define RUNS   5

static const int64_t limit[2] = {1000000000, 20000000000};
static const int64_t nothing[2] = {0, 0};
static const int64_t used[2] = {5000000, 50000000};

static void stop_if(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "bench_ledger: %s failed; is /dev/shm writable?\n", what);
        exit(1);
    }
}

static double run(const char *path, uint32_t participant)
{
    struct ledger_order order = {.venue = VENUE_BINANCE, .symbol = "BTCUSDT"};
    struct ledger *ledger;
    double best = 1e18;

    stop_if(ledger_open(&ledger, path) != 0, "open");
    stop_if(ledger_join(ledger, participant, ledger_now_ns()) != 0, "join");
    stop_if(ledger_rebuild(ledger, nothing, nothing, NULL, 0, ledger_now_ns()) != 0, "rebuild");
    for (int round = 0; round < RUNS; round++) {
        int64_t start = ledger_now_ns();
        double each;

        for (uint64_t i = 1; i <= ORDERS; i++) {
            uint32_t slot;

            order.client_order_id = i;
            stop_if(ledger_reserve(ledger, &slot, &order, used, start) != REJECT_NONE, "reserve");
            stop_if(ledger_gate(ledger, slot, nothing, start) != REJECT_NONE, "gate");
            ledger_live(ledger, slot);
            ledger_release(ledger, slot, nothing, nothing, start);
        }
        each = (double)(ledger_now_ns() - start) / ORDERS;
        best = each < best ? each : best;
    }
    ledger_leave(ledger);
    ledger_close(ledger);
    return best;
}

int main(void)
{
    char folder[] = "/dev/shm/bench-ledger-XXXXXX";
    char path[64];
    struct ledger *supervisor;
    int adopted;
    pid_t child;

    stop_if(mkdtemp(folder) == NULL, "mkdtemp");
    snprintf(path, sizeof path, "%s/ledger", folder);
    stop_if(ledger_create(&supervisor, &adopted, path, limit, nothing, ledger_now_ns()) != 0,
            "create");
    ledger_heartbeat_supervisor(supervisor, 0, INT64_MAX);
    (void)ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0);
    printf("one process    %.1f ns an order\n", run(path, ROLE_ENGINE));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)run(path, ROLE_BOT);
        _exit(0);
    }
    printf("two processes  %.1f ns an order\n", run(path, ROLE_ENGINE));
    (void)waitpid(child, NULL, 0);
    ledger_close(supervisor);
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}
