/* Movements of money told twice, late, lost, or in parts come to the same sums, in any order. */
#include "../../c_core/src/pnl/cash.h"

#include <stdio.h>
#include <string.h>

#include "../../c_core/src/base/check.h"

#define SECOND 1000000000LL
#define DAY    86400
#define E8     100000000LL

static struct cash cash;
static uint64_t identity;

static struct cash_report event(int kind, int64_t e8, int64_t second)
{
    return (struct cash_report){
        .kind = (uint8_t)kind,
        .provisional = true,
        .amount_e8 = e8,
        .wallet_e8 = e8,
        .wall_ns = (100 * DAY + second) * SECOND,
        .asset = "USDT",
        .identity = ++identity,
    };
}

static struct cash_report row(int kind, int64_t e8, int64_t second)
{
    struct cash_report report = event(kind, e8, second);
    report.provisional = false;
    report.identity = 0;
    return report;
}

static bool tell(struct cash_report report)
{
    return report.provisional ? cash_event(&cash, &report) : cash_row(&cash, &report);
}

static void begin(int64_t wallet_e8)
{
    cash_init(&cash, 100);
    cash.from_ns = 100 * DAY * SECOND;
    cash_begin(&cash, wallet_e8, 100 * DAY * SECOND);
}

static int read_to(int64_t second)
{
    return cash_read_to(&cash, (100 * DAY + second) * SECOND);
}

/* Event then row, row then event, the event twice: one movement. */
static void one_movement_told_in_any_order(void)
{
    begin(1000 * E8);
    struct cash_report first = event(CASH_FUNDING, -5 * E8, 10);
    CHECK(tell(first) && !tell(first));
    CHECK(cash_today_e8(&cash) == -5 * E8 && cash_expected_e8(&cash) == 995 * E8);
    CHECK(tell(row(CASH_FUNDING, -5 * E8, 11)));
    CHECK(cash_today_e8(&cash) == -5 * E8 && cash_expected_e8(&cash) == 995 * E8);
    CHECK(!tell(first));
    CHECK(tell(row(CASH_FUNDING, -6 * E8, 20)));
    CHECK(!tell(event(CASH_FUNDING, -6 * E8, 20)));
    CHECK(cash_today_e8(&cash) == -11 * E8 && cash.waiting_count == 0 && cash.rows_count == 0);
    /* Two equal charges are two: each event has one row. */
    CHECK(tell(event(CASH_FUNDING, -7 * E8, 30)) && tell(event(CASH_FUNDING, -7 * E8, 30)));
    CHECK(tell(row(CASH_FUNDING, -7 * E8, 30)) && tell(row(CASH_FUNDING, -7 * E8, 30)));
    CHECK(cash_today_e8(&cash) == -25 * E8 && cash.waiting_count == 0);
    CHECK(cash_agrees(&cash, 975 * E8));
}

/* A row of the same amount an hour later, or of another coin, is another movement. */
static void only_near_movements_are_the_same(void)
{
    begin(0);
    CHECK(tell(event(CASH_FUNDING, -5, 10)));
    CHECK(tell(row(CASH_FUNDING, -5, 3610)));
    struct cash_report other = row(CASH_FUNDING, -5, 10);
    memset(other.asset, 0, sizeof other.asset);
    memcpy(other.asset, "USDC", 4);
    CHECK(tell(other));
    CHECK(cash_today_e8(&cash) == -15 && cash.waiting_count == 1 && cash.rows_count == 2);
    /* The reason of an event and the type of a row are two vocabularies. */
    CHECK(tell(row(CASH_OTHER, -5, 10)));
    CHECK(cash.waiting_count == 0 && cash_today_e8(&cash) == -15);
}

/* Parts: an event for all, a row for each; matched by the sum once the history is read. */
static void parts_match_by_their_sum(void)
{
    begin(0);
    CHECK(tell(event(CASH_FUNDING, -30, 10)));
    CHECK(tell(row(CASH_FUNDING, -10, 10)) && tell(row(CASH_FUNDING, -20, 11)));
    CHECK(read_to(20) == 0);
    CHECK(cash_today_e8(&cash) == -30 && cash_expected_e8(&cash) == -30);
    CHECK(cash.waiting_count == 0 && cash.rows_count == 0);
    CHECK(tell(event(CASH_FUNDING, -30, 100)) && tell(row(CASH_FUNDING, -29, 100)));
    CHECK(read_to(110) == 0 && cash_today_e8(&cash) == -89);
}

