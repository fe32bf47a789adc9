/* The order table, its index, the duplicate guard, and what reports do to orders. */
#include "oms.h"

#include <string.h>

#define INDEX_MASK     (OMS_INDEX - 1)
#define DELETED        (-1)
#define NONE           (-1)
#define QUERY_FIRST_NS ((int64_t)250000000) /* shifted below: beyond an int */
#define QUERY_MOST_NS  5000000000

/* ---- the table ------------------------------------------------------------------------------ */

void oms_init(struct oms *oms)
{
    memset(oms, 0, sizeof *oms);
    for (int n = 0; n < OMS_ORDERS; n++)
        oms->entries[n].next = n + 1 < OMS_ORDERS ? n + 1 : NONE;
    oms->terminal_head = oms->terminal_tail = NONE;
}

/* Sequence numbers sit in the low bits, so neighbours spread by themselves; the multiplier mixes in
 * role and generation. */
static uint32_t place_of(uint64_t id)
{
    return (uint32_t)((id * 0x9E3779B97F4A7C15u) >> 40) & INDEX_MASK;
}

static int32_t entry_number(const struct oms *oms, const struct oms_entry *entry)
{
    return (int32_t)(entry - oms->entries);
}

struct oms_entry *oms_find(struct oms *oms, uint64_t client_order_id)
{
    uint32_t place = place_of(client_order_id);
    for (int tries = 0; tries < OMS_INDEX && oms->index[place] != 0; tries++) {
        int32_t n = oms->index[place];
        if (n != DELETED && oms->entries[n - 1].order.client_order_id == client_order_id)
            return &oms->entries[n - 1];
        place = (place + 1) & INDEX_MASK;
    }
    return NULL;
}

static void index_put(struct oms *oms, const struct oms_entry *entry)
{
    uint32_t place = place_of(entry->order.client_order_id);
    while (oms->index[place] > 0)
        place = (place + 1) & INDEX_MASK;
    if (oms->index[place] == DELETED)
        oms->deleted--;
    oms->index[place] = entry_number(oms, entry) + 1;
}

/* Deleted places lengthen every search: when they fill a quarter of the index it is made anew. */
static void index_remove(struct oms *oms, const struct oms_entry *entry)
{
    uint32_t place = place_of(entry->order.client_order_id);
    int32_t wanted = entry_number(oms, entry) + 1;
    while (oms->index[place] != wanted) {
        CHECK(oms->index[place] != 0);
        place = (place + 1) & INDEX_MASK;
    }
    oms->index[place] = DELETED;
    if (++oms->deleted < OMS_INDEX / 4)
        return;
    memset(oms->index, 0, sizeof oms->index);
    oms->deleted = 0;
    for (int n = 0; n < OMS_ORDERS; n++)
        if (oms->entries[n].used && &oms->entries[n] != entry)
            index_put(oms, &oms->entries[n]);
}

static void free_entry(struct oms *oms, struct oms_entry *entry)
{
    index_remove(oms, entry);
    memset(entry, 0, sizeof *entry);
    entry->next = oms->free_head;
    oms->free_head = entry_number(oms, entry);
}

static void recycle_oldest_terminal(struct oms *oms)
{
    int32_t n = oms->terminal_head;
    if (n == NONE)
        return;
    oms->terminal_head = oms->entries[n].next;
    if (oms->terminal_head == NONE)
        oms->terminal_tail = NONE;
    free_entry(oms, &oms->entries[n]);
}

struct oms_entry *oms_add(struct oms *oms, const struct order *order, struct venue *venue,
                          uint16_t market)
{
    if (oms_find(oms, order->client_order_id))
        return NULL;
    if (oms->free_head == NONE)
        recycle_oldest_terminal(oms);
    if (oms->free_head == NONE)
        return NULL;
    struct oms_entry *entry = &oms->entries[oms->free_head];
    oms->free_head = entry->next;
    memset(entry, 0, sizeof *entry);
    entry->order = *order;
    entry->venue = venue;
    entry->market = market;
    entry->next = NONE;
    entry->used = 1;
    oms->open++;
    if (order->state == ORDER_UNKNOWN)
        oms->unknown++;
    index_put(oms, entry);
    return entry;
}

