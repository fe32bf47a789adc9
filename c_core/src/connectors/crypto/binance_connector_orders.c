/* Orders over the WS API: what was asked, what was answered, and what silence means. */
#include <stdio.h>
#include <string.h>

#include "../../base/heap_trap.h"
#include "binance_connector_session.h"

#define FRAME_MAX        1024
#define ANSWER_SLACK_NS  1000000000LL
#define CANCEL_ALL_TRIES 5
#define EVENT_DUE_NS                                                                               \
    3000000000LL /* by then the user stream must have spoken of an accepted order */

static struct binance_request *request_free(struct binance *b)
{
    struct binance_request *request = &b->requests[b->next_request & (BINANCE_REQUESTS - 1)];
    return request->id == 0 ? request : NULL;
}

static void request_fill(struct binance *b, struct binance_request *request, int kind,
                         const struct order *order, int64_t now_ns)
{
    *request = (struct binance_request){
        .id = b->next_request++,
        .kind = kind,
        .client_order_id = order->client_order_id,
        .instrument = order->instrument,
        .side = order->side,
        .price = order->price,
        .quantity = order->quantity,
        .sent_ns = now_ns,
        .deadline_ns = now_ns + b->recv_window_ms * CLOCK_NS_PER_MS + ANSWER_SLACK_NS,
    };
    b->counters.requests++;
}

/* The order's own symbol table entry: the caller's instrument may be a copy. */
static struct binance_market *order_market(struct binance *b, const struct order *order)
{
    uint16_t index = order->instrument->index;
    return index < b->symbols_count ? &b->markets[index] : NULL;
}

int binance_submit(struct venue *venue, const struct order *order, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    char frame[FRAME_MAX], client_id[BINANCE_CLIENT_ID];
    struct binance_request *request = request_free(b);
    if (venue->session_state != SESSION_READY || now_ns < b->orders_hold_ns)
        return STATUS_REFUSED;
    if (now_ns - binance_dead_man_acked_ns(b) > b->dead_man_timeout_ns / 2)
        return STATUS_REFUSED;
    if (request == NULL || order_market(b, order) == NULL)
        return STATUS_LIMIT;
    binance_client_id(client_id, &b->prefix, order->client_order_id);
    size_t length = binance_wire_place(frame, sizeof frame, b->next_request, &b->signer, order,
                                       client_id, binance_venue_ms(b, now_ns));
    if (length == 0)
        return STATUS_LIMIT;
    int status = websocket_send(&b->api_link.socket, frame, length);
    if (status == STATUS_OK)
        request_fill(b, request, BINANCE_REQUEST_PLACE, order, now_ns);
    return status;
}

/* order_call: a cancel or a query over REST, when the WS API is away. */
static int order_call(struct binance *b, int call, const struct order *order, const char *client_id,
                      int64_t now_ns)
{
    char parameters[128];
    snprintf(parameters, sizeof parameters, "symbol=%s&origClientOrderId=%s",
             order->instrument->symbol, client_id);
    return binance_call(b, call, order->instrument->index, 0, order->client_order_id, parameters,
                        now_ns);
}

/* order_ask: a cancel or a query of one order: over the WS API, or over REST when that is away. */
static int order_ask(struct binance *b, const struct order *order, bool cancel, int64_t now_ns)
{
    char frame[FRAME_MAX], client_id[BINANCE_CLIENT_ID];
    struct binance_request *request = request_free(b);
    binance_client_id(client_id, &b->prefix, order->client_order_id);
    if (!binance_link_is_open(&b->api_link) || request == NULL)
        return order_call(b, cancel ? BINANCE_CALL_CANCEL : BINANCE_CALL_QUERY, order, client_id,
                          now_ns);
    size_t length = (cancel ? binance_wire_cancel : binance_wire_status)(
        frame, sizeof frame, b->next_request, &b->signer, order->instrument->symbol, client_id,
        binance_wall_ms(b));
    if (length == 0)
        return STATUS_LIMIT;
    int status = websocket_send(&b->api_link.socket, frame, length);
    if (status == STATUS_OK)
        request_fill(b, request, cancel ? BINANCE_REQUEST_CANCEL : BINANCE_REQUEST_STATUS, order,
                     now_ns);
    return status;
}