/* An event that no row explains is dropped after its patience, and the caller is told. */
static void a_stale_event_is_dropped(void)
{
    begin(0);
    CHECK(tell(event(CASH_OTHER, -3, 10)));
    CHECK(read_to(600) == 0 && cash_today_e8(&cash) == -3);
    CHECK(read_to(611) == 1 && cash_today_e8(&cash) == 0 && cash_expected_e8(&cash) == 0);
}

/* The wallet agrees to one smallest unit; one that agrees without the waiting events ends them. */
static void the_wallet_decides(void)
{
    begin(1000);
    CHECK(cash_agrees(&cash, 1001) && cash_agrees(&cash, 999));
    CHECK(!cash_agrees(&cash, 1002) && !cash_agrees(&cash, 998));
    CHECK(tell(event(CASH_FUNDING, -50, 10)));
    CHECK(cash_agrees(&cash, 950) && cash.waiting_count == 1);
    CHECK(!cash_agrees(&cash, 970) && cash.waiting_count == 1);
    CHECK(cash_agrees(&cash, 1000) && cash.waiting_count == 0);
    cash_fill(&cash, -7);
    CHECK(cash_expected_e8(&cash) == 993);
}

/* What moved before the books began is in the wallet that they began with; what moved before the
 * account was ours is no result either. */
static void the_books_begin_with_a_wallet(void)
{
    cash_init(&cash, 100);
    cash.from_ns = (100 * DAY + 50) * SECOND;
    cash_fill(&cash, 99); /* not known yet: in the wallet that will be read */
    CHECK(!tell(event(CASH_FUNDING, -1, 50)) && !tell(row(CASH_FUNDING, -2, 49)));
    CHECK(tell(event(CASH_FUNDING, -3, 60)));
    cash_begin(&cash, 500, (100 * DAY + 70) * SECOND);
    CHECK(cash_today_e8(&cash) == -3 && cash_expected_e8(&cash) == 500);
    CHECK(tell(row(CASH_FUNDING, -3, 60)));
    CHECK(cash_today_e8(&cash) == -3 && cash_expected_e8(&cash) == 500);
    CHECK(tell(row(CASH_FUNDING, -4, 71)) && cash_expected_e8(&cash) == 496);
}

/* A coin that is no dollar counts its worth and leaves the wallet alone. */
static void another_coin_is_not_in_the_wallet(void)
{
    begin(1000);
    struct cash_report other = row(CASH_COMMISSION, -40, 10);
    memcpy(other.asset, "BNB", 4);
    other.wallet_e8 = 0;
    CHECK(tell(other));
    CHECK(cash_today_e8(&cash) == -40 && cash_expected_e8(&cash) == 1000);
}

/* Days: see the header. */
static void the_day_rolls(void)
{
    begin(0);
    CHECK(tell(row(CASH_FUNDING, -1, 10)) && tell(row(CASH_TRANSFER, 100, 20)));
    CHECK(tell(row(CASH_FUNDING, -2, DAY + 1)) && tell(row(CASH_TRANSFER, 200, DAY + 2)));
    CHECK(cash_today_e8(&cash) == -3 && cash_transfers_e8(&cash) == 300);
    CHECK(!cash_roll(&cash, 100) && !cash_roll(&cash, 99) && cash_roll(&cash, 101));
    CHECK(cash_today_e8(&cash) == -2 && cash_transfers_e8(&cash) == 200);
    CHECK(cash_expected_e8(&cash) == 297);
    CHECK(tell(row(CASH_FUNDING, -5, DAY - 1)) && cash_today_e8(&cash) == -7);
    CHECK(tell(event(CASH_FUNDING, -6, DAY + 9)) && cash_today_e8(&cash) == -13);
    CHECK(cash_roll(&cash, 105) && cash_transfers_e8(&cash) == 0);
    CHECK(cash_today_e8(&cash) == -6); /* its row is still to come */
}

/* What a closed day gained is no gain of today: told by a row after the roll, by an event that
 * waits across it, or by both. What it lost is charged today as well. */
static void a_closed_days_gain_pays_for_nothing(void)
{
    begin(0);
    CHECK(tell(event(CASH_REWARD, 500, DAY - 5)) && cash_today_e8(&cash) == 500);
    CHECK(tell(event(CASH_FUNDING, -40, DAY - 90)) && cash_today_e8(&cash) == 460);
    CHECK(cash_roll(&cash, 101) && cash_today_e8(&cash) == -40);
    CHECK(tell(row(CASH_REWARD, 500, DAY - 5)) && cash_today_e8(&cash) == -40);
    CHECK(tell(row(CASH_FUNDING, -40, DAY - 90)) && cash_today_e8(&cash) == -40);
    CHECK(tell(row(CASH_REWARD, 300, DAY - 1)) && cash_today_e8(&cash) == -40);
    CHECK(tell(row(CASH_FUNDING, -7, DAY - 2)) && cash_today_e8(&cash) == -47);
    CHECK(tell(row(CASH_REWARD, 20, DAY)) && cash_today_e8(&cash) == -27);
    CHECK(cash_expected_e8(&cash) == 773); /* the wallet has all of it */
}