void oms_drop(struct oms *oms, struct oms_entry *entry)
{
    CHECK(entry->used && !order_state_is_terminal(entry->order.state));
    if (entry->order.state == ORDER_UNKNOWN)
        oms->unknown--;
    oms->open--;
    free_entry(oms, entry);
}

void oms_reopen(struct oms *oms, struct oms_entry *entry)
{
    CHECK(entry->used && order_state_is_terminal(entry->order.state));
    int32_t n = entry_number(oms, entry), before = NONE;
    for (int32_t at = oms->terminal_head; at != n; at = oms->entries[at].next)
        before = at;
    if (before == NONE)
        oms->terminal_head = entry->next;
    else
        oms->entries[before].next = entry->next;
    if (oms->terminal_tail == n)
        oms->terminal_tail = before;
    entry->next = NONE;
    entry->end_state = 0;
    entry->not_found = 0;
    entry->order.state = ORDER_WORKING;
    oms->open++;
}

struct oms_entry *oms_next(struct oms *oms, int *cursor)
{
    while (*cursor < OMS_ORDERS) {
        struct oms_entry *entry = &oms->entries[(*cursor)++];
        if (entry->used && !order_state_is_terminal(entry->order.state))
            return entry;
    }
    return NULL;
}

/* ---- the duplicate guard -------------------------------------------------------------------- */

static uint64_t fingerprint(uint16_t venue, const char *symbol, const char *execution_id,
                            bool reversed)
{
    uint64_t h = 0xcbf29ce484222325u ^ venue ^ (reversed ? 0x10000u : 0u);
    for (int n = 0; n < PROTOCOL_SYMBOL && symbol[n]; n++)
        h = (h ^ (unsigned char)symbol[n]) * 0x100000001b3u;
    h = (h ^ 0x1fu) * 0x100000001b3u;
    for (int n = 0; n < 48 && execution_id[n]; n++)
        h = (h ^ (unsigned char)execution_id[n]) * 0x100000001b3u;
    h ^= h >> 29;
    return h ? h : 1;
}

static bool guard_has(const uint64_t *slots, uint64_t print)
{
    for (uint32_t place = (uint32_t)print & (OMS_GUARD * 2 - 1); slots[place];
         place = (place + 1) & (OMS_GUARD * 2 - 1))
        if (slots[place] == print)
            return true;
    return false;
}

bool oms_execution_seen(struct oms *oms, uint16_t venue, const char *symbol,
                        const char *execution_id, bool reversed)
{
    struct oms_guard *guard = &oms->guard;
    uint64_t print = fingerprint(venue, symbol, execution_id, reversed);
    if (guard_has(guard->slots[0], print) || guard_has(guard->slots[1], print))
        return true;
    if (guard->count == OMS_GUARD) {
        guard->newest ^= 1;
        guard->count = 0;
        memset(guard->slots[guard->newest], 0, sizeof guard->slots[0]);
    }
    uint64_t *slots = guard->slots[guard->newest];
    uint32_t place = (uint32_t)print & (OMS_GUARD * 2 - 1);
    while (slots[place])
        place = (place + 1) & (OMS_GUARD * 2 - 1);
    slots[place] = print;
    guard->count++;
    return false;
}

/* ---- reports -------------------------------------------------------------------------------- */

static void set_state(struct oms *oms, struct oms_entry *entry, int state,
                      struct oms_result *result)
{
    int before = entry->order.state;
    if (before == state)
        return;
    result->effect = result->effect == OMS_IGNORED ? OMS_UPDATED : result->effect;
    if (before == ORDER_UNKNOWN)
        oms->unknown--;
    if (state == ORDER_UNKNOWN) {
        oms->unknown++;
        result->became_unknown = true;
    }
    entry->order.state = (uint8_t)state;
    if (state == ORDER_WORKING || state == ORDER_PARTIALLY_FILLED ||
        (before == ORDER_UNKNOWN && state == ORDER_PENDING_CANCEL))
        result->became_live = true;
    if (!order_state_is_terminal(state) || order_state_is_terminal(before))
        return;
    result->ended = true;
    oms->open--;
    entry->next = NONE;
    int32_t n = entry_number(oms, entry);
    if (oms->terminal_tail == NONE)
        oms->terminal_head = n;
    else
        oms->entries[oms->terminal_tail].next = n;
    oms->terminal_tail = n;
}