int binance_cancel(struct venue *venue, const struct order *order, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    if (!b->started || order_market(b, order) == NULL)
        return STATUS_CLOSED;
    return order_ask(b, order, true, now_ns);
}

int binance_query(struct venue *venue, const struct order *order, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    if (!b->started || order_market(b, order) == NULL)
        return STATUS_CLOSED;
    if (now_ns < b->rest_hold_ns) /* a question can wait; each one may make a ban longer */
        return STATUS_LIMIT;
    return order_ask(b, order, false, now_ns);
}

void binance_query_id(const struct venue *venue, uint64_t client_order_id,
                      char out[PROTOCOL_QUERY_ID])
{
    const struct binance *b = (const struct binance *)venue;
    char client_id[BINANCE_CLIENT_ID];
    binance_client_id(client_id, &b->prefix, client_order_id);
    memcpy(out, client_id, strnlen(client_id, PROTOCOL_QUERY_ID));
}

static int cancel_all_send(struct binance *b, int index, int64_t now_ns)
{
    char parameters[64];
    snprintf(parameters, sizeof parameters, "symbol=%s", b->markets[index].instrument.symbol);
    return binance_call(b, BINANCE_CALL_CANCEL_ALL, index, 0, 0, parameters, now_ns);
}

/* The venue confirms each cancel on the user stream; here only the request is repeated until taken.
 */
