/*
 * access_record.h: what the engine leaves on disk about where it trades, so that with the engine
 * dead the right venue is asked about its orders. The format, and what the files beside it are for,
 * are told in bridge/access.py, which reads them.
 */
#ifndef PURSER_ACCESS_RECORD_H
#define PURSER_ACCESS_RECORD_H

#include "engine_access.h"

/* access_record_write: replaces engine.json in home and runtime and gives the fingerprint of its
 * bytes for ledger_set_access. One of the two is enough (a disk may be full). STATUS_IO with a
 * sentence when neither could be written. */
int access_record_write(uint64_t *fingerprint, const struct engine_paths *paths,
                        const struct engine_access *access, const struct trader_config *config,
                        int mode, uint32_t generation, char error[CONFIG_ERROR]);

#endif
