/* The order state table: late and repeated reports change nothing, impossible steps are named. */
#include "../../c_core/src/model/order.h"

#include <string.h>

static void terminal_states_stay(void)
{
    for (int state = ORDER_PENDING_NEW; state <= ORDER_UNKNOWN; state++)
        for (int type = EXEC_NEW; type <= EXEC_STATUS; type++) {
            int next = order_state_next(state, type, false);
            CHECK(next >= -1 && next <= ORDER_UNKNOWN);
            if (order_state_is_terminal(state))
                CHECK(next == -1 || order_state_is_terminal(next));
        }
}

static void repeated_reports_are_idempotent(void)
{
    static const int types[] = {EXEC_NEW,      EXEC_TRADE,   EXEC_CANCELED,
                                EXEC_REJECTED, EXEC_EXPIRED, EXEC_UNKNOWN};
    for (size_t n = 0; n < sizeof types / sizeof types[0]; n++) {
        int once = order_state_next(ORDER_PENDING_NEW, types[n], false);
        CHECK(once >= 0);
        CHECK(order_state_next(once, types[n], false) == once);
    }
}

static void particular_steps(void)
{
    CHECK(order_state_next(ORDER_PENDING_NEW, EXEC_TRADE, true) == ORDER_FILLED);
    CHECK(order_state_next(ORDER_PENDING_NEW, EXEC_TRADE, false) == ORDER_PARTIALLY_FILLED);
    CHECK(order_state_next(ORDER_PARTIALLY_FILLED, EXEC_NEW, false) == ORDER_PARTIALLY_FILLED);
    CHECK(order_state_next(ORDER_PENDING_CANCEL, EXEC_TRADE, false) == ORDER_PENDING_CANCEL);
    CHECK(order_state_next(ORDER_PENDING_CANCEL, EXEC_TRADE, true) == ORDER_FILLED);
    CHECK(order_state_next(ORDER_PENDING_CANCEL, EXEC_CANCEL_REJECTED, false) == ORDER_UNKNOWN);
    CHECK(order_state_next(ORDER_PENDING_NEW, EXEC_UNKNOWN, false) == ORDER_UNKNOWN);
    CHECK(order_state_next(ORDER_WORKING, EXEC_UNKNOWN, false) == ORDER_WORKING);
    CHECK(order_state_next(ORDER_CANCELED, EXEC_NEW, false) == ORDER_CANCELED);
    CHECK(order_state_next(ORDER_CANCELED, EXEC_TRADE, true) == ORDER_FILLED);
    CHECK(order_state_next(ORDER_FILLED, EXEC_CANCELED, false) == -1);
    CHECK(order_state_next(ORDER_REJECTED, EXEC_NEW, false) == -1);
    CHECK(order_state_next(ORDER_UNKNOWN, EXEC_CANCELED, false) == ORDER_CANCELED);
    CHECK(order_state_next(99, EXEC_NEW, false) == -1);
    CHECK(order_state_next(ORDER_WORKING, 99, false) == -1);
}

int main(void)
{
    terminal_states_stay();
    repeated_reports_are_idempotent();
    particular_steps();
    CHECK(strcmp(order_state_name(ORDER_UNKNOWN), "UNKNOWN") == 0);
    CHECK(strcmp(order_state_name(-1), "?") == 0);
    return 0;
}
