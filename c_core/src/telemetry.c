#include "telemetry.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "../../bridge/allocate.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/engine.h"

#define IDLE_NS         5000000L /* between looks at an empty ring */
#define HIGH_WATER_MARK 10000    /* messages kept for a slow subscriber, then dropped */

_Static_assert(offsetof(struct engine_message, body) % _Alignof(struct message_event) == 0 &&
                   _Alignof(struct engine_message) >= _Alignof(struct message_event),
               "an event is read where it lies in its message");

struct telemetry {
    struct engine *engine;
    void *context, *socket;
    pthread_t thread;
    _Atomic int stopping;
};

static const char *topic_of(uint16_t kind)
{
    switch ((enum message_kind)kind) {
    case MESSAGE_SIGNAL:
        return "signal";
    case MESSAGE_TOP_OF_BOOK:
        return "top_of_book";
    case MESSAGE_EXECUTION_REPORT:
        return "execution_report";
    case MESSAGE_POSITION:
        return "position";
    case MESSAGE_EVENT:
        return "event";
    case MESSAGE_RISK_STATE:
        return "risk_state";
    case MESSAGE_HALT:
        return "halt";
    case MESSAGE_HEDGE:
        return "hedge";
    case MESSAGE_HELLO:
    case MESSAGE_HEARTBEAT:
    case MESSAGE_NEW_ORDER:
    case MESSAGE_CANCEL_ORDER:
        break;
    }
    return "other";
}

static void event_log(const struct message_event *event)
{
    static const enum log_level levels[] = {LOG_INFO, LOG_WARNING, LOG_ERROR};
    char name[sizeof event->name + 1], text[sizeof event->text + 1];
    snprintf(name, sizeof name, "%.*s", (int)sizeof event->name, event->name);
    snprintf(text, sizeof text, "%.*s", (int)sizeof event->text, event->text);
    log_event(levels[event->level <= EVENT_ERROR ? event->level : EVENT_ERROR], name, "%s", text);
}

static void message_out(struct telemetry *telemetry, const struct engine_message *message)
{
    const char *topic = topic_of(message->header.kind);
    size_t body = message->header.length - sizeof message->header;
    if (body > sizeof message->body)
        return;
    if (message->header.kind == MESSAGE_EVENT)
        event_log((const struct message_event *)(const void *)message->body);
    if (zmq_send(telemetry->socket, topic, strlen(topic), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return;
    zmq_send(telemetry->socket, message, sizeof message->header + body, ZMQ_DONTWAIT);
}

static void *telemetry_thread(void *context)
{
    struct telemetry *telemetry = context;
    struct engine_message message;
    for (;;) {
        int stopping = atomic_load(&telemetry->stopping);
        while (engine_telemetry_pop(telemetry->engine, &message))
            message_out(telemetry, &message);
        if (stopping)
            return NULL;
        nanosleep(&(struct timespec){.tv_nsec = IDLE_NS}, NULL);
    }
}

static int socket_open(struct telemetry *telemetry, const char *path)
{
    char endpoint[600];
    int high_water_mark = HIGH_WATER_MARK, linger_ms = 100;
    telemetry->context = zmq_ctx_new();
    if (telemetry->context != NULL)
        telemetry->socket = zmq_socket(telemetry->context, ZMQ_PUB);
    if (telemetry->socket == NULL)
        return status_set(STATUS_IO, "telemetry: %s", zmq_strerror(zmq_errno()));
    zmq_setsockopt(telemetry->socket, ZMQ_SNDHWM, &high_water_mark, sizeof high_water_mark);
    zmq_setsockopt(telemetry->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    if (zmq_bind(telemetry->socket, endpoint) != 0)
        return status_set(STATUS_IO, "telemetry cannot be published at %s: %s", endpoint,
                          zmq_strerror(zmq_errno()));
    return STATUS_OK;
}

static void socket_close(struct telemetry *telemetry)
{
    if (telemetry->socket != NULL)
        zmq_close(telemetry->socket);
    if (telemetry->context != NULL)
        zmq_ctx_term(telemetry->context);
}

/* Signals belong to the trading thread: they must wake its wait. */
static int thread_start(struct telemetry *telemetry)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&telemetry->thread, NULL, telemetry_thread, telemetry);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? STATUS_OK
                      : status_set(STATUS_LIMIT, "telemetry thread: %s", strerror(error));
}

int telemetry_start(struct telemetry **out, struct engine *engine, const char *path)
{
    struct telemetry *telemetry = ALLOCATE(struct telemetry);
    *out = NULL;
    if (telemetry == NULL)
        return status_set(STATUS_LIMIT, "no memory for telemetry");
    telemetry->engine = engine;
    int status = socket_open(telemetry, path);
    if (status == STATUS_OK)
        status = thread_start(telemetry);
    if (status != STATUS_OK) {
        socket_close(telemetry);
        free(telemetry);
        return status;
    }
    *out = telemetry;
    return STATUS_OK;
}

void telemetry_stop(struct telemetry *telemetry)
{
    if (telemetry == NULL)
        return;
    atomic_store(&telemetry->stopping, 1);
    pthread_join(telemetry->thread, NULL);
    socket_close(telemetry);
    free(telemetry);
}
