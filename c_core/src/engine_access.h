/*
 * engine_access.h: where the engine lives on this machine (folders and files) and how it gets into
 * the venue (addresses and key). Runs before trading starts; secrets are only ever held in the
 * caller's struct and never printed.
 */
#ifndef PURSER_ENGINE_ACCESS_H
#define PURSER_ENGINE_ACCESS_H

#include "engine_config.h"

/* The folders and files of one installation; the same rules as bridge/paths.py. */
struct engine_paths {
    char home[CONFIG_PATH], runtime[CONFIG_PATH];
    char ledger[CONFIG_PATH], page[CONFIG_PATH], bridge_socket[CONFIG_PATH], pub[CONFIG_PATH];
    char latch[CONFIG_PATH], mode_home[CONFIG_PATH], journal[CONFIG_PATH];
};

/* engine_paths_resolve: home and runtime may be NULL: then the environment, then the defaults
 * decide. Makes the folders (0700) and refuses ones that others may enter. */
int engine_paths_resolve(struct engine_paths *out, const char *home, const char *runtime, int mode,
                         char error[CONFIG_ERROR]);

/* Where to connect and with which key: the result of reading endpoints and credentials. */
struct engine_access {
    char rest[CONFIG_TEXT], streams[CONFIG_TEXT], ws_api[CONFIG_TEXT], ca_file[CONFIG_PATH];
    char api_key[160], api_secret[160];
    /* what they were read from, empty where it was not that: the ready line of the endpoints, the
     * one of the key, the key's own file */
    char ready[CONFIG_PATH], key_ready[CONFIG_PATH], key_file[CONFIG_PATH];
};

/* engine_access_resolve: follows `simulator` to the ready line (waiting up to wait_ms for it to
 * appear) or `file` to the key file, which must be 0600 and ours. STATUS_CONFIG or
 * STATUS_CREDENTIALS with a sentence that names the file to make. */
int engine_access_resolve(struct engine_access *out, const struct trader_config *config,
                          const struct engine_paths *paths, int wait_ms, char error[CONFIG_ERROR]);

#endif