int binance_cancel_all(struct venue *venue, int64_t now_ns)
{
    struct binance *b = binance_of(venue);
    int result = STATUS_OK;
    if (!b->started || !b->clock_known)
        return STATUS_CLOSED;
    for (int i = 0; i < b->symbols_count; i++) {
        int status = cancel_all_send(b, i, now_ns);
        b->cancel_all_left[i] = CANCEL_ALL_TRIES;
        b->cancel_all_retry_ns = now_ns + 1000000000;
        if (status != STATUS_OK)
            result = status;
    }
    return result;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void report_send(struct binance *b, const struct execution_report *report)
{
    b->venue.events->on_execution(b->venue.events->context, &b->venue, report);
}

static void report_from_request(struct execution_report *report,
                                const struct binance_request *request, int type, int64_t code,
                                const char *message)
{
    memset(report, 0, sizeof *report);
    report->client_order_id = request->client_order_id;
    report->instrument = request->instrument;
    report->execution_type = (uint8_t)type;
    report->order_state = ORDER_UNKNOWN;
    report->side = request->side;
    report->price = request->price;
    report->quantity = request->quantity;
    report->venue_code = (int32_t)code;
    report->wall_ns = clock_wall_ns();
    snprintf(report->text, sizeof report->text, "%.63s", message);
}

/* place_answer: what the answer to order.place means for the reservation is binance_wire's table.
 */
static int place_answer(const struct binance_class *class)
{
    switch ((enum binance_outcome) class->outcome) {
    case BINANCE_ACCEPTED:
    case BINANCE_NOTHING_TO_DO:
        return EXEC_NEW;
    case BINANCE_REJECTED:
    case BINANCE_REJECTED_CLOCK:
    case BINANCE_REJECTED_AUTH:
    case BINANCE_REJECTED_THROTTLE:
    case BINANCE_REJECTED_RESTRICTION:
        return EXEC_REJECTED;
    case BINANCE_FAILED_QUERY:
    case BINANCE_UNKNOWN:
    case BINANCE_LANDED_EARLIER:
    case BINANCE_CANCEL_NO_ORDER:
    case BINANCE_QUERY_NO_ORDER:
        return EXEC_UNKNOWN;
    }
    return EXEC_UNKNOWN;
}

/* A cancel that was not done leaves the order as it was; one whose outcome is not known, or whose
 * order the venue no longer has, leaves a question. */
static int cancel_answer(const struct binance_class *class)
{
    switch ((enum binance_outcome) class->outcome) {
    case BINANCE_ACCEPTED:
    case BINANCE_NOTHING_TO_DO:
        return EXEC_CANCELED;
    case BINANCE_REJECTED:
    case BINANCE_REJECTED_CLOCK:
    case BINANCE_REJECTED_AUTH:
    case BINANCE_REJECTED_THROTTLE:
    case BINANCE_REJECTED_RESTRICTION:
        return EXEC_CANCEL_REJECTED;
    case BINANCE_FAILED_QUERY:
    case BINANCE_UNKNOWN:
    case BINANCE_LANDED_EARLIER:
    case BINANCE_CANCEL_NO_ORDER:
    case BINANCE_QUERY_NO_ORDER:
        return EXEC_UNKNOWN;
    }
    return EXEC_UNKNOWN;
}

static void status_answer(struct binance *b, const struct binance_request *request,
                          const struct binance_class *class, int64_t code, const char *message,
                          const struct binance_order *order)
{
    struct execution_report report;
    if (class->outcome == BINANCE_ACCEPTED && order != NULL) {
        binance_report_init(&report, order, request->client_order_id);
        report.execution_type = EXEC_STATUS;
    } else if (class->outcome == BINANCE_QUERY_NO_ORDER) {
        report_from_request(&report, request, EXEC_STATUS, code, message);
        report.not_found = 1;
    } else {
        return; /* no answer about the order: the OMS asks again */
    }
    report_send(b, &report);
}

static void session_consequences(struct binance *b, const struct binance_class *class, int64_t code,
                                 const char *message, int64_t now_ns)
{
    if (class->outcome == BINANCE_REJECTED_AUTH)
        binance_auth_refused(b, "an order", code, message);
    if (class->outcome == BINANCE_REJECTED_CLOCK) {
        b->clock_checked_ns = 0;
        b->clock_samples = 0;
    }
    if (class->outcome == BINANCE_REJECTED_THROTTLE)
        binance_throttled(b, code, message, 0, now_ns);
    if (code == -4014 || code == -4023 || code == -4164 || code == -1121)
        b->info_wanted = true; /* our filters may be out of date */
}

void binance_order_answer(struct binance *b, const struct binance_request *request,
                          const struct binance_class *class, int64_t code, const char *message,
                          const struct binance_order *order, int64_t now_ns)
{
    struct execution_report report;
    session_consequences(b, class, code, message, now_ns);
    if (order != NULL)
        binance_order_id_put(b, order->order_id, request->client_order_id);
    if (request->kind == BINANCE_REQUEST_STATUS) {
        status_answer(b, request, class, code, message, order);
        return;
    }
    int type = request->kind == BINANCE_REQUEST_PLACE ? place_answer(class) : cancel_answer(class);
    if (order != NULL && class->outcome == BINANCE_ACCEPTED) {
        if (b->event_due_ns == 0 && request->kind == BINANCE_REQUEST_PLACE &&
            b->order_event_ns < request->sent_ns)
            b->event_due_ns = now_ns + EVENT_DUE_NS;
        binance_report_init(&report, order, request->client_order_id);
        report.instrument = request->instrument;
        report.execution_type = (uint8_t)type;
    } else {
        if (type == EXEC_NEW || type == EXEC_CANCELED)
            type = EXEC_UNKNOWN; /* accepted, but the answer does not say what */
        report_from_request(&report, request, type, code, message);
        report.reject_reason = (uint16_t) class->reason;
    }
    report_send(b, &report);
}

void binance_order_rest_answer(struct binance *b, const struct binance_answer *answer,
                               int64_t now_ns)
{
    if (answer->call == BINANCE_CALL_CANCEL_ALL) {
        if (answer->accepted)
            b->cancel_all_left[answer->index] = 0;
        return;
    }
    struct binance_request request = {
        .kind =
            answer->call == BINANCE_CALL_CANCEL ? BINANCE_REQUEST_CANCEL : BINANCE_REQUEST_STATUS,
        .client_order_id = answer->client_order_id,
        .instrument = &b->markets[answer->index].instrument,
    };
    struct binance_order order;
    struct binance_class class = answer->class;
    bool has_order = answer->accepted && binance_wire_order(&order, &b->known, answer->http->body,
                                                            answer->http->body_length) == STATUS_OK;
    if (answer->accepted)
        class.outcome = has_order ? BINANCE_ACCEPTED : BINANCE_UNKNOWN;
    binance_order_answer(b, &request, &class, answer->code, answer->message,
                         has_order ? &order : NULL, now_ns);
}

static void api_reply(struct binance *b, const struct binance_reply *reply, int64_t now_ns)
{
    struct binance_class class =
        reply->http_status == 200 && reply->code == 0
            ? (struct binance_class){BINANCE_ACCEPTED, REJECT_NONE}
            : binance_wire_classify(reply->http_status, reply->code, reply->message);
    if (reply->id < 0) { /* a revoked key answers without an id */
        session_consequences(b, &class, reply->code, reply->message, now_ns);
        binance_link_rotate(&b->api_link, "an answer without an id");
        return;
    }
    struct binance_request *request = &b->requests[reply->id & (BINANCE_REQUESTS - 1)];
    if (request->id != reply->id)
        return; /* later than its time-out: already reported as unknown */
    struct binance_request copy = *request;
    request->id = 0;
    binance_order_answer(b, &copy, &class, reply->code, reply->message,
                         reply->has_order ? &reply->order : NULL, now_ns);
}

void binance_api_message(void *context, const char *bytes, size_t length, int64_t received_ns)
{
    struct binance_link *link = context;
    struct binance *b = link->session;
    struct binance_reply reply;
    b->counters.frames++;
    b->work++;
    b->venue.received_ns = received_ns;
    heap_trap_arm();
    if (binance_wire_reply(&reply, &b->known, bytes, length) != STATUS_OK) {
        b->counters.malformed_frames++;
        binance_event(b, EVENT_WARNING, "frame_malformed", "order connection: %s", status_text());
        binance_link_rotate(link, "an answer was malformed");
    } else {
        binance_link_data(link, received_ns);
        api_reply(b, &reply, received_ns);
    }
    heap_trap_disarm();
    b->venue.received_ns = 0;
}

/* --- silence ---------------------------------------------------------------------------------- */

static void request_unanswered(struct binance *b, struct binance_request *request, const char *why)
{
    struct execution_report report;
    struct binance_request copy = *request;
    request->id = 0;
    if (copy.kind == BINANCE_REQUEST_STATUS)
        return;
    report_from_request(&report, &copy, EXEC_UNKNOWN, 0, why);
    report_send(b, &report);
}

void binance_requests_lost(struct binance *b, const char *why)
{
    for (int i = 0; i < BINANCE_REQUESTS; i++)
        if (b->requests[i].id != 0)
            request_unanswered(b, &b->requests[i], why);
}

void binance_orders_turn(struct binance *b, int64_t now_ns)
{
    for (int i = 0; i < BINANCE_REQUESTS; i++) {
        struct binance_request *request = &b->requests[i];
        if (request->id == 0 || now_ns < request->deadline_ns)
            continue;
        b->counters.timeouts++;
        request_unanswered(b, request, "no answer in time");
    }
    if (now_ns < b->cancel_all_retry_ns)
        return;
    for (int i = 0; i < b->symbols_count; i++) {
        if (b->cancel_all_left[i] == 0)
            continue;
        b->cancel_all_retry_ns = now_ns + 1000000000;
        if (cancel_all_send(b, i, now_ns) == STATUS_OK) /* held back: the tries are kept */
            b->cancel_all_left[i]--;
    }
}
