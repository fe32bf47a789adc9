/*
 * telemetry.h: the thread that tells the world what the engine does: it drains the engine's ring to
 * a ZeroMQ PUB socket (two frames: topic, then header and body as in bridge/protocol.h) and writes
 * events to the log. The trading thread only fills the ring; it never waits for a subscriber, a
 * file or the heap.
 */
#ifndef PURSER_TELEMETRY_H
#define PURSER_TELEMETRY_H

struct engine;
struct telemetry;

/* telemetry_start: path is the file of the ipc:// endpoint. STATUS_OK, or an error with status_text
 * when the thread or the socket cannot be made. */
int telemetry_start(struct telemetry **out, struct engine *engine, const char *path);

/* telemetry_stop: drains what is left, then ends the thread. NULL is allowed. */
void telemetry_stop(struct telemetry *telemetry);

#endif
