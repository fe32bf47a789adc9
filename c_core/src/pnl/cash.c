/* Movements, their events and rows; the rules are in the header. */
#include "cash.h"

#include <string.h>

#define NS_PER_DAY   86400000000000
#define E8_PER_MICRO 100
/* Movements of one moment: an event for all positions, a row for each. */
#define MOMENT_NS 5000000000

/* What a venue told is no bug of ours, however large: a sum stops at its bound. False: it did. */
static bool add(int64_t *sum, int64_t amount)
{
    bool wraps = __builtin_add_overflow(*sum, amount, sum);
    if (!wraps && *sum <= CASH_BOUND_E8 && *sum >= -CASH_BOUND_E8)
        return true;
    *sum = amount < 0 ? -CASH_BOUND_E8 : CASH_BOUND_E8;
    return false;
}

void cash_init(struct cash *cash, int64_t day)
{
    memset(cash, 0, sizeof *cash);
    cash->day = day;
}

int64_t cash_micros(int64_t amount_e8)
{
    int64_t micros = amount_e8 / E8_PER_MICRO;
    return amount_e8 % E8_PER_MICRO < 0 ? micros - 1 : micros;
}

static int64_t apart(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

static struct cash_movement movement_of(const struct cash_report *report)
{
    struct cash_movement movement = {
        .wall_ns = report->wall_ns,
        .amount_e8 = report->amount_e8,
        .wallet_e8 = report->wallet_e8,
        /* What nobody can name must not pay for losses. */
        .kind = report->kind == CASH_OTHER && report->amount_e8 > 0 ? CASH_TRANSFER : report->kind,
    };
    memcpy(movement.asset, report->asset, sizeof movement.asset);
    return movement;
}

static bool same_coin(const struct cash_movement *a, const struct cash_movement *b)
{
    return memcmp(a->asset, b->asset, sizeof a->asset) == 0;
}

/* ---- short lists, oldest first ----------------------------------------------------------------
 */

static void list_remove(struct cash_movement *list, int *count, int n)
{
    (*count)--;
    memmove(&list[n], &list[n + 1], sizeof *list * (size_t)(*count - n));
}

static void list_add(struct cash_movement *list, int *count, const struct cash_movement *movement)
{
    if (*count == CASH_RECENT)
        list_remove(list, count, 0);
    list[(*count)++] = *movement;
}

/* The place of a movement of the same coin and amount near in time; -1: none. The kinds may differ:
 * an event's reason and a row's type are two vocabularies. */
static int list_find(const struct cash_movement *list, int count,
                     const struct cash_movement *movement)
{
    for (int n = 0; n < count; n++)
        if (same_coin(&list[n], movement) && list[n].amount_e8 == movement->amount_e8 &&
            apart(list[n].wall_ns, movement->wall_ns) <= CASH_MATCH_NS)
            return n;
    return -1;
}

/* The sum of one coin's movements of one moment, and removing them. */
static int64_t moment_sum(struct cash_movement *list, int *count,
                          const struct cash_movement *around, bool remove)
{
    int64_t sum = 0;
    for (int n = 0; n < *count;) {
        if (!same_coin(&list[n], around) || apart(list[n].wall_ns, around->wall_ns) > MOMENT_NS) {
            n++;
            continue;
        }
        add(&sum, list[n].amount_e8);
        if (remove)
            list_remove(list, count, n);
        else
            n++;
    }
    return sum;
}

/* ---- events and rows --------------------------------------------------------------------------
 */

static bool told_before(struct cash *cash, uint64_t identity)
{
    int kept = cash->told_count < CASH_RECENT ? cash->told_count : CASH_RECENT;
    for (int n = 0; n < kept; n++)
        if (cash->told[n] == identity)
            return true;
    cash->told[cash->told_count % CASH_RECENT] = identity;
    cash->told_count++;
    return false;
}

bool cash_event(struct cash *cash, const struct cash_report *report)
{
    struct cash_movement movement = movement_of(report);
    if (report->kind == CASH_NONE || report->wall_ns <= cash->from_ns ||
        told_before(cash, report->identity))
        return false;
    int row = list_find(cash->rows, cash->rows_count, &movement);
    if (row >= 0) {
        list_remove(cash->rows, &cash->rows_count, row);
        return false;
    }
    cash->unpriced = cash->unpriced || report->unpriced;
    list_add(cash->waiting, &cash->waiting_count, &movement);
    return true;
}

/* is_result: part of today's result. What a closed day gained must not pay for today's losses. */
static bool is_result(const struct cash *cash, const struct cash_movement *movement)
{
    return movement->kind != CASH_TRANSFER &&
           (movement->amount_e8 < 0 || movement->wall_ns / NS_PER_DAY >= cash->day);
}

static void row_counts(struct cash *cash, const struct cash_movement *movement)
{
    bool later = movement->wall_ns / NS_PER_DAY > cash->day;
    bool transfer = movement->kind == CASH_TRANSFER;
    if (!transfer && !is_result(cash, movement))
        return;
    if (!add(transfer ? &cash->transfers_e8 : &cash->today_e8, movement->amount_e8))
        cash->beyond = true;
    if (later)
        add(transfer ? &cash->next_transfers_e8 : &cash->next_today_e8, movement->amount_e8);
}

/* The place of a fill whose money was not told with it; -1: none. */
static int untold_find(const struct cash *cash, int64_t trade_id)
{
    int kept = cash->untold_count < CASH_UNTOLD ? cash->untold_count : CASH_UNTOLD;
    for (int n = 0; n < kept; n++)
        if (trade_id != 0 && cash->untold[n] == trade_id)
            return n;
    return -1;
}

bool cash_wants(const struct cash *cash, const struct cash_report *report)
{
    return report->kind == CASH_NONE ? untold_find(cash, report->trade_id) >= 0
                                     : report->wall_ns > cash->from_ns;
}

bool cash_row(struct cash *cash, const struct cash_report *report)
{
    struct cash_movement movement = movement_of(report);
    if (!cash_wants(cash, report))
        return false;
    if (report->kind == CASH_NONE) {
        cash_fill(cash, report->wallet_e8);
        return true;
    }
    row_counts(cash, &movement);
    if (report->wall_ns > cash->books_ns)
        cash_fill(cash, movement.wallet_e8);
    int event = list_find(cash->waiting, cash->waiting_count, &movement);
    if (event >= 0) {
        list_remove(cash->waiting, &cash->waiting_count, event);
    } else {
        cash->unpriced = cash->unpriced || report->unpriced;
        list_add(cash->rows, &cash->rows_count, &movement);
    }
    return true;
}

void cash_fill(struct cash *cash, int64_t wallet_e8)
{
    if (cash->known && !add(&cash->books_e8, wallet_e8))
        cash->beyond = true;
}

bool cash_fill_untold(struct cash *cash, int64_t trade_id)
{
    if (trade_id == 0 || untold_find(cash, trade_id) >= 0)
        return false;
    cash->untold[cash->untold_count % CASH_UNTOLD] = trade_id;
    cash->untold_count++;
    return true;
}

void cash_fill_told(struct cash *cash, int64_t trade_id)
{
    int place = untold_find(cash, trade_id);
    if (place >= 0)
        cash->untold[place] = 0;
}

int cash_read_to(struct cash *cash, int64_t wall_ns)
{
    int dropped = 0;
    if (wall_ns > cash->read_ns)
        cash->read_ns = wall_ns;
    for (int n = 0; n < cash->waiting_count;) {
        struct cash_movement event = cash->waiting[n];
        bool any = false;
        for (int r = 0; r < cash->rows_count; r++)
            any = any || (same_coin(&cash->rows[r], &event) &&
                          apart(cash->rows[r].wall_ns, event.wall_ns) <= MOMENT_NS);
        if (any && moment_sum(cash->waiting, &cash->waiting_count, &event, false) ==
                       moment_sum(cash->rows, &cash->rows_count, &event, false)) {
            moment_sum(cash->waiting, &cash->waiting_count, &event, true);
            moment_sum(cash->rows, &cash->rows_count, &event, true);
            n = 0;
        } else if (wall_ns - event.wall_ns > CASH_STALE_NS) {
            list_remove(cash->waiting, &cash->waiting_count, n);
            dropped++;
        } else {
            n++;
        }
    }
    return dropped;
}

/* ---- the wallet --------------------------------------------------------------------------------
 */

void cash_begin(struct cash *cash, int64_t wallet_e8, int64_t wall_ns)
{
    cash->known = true;
    cash->books_e8 = wallet_e8;
    cash->books_ns = wall_ns;
    if (cash->from_ns == 0)
        cash->from_ns = wall_ns;
}

bool cash_agrees(struct cash *cash, int64_t wallet_e8)
{
    if (apart(cash_expected_e8(cash), wallet_e8) <= 1)
        return true;
    if (cash->waiting_count == 0 || apart(cash->books_e8, wallet_e8) > 1)
        return false;
    cash->waiting_count = 0;
    return true;
}

/* ---- the day ------------------------------------------------------------------------------------
 */

bool cash_roll(struct cash *cash, int64_t day)
{
    if (day <= cash->day)
        return false;
    bool next = day == cash->day + 1;
    cash->day = day;
    cash->today_e8 = next ? cash->next_today_e8 : 0;
    cash->transfers_e8 = next ? cash->next_transfers_e8 : 0;
    cash->next_today_e8 = cash->next_transfers_e8 = 0;
    return true;
}

static int64_t with_waiting(const struct cash *cash, int64_t sum, bool transfers)
{
    for (int n = 0; n < cash->waiting_count; n++)
        if (transfers ? cash->waiting[n].kind == CASH_TRANSFER : is_result(cash, &cash->waiting[n]))
            add(&sum, cash->waiting[n].amount_e8);
    return sum;
}

int64_t cash_today_e8(const struct cash *cash)
{
    return with_waiting(cash, cash->today_e8, false);
}

int64_t cash_transfers_e8(const struct cash *cash)
{
    return with_waiting(cash, cash->transfers_e8, true);
}

int64_t cash_expected_e8(const struct cash *cash)
{
    int64_t sum = cash->books_e8;
    for (int n = 0; n < cash->waiting_count; n++)
        if (cash->waiting[n].wall_ns > cash->books_ns)
            add(&sum, cash->waiting[n].wallet_e8);
    return sum;
}