static void ask_soon(struct oms_entry *entry, int64_t now_ns)
{
    entry->order.query_attempts = 0;
    entry->order.next_query_ns = now_ns + QUERY_FIRST_NS;
}

/* The end of an order is believed only when every fill it speaks of is booked; otherwise the order
 * becomes UNKNOWN, and its fills are asked for. */
static void end_order(struct oms *oms, struct oms_entry *entry, int state, int64_t now_ns,
                      struct oms_result *result)
{
    if (entry->venue_cumulative > entry->order.filled.lots) {
        result->fills_missing = true;
        entry->end_state = (uint8_t)state;
        if (entry->order.state != ORDER_UNKNOWN)
            ask_soon(entry, now_ns);
        set_state(oms, entry, ORDER_UNKNOWN, result);
        return;
    }
    set_state(oms, entry, state, result);
}

static void learn_cumulative(struct oms_entry *entry, int64_t cumulative)
{
    struct order *order = &entry->order;
    if (cumulative <= entry->venue_cumulative)
        return;
    entry->venue_cumulative = cumulative;
    if (entry->adopted)
        order->filled.lots = cumulative < order->quantity.lots ? cumulative : order->quantity.lots;
}

/* An adopted order came with what the venue had filled already, and which of its fills are in that
 * count is not known: only the venue's own count says what is left of it. */
static void apply_fill(struct oms *oms, struct oms_entry *entry,
                       const struct execution_report *report, struct oms_result *result)
{
    struct order *order = &entry->order;
    result->effect = OMS_FILLED;
    if (!entry->adopted)
        order->filled.lots += report->last_quantity.lots;
    if (order->filled.lots > order->quantity.lots) {
        order->filled = order->quantity;
        result->overfilled = !entry->left_behind;
    }
    learn_cumulative(entry, report->cumulative.lots);
    learn_cumulative(entry, order->filled.lots);
    bool complete = order->filled.lots == order->quantity.lots;
    int next = order_state_next(order->state, EXEC_TRADE, complete);
    if (entry->end_state && order->filled.lots >= entry->venue_cumulative)
        next = complete ? ORDER_FILLED : entry->end_state;
    if (next >= 0)
        set_state(oms, entry, next, result);
}

/* By the order's own deadline: the venue's window may have become another since it was sent. */
static bool has_landed_or_never(const struct order *order, int64_t now_ns)
{
    return order->lands_until_ns < LANDS_UNTIL_NONE - OMS_SKEW_NS &&
           now_ns > order->lands_until_ns + OMS_SKEW_NS;
}

/* Answer to a query: the venue's whole truth. */
static void apply_status(struct oms *oms, struct oms_entry *entry,
                         const struct execution_report *report, int64_t now_ns,
                         struct oms_result *result)
{
    struct order *order = &entry->order;
    if (report->not_found) {
        if (order->state != ORDER_UNKNOWN || !has_landed_or_never(order, now_ns))
            return;
        if (entry->heard_of && !entry->unlisted) {
            result->fills_missing = true;
            return;
        }
        if (++entry->not_found >= OMS_NOT_FOUND_ANSWERS)
            end_order(oms, entry, entry->heard_of ? ORDER_CANCELED : ORDER_REJECTED, now_ns,
                      result);
        return;
    }
    learn_cumulative(entry, report->cumulative.lots);
    if (order_state_is_terminal(report->order_state)) {
        end_order(oms, entry, report->order_state, now_ns, result);
        return;
    }
    result->fills_missing = entry->venue_cumulative > order->filled.lots;
    bool partial = order->filled.lots > 0;
    if (order->state == ORDER_UNKNOWN || order->state == ORDER_PENDING_NEW)
        set_state(oms, entry, partial ? ORDER_PARTIALLY_FILLED : ORDER_WORKING, result);
}

