/*
 * polymarket_gateway.h: Polymarket as a venue (model/venue.h) for C strategies. Orders go over the
 * bridge to the bot, which holds the keys, knows the markets, reserves in the shared ledger under
 * its own line, and answers with execution reports; the engine therefore adds this venue as
 * delegated and reserves nothing itself.
 *
 * Instruments appear as the bot tells tops of books. When the bridge breaks, every order whose end
 * is not known is reported UNKNOWN; a query asks the bot to cancel it, which is the one request
 * whose answer tells its end and whose repetition does no harm.
 */
#ifndef PURSER_CONNECTORS_POLYMARKET_GATEWAY_H
#define PURSER_CONNECTORS_POLYMARKET_GATEWAY_H

#include "../../base/arena.h"
#include "../../model/venue.h"
#include "ipc_client.h"

/* polymarket_gateway_new: registers with the client; both live as long as the engine. */
struct venue *polymarket_gateway_new(struct arena *arena, struct ipc_client *client);

#endif
