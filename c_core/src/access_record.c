#include "access_record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"

#define RECORD_MAX  16384
#define FLAGS       (JSON_INDENT(1) | JSON_SORT_KEYS)
#define PATH_RECORD (CONFIG_PATH + 64)

/* The first 64 bits of SHA-256; never 0, which means "not said". */
static uint64_t fingerprint_of(const char *bytes, size_t length)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    uint64_t value = 0;
    if (EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL) != 1)
        return 1;
    for (int i = 0; i < 8; i++)
        value = value << 8 | digest[i];
    return value != 0 ? value : 1;
}

static json_t *key_record(const struct engine_access *access)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx",
             (unsigned long long)fingerprint_of(access->api_key, strlen(access->api_key)));
    return json_pack("{s:s, s:s, s:s}", "ready", access->key_ready, "file", access->key_file,
                     "fingerprint", hex);
}

static json_t *symbols_record(const struct trader_config *config)
{
    json_t *symbols = json_array();
    for (int i = 0; i < config->symbols_count; i++)
        json_array_append_new(symbols, json_string(config->symbols[i].symbol));
    return symbols;
}

static char *record_text(const struct engine_access *access, const struct trader_config *config,
                         int mode, uint32_t generation)
{
    json_t *record = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:s, s:o, s:o, s:{s:I, s:I, s:I}}",
        "schema_version", 1, "participant", "engine", "venue", "binance", "mode",
        engine_mode_name(mode), "environment", config->environment, "endpoints", "rest",
        access->rest, "ws", access->streams, "ws_api", access->ws_api, "ca", access->ca_file,
        "ready", access->ready, "key", key_record(access), "symbols", symbols_record(config), "run",
        "generation", (json_int_t)generation, "pid", (json_int_t)getpid(), "started_wall_ns",
        (json_int_t)clock_wall_ns());
    char *text = record != NULL ? json_dumps(record, FLAGS) : NULL;
    json_decref(record);
    return text;
}

static int file_replace(const char *folder, const char *name, const char *bytes, size_t length)
{
    char temporary[PATH_RECORD], path[PATH_RECORD];
    if (snprintf(temporary, sizeof temporary, "%s/.%s.%d", folder, name, (int)getpid()) >=
            PATH_RECORD ||
        snprintf(path, sizeof path, "%s/%s", folder, name) >= PATH_RECORD)
        return -ENAMETOOLONG;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t written = write(fd, bytes, length);
    int result = written == (ssize_t)length ? 0 : written < 0 ? -errno : -ENOSPC;
    if (result == 0 && fsync(fd) != 0)
        result = -errno;
    close(fd);
    if (result == 0 && rename(temporary, path) != 0)
        result = -errno;
    if (result != 0)
        (void)unlink(temporary);
    return result;
}

static void folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* Another account than before, and none of a simulator: what rests there must not be forgotten. */
static bool is_elsewhere(const json_t *before, const struct engine_access *access)
{
    const json_t *key = json_object_get(before, "key");
    char hex[17];
    if (!json_is_object(before) || text_of(before, "ready")[0] != '\0')
        return false;
    snprintf(hex, sizeof hex, "%016llx",
             (unsigned long long)fingerprint_of(access->api_key, strlen(access->api_key)));
    return access->ready[0] != '\0' || strcmp(text_of(key, "fingerprint"), hex) != 0 ||
           strcmp(text_of(json_object_get(before, "endpoints"), "rest"), access->rest) != 0;
}

/* The record that is about to be replaced stays as the one before; for good when it is elsewhere.
 */
static void before_keep(const char *folder, const struct engine_access *access)
{
    char path[PATH_RECORD], before[PATH_RECORD], name[64], text[RECORD_MAX];
    if (snprintf(path, sizeof path, "%s/engine.json", folder) >= PATH_RECORD ||
        snprintf(before, sizeof before, "%s/engine.before.json", folder) >= PATH_RECORD)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    json_t *record = size > 0 ? json_loadb(text, (size_t)size, 0, NULL) : NULL;
    if (is_elsewhere(record, access)) {
        snprintf(name, sizeof name, "engine.%016llx.json",
                 (unsigned long long)fingerprint_of(text, (size_t)size));
        (void)file_replace(folder, name, text, (size_t)size);
    }
    json_decref(record);
    (void)rename(path, before);
}

static int record_place(const char *parent, const struct engine_access *access, const char *text)
{
    char folder[CONFIG_PATH + 8];
    struct stat info;
    snprintf(folder, sizeof folder, "%s/access", parent);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(folder, &info) != 0)
        return -errno;
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 022) != 0)
        return -EPERM;
    before_keep(folder, access);
    int result = file_replace(folder, "engine.json", text, strlen(text));
    folder_sync(folder);
    return result;
}

int access_record_write(uint64_t *fingerprint, const struct engine_paths *paths,
                        const struct engine_access *access, const struct trader_config *config,
                        int mode, uint32_t generation, char error[CONFIG_ERROR])
{
    char *text = record_text(access, config, mode, generation);
    if (text == NULL) {
        snprintf(error, CONFIG_ERROR, "the record of where the engine trades cannot be made");
        return STATUS_IO;
    }
    int home = record_place(paths->mode_home, access, text);
    int runtime = record_place(paths->runtime, access, text);
    *fingerprint = fingerprint_of(text, strlen(text));
    free(text);
    if (home == 0 || runtime == 0)
        return STATUS_OK;
    snprintf(
        error, CONFIG_ERROR,
        "where the engine trades cannot be recorded, neither in %.200s/access (%s) nor beside the "
        "ledger (%s); make room there, or fix their rights",
        paths->mode_home, strerror(-home), strerror(-runtime));
    return STATUS_IO;
}