/* Does the report prove that the order has been at the venue? */
static bool proves_arrival(const struct execution_report *report)
{
    int type = report->execution_type;
    return type == EXEC_NEW || type == EXEC_TRADE || type == EXEC_CANCELED ||
           type == EXEC_EXPIRED || (type == EXEC_STATUS && !report->not_found);
}

static void apply_known(struct oms *oms, struct oms_entry *entry,
                        const struct execution_report *report, int64_t now_ns,
                        struct oms_result *result)
{
    struct order *order = &entry->order;
    if (report->venue_order_id)
        order->venue_order_id = report->venue_order_id;
    if (proves_arrival(report)) {
        entry->heard_of = 1;
        entry->unlisted = 0;
        entry->not_found = 0;
    }
    if (order->acked_ns == 0 && report->execution_type != EXEC_UNKNOWN) {
        order->acked_ns = now_ns;
        result->first_answer = !entry->left_behind;
    }
    if (order_state_is_terminal(order->state) && report->execution_type == EXEC_STATUS)
        return;
    if (report->execution_type == EXEC_TRADE) {
        apply_fill(oms, entry, report, result);
        return;
    }
    if (report->execution_type == EXEC_STATUS) {
        apply_status(oms, entry, report, now_ns, result);
        return;
    }
    learn_cumulative(entry, report->cumulative.lots);
    int next = order_state_next(order->state, report->execution_type, false);
    if (next < 0) {
        result->effect = OMS_IMPOSSIBLE;
        return;
    }
    if (order_state_is_terminal(next) && !order_state_is_terminal(order->state)) {
        end_order(oms, entry, next, now_ns, result);
        return;
    }
    if (next == ORDER_UNKNOWN && order->state != ORDER_UNKNOWN)
        ask_soon(entry, now_ns);
    if (next == ORDER_WORKING && order->filled.lots > 0)
        next = ORDER_PARTIALLY_FILLED;
    set_state(oms, entry, next, result);
}

void oms_apply(struct oms *oms, const struct execution_report *report, int64_t now_ns,
               struct oms_result *result)
{
    memset(result, 0, sizeof *result);
    bool reversed = report->execution_type == EXEC_TRADE_REVERSED;
    if ((report->execution_type == EXEC_TRADE || reversed) && report->instrument &&
        oms_execution_seen(oms, report->instrument->venue, report->instrument->symbol,
                           report->execution_id, reversed)) {
        result->effect = OMS_DUPLICATE;
        result->entry = oms_find(oms, report->client_order_id);
        return;
    }
    struct oms_entry *entry =
        report->client_order_id ? oms_find(oms, report->client_order_id) : NULL;
    result->entry = entry;
    if (!entry) {
        result->effect = OMS_STRANGER;
        return;
    }
    apply_known(oms, entry, report, now_ns, result);
    if (reversed && result->effect == OMS_IGNORED)
        result->effect = OMS_UPDATED;
}

bool oms_make_unknown(struct oms *oms, struct oms_entry *entry, int64_t now_ns)
{
    struct oms_result result = {0};
    if (entry->order.state == ORDER_UNKNOWN)
        return false;
    ask_soon(entry, now_ns);
    entry->not_found = 0;
    set_state(oms, entry, ORDER_UNKNOWN, &result);
    return true;
}

void oms_cancel_requested(struct oms_entry *entry, int64_t now_ns)
{
    entry->order.cancel_requested = 1;
    entry->cancel_sent_ns = now_ns;
    if (entry->order.state == ORDER_WORKING || entry->order.state == ORDER_PARTIALLY_FILLED)
        entry->order.state = ORDER_PENDING_CANCEL;
}

bool oms_query_due(struct oms_entry *entry, int64_t now_ns)
{
    struct order *order = &entry->order;
    if (order->state != ORDER_UNKNOWN || now_ns < order->next_query_ns)
        return false;
    int64_t pause = QUERY_FIRST_NS << (order->query_attempts < 5 ? order->query_attempts : 5);
    order->next_query_ns = now_ns + (pause < QUERY_MOST_NS ? pause : QUERY_MOST_NS);
    if (order->query_attempts < UINT8_MAX)
        order->query_attempts++;
    return true;
}