/* Money of an unknown kind is a loss of today when it left, and no result when it came. */
static void an_unknown_gain_is_a_transfer(void)
{
    begin(0);
    CHECK(tell(event(CASH_OTHER, 600, 10)));
    CHECK(cash_today_e8(&cash) == 0 && cash_transfers_e8(&cash) == 600);
    CHECK(tell(row(CASH_OTHER, 600, 10)));
    CHECK(cash_today_e8(&cash) == 0 && cash_transfers_e8(&cash) == 600);
    CHECK(tell(row(CASH_OTHER, -50, 20)) && cash_today_e8(&cash) == -50);
    CHECK(cash_transfers_e8(&cash) == 600 && cash_expected_e8(&cash) == 550);
}

/* Sums beyond all reason stay at their bound, and it is said; nothing wraps around. */
static void sums_have_a_bound(void)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        begin(0);
        for (int n = 0; n < 40; n++) {
            CHECK(tell(row(CASH_FUNDING, sign * CASH_MOST_E8, DAY + 100 * n)));
            CHECK(tell(event(CASH_FUNDING, sign * CASH_MOST_E8, DAY + 10000 + 100 * n)));
            CHECK(tell(row(CASH_TRANSFER, sign * CASH_MOST_E8, DAY + 30000 + 100 * n)));
            cash_fill(&cash, sign * CASH_MOST_E8);
        }
        CHECK(cash.beyond);
        CHECK(cash_today_e8(&cash) == sign * CASH_BOUND_E8);
        CHECK(cash_transfers_e8(&cash) == sign * CASH_BOUND_E8);
        CHECK(cash_expected_e8(&cash) == sign * CASH_BOUND_E8);
        CHECK(cash.next_today_e8 == sign * CASH_BOUND_E8);
        CHECK(CASH_BOUND_E8 <= INT64_MAX / 10); /* the journal keeps ten times as much */
        read_to(40000);
    }
}

/* A fill that told no money is completed by its own rows alone. */
static void a_fill_is_completed(void)
{
    begin(0);
    cash_fill_untold(&cash, 77);
    struct cash_report report = row(CASH_NONE, -9, 10);
    report.trade_id = 78;
    CHECK(!tell(report));
    report.trade_id = 0;
    CHECK(!tell(report));
    report.trade_id = 77;
    CHECK(tell(report) && cash_expected_e8(&cash) == -9 && cash_today_e8(&cash) == 0);
}

/* More events than the list holds: the newest count, and nothing is overwritten. */
static void lists_have_their_limit(void)
{
    begin(0);
    for (int n = 0; n < 3 * CASH_RECENT; n++)
        CHECK(tell(event(CASH_FUNDING, -1 - n, 10 + 100 * n)));
    CHECK(cash.waiting_count == CASH_RECENT);
    for (int n = 0; n < 3 * CASH_RECENT; n++)
        CHECK(tell(row(CASH_FUNDING, -1 - n, 10 + 100 * n)));
    int64_t n = 3 * CASH_RECENT;
    CHECK(cash.waiting_count == 0 && cash_today_e8(&cash) == -n * (n + 1) / 2);
}

static void rounding_is_never_in_our_favour(void)
{
    CHECK(cash_micros(-1) == -1 && cash_micros(-100) == -1 && cash_micros(-101) == -2);
    CHECK(cash_micros(99) == 0 && cash_micros(100) == 1 && cash_micros(0) == 0);
}

int main(void)
{
    one_movement_told_in_any_order();
    only_near_movements_are_the_same();
    parts_match_by_their_sum();
    a_stale_event_is_dropped();
    the_wallet_decides();
    the_books_begin_with_a_wallet();
    another_coin_is_not_in_the_wallet();
    the_day_rolls();
    a_closed_days_gain_pays_for_nothing();
    an_unknown_gain_is_a_transfer();
    sums_have_a_bound();
    a_fill_is_completed();
    lists_have_their_limit();
    rounding_is_never_in_our_favour();
    return 0;
}
