#include "engine_access.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

#define KEY_FILE_MAX 4096

__attribute__((format(printf, 3, 4))) static int fail(int status, char *error, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, CONFIG_ERROR, format, arguments);
    va_end(arguments);
    return status;
}

/* path_join: false when the result does not fit. */
static bool path_join(char out[CONFIG_PATH], const char *folder, const char *name)
{
    return snprintf(out, CONFIG_PATH, "%s/%s", folder, name) < CONFIG_PATH;
}

/* folder_make: like mkdir -p, new folders 0700. */
static int folder_make(const char *path, char *error)
{
    char part[CONFIG_PATH];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return fail(STATUS_CONFIG, error,
                        "cannot make the folder %s (%s); make it yourself or "
                        "choose another with --home or --runtime",
                        part, strerror(errno));
        if (slash == NULL)
            return STATUS_OK;
        *slash = '/';
    }
}

static int folder_private(const char *path, char *error)
{
    struct stat info;
    int status = folder_make(path, error);
    if (status != STATUS_OK)
        return status;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid())
        return fail(STATUS_CONFIG, error, "%s is not a folder of this user; choose another", path);
    if ((info.st_mode & 022) != 0)
        return fail(STATUS_CONFIG, error, "%s may be written by others; run: chmod 700 %s", path,
                    path);
    return STATUS_OK;
}

static int home_resolve(char out[CONFIG_PATH], const char *given, char *error)
{
    char folder[CONFIG_PATH];
    if (given != NULL) {
        snprintf(folder, sizeof folder, "%s", given);
    } else {
        const char *home = getenv("HOME");
        const struct passwd *user = home ? NULL : getpwuid(geteuid());
        if (home == NULL && user == NULL)
            return fail(STATUS_CONFIG, error, "no home folder is known; set PURSER_HOME");
        if (!path_join(folder, home ? home : user->pw_dir, ".local/state/purser"))
            return fail(STATUS_CONFIG, error,
                        "the home folder's path is too long; set PURSER_HOME");
    }
    int status = folder_private(folder, error);
    if (status != STATUS_OK)
        return status;
    char *real = realpath(folder, NULL);
    if (real == NULL || strlen(real) > CONFIG_PATH - 64) {
        free(real);
        return fail(STATUS_CONFIG, error, "%s cannot be resolved or is too long a path", folder);
    }
    snprintf(out, CONFIG_PATH, "%s", real);
    free(real);
    return STATUS_OK;
}

/* Two homes on one machine must not share a runtime folder: it is named after the home. */
static void runtime_default(char out[CONFIG_PATH], const char *home, bool home_given)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    int length = snprintf(out, CONFIG_PATH, "/dev/shm/purser-%u", (unsigned)geteuid());
    if (!home_given || EVP_Digest(home, strlen(home), digest, NULL, EVP_sha256(), NULL) != 1)
        return;
    snprintf(out + length, (size_t)(CONFIG_PATH - length), "-%02x%02x%02x%02x", digest[0],
             digest[1], digest[2], digest[3]);
}

int engine_paths_resolve(struct engine_paths *out, const char *home, const char *runtime, int mode,
                         char error[CONFIG_ERROR])
{
    const char *home_environment = getenv("PURSER_HOME");
    const char *runtime_environment = getenv("PURSER_RUNTIME");
    memset(out, 0, sizeof *out);
    if (home == NULL && home_environment != NULL && home_environment[0] != '\0')
        home = home_environment;
    else if (home != NULL && runtime == NULL)
        runtime_environment = NULL; /* another home given by hand has its own runtime folder */
    if (runtime == NULL && runtime_environment != NULL && runtime_environment[0] != '\0')
        runtime = runtime_environment;
    int status = home_resolve(out->home, home, error);
    if (status != STATUS_OK)
        return status;
    if (runtime != NULL)
        snprintf(out->runtime, CONFIG_PATH, "%s", runtime);
    else
        runtime_default(out->runtime, out->home, home != NULL);
    status = folder_private(out->runtime, error);
    if (status != STATUS_OK)
        return status;
    bool fits = path_join(out->ledger, out->runtime, "ledger") &&
                path_join(out->page, out->runtime, "engine.page") &&
                path_join(out->bridge_socket, out->runtime, "bridge.sock") &&
                path_join(out->pub, out->runtime, "engine.pub") &&
                path_join(out->latch, out->home, "HALTED") &&
                path_join(out->mode_home, out->home, engine_mode_name(mode)) &&
                path_join(out->journal, out->mode_home, "engine");
    if (!fits)
        return fail(STATUS_CONFIG, error, "the path of %s is too long", out->runtime);
    return folder_private(out->journal, error);
}

static int text_copy(char *out, size_t size, const json_t *object, const char *key,
                     const char *path, char *error)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL || text[0] == '\0' || strlen(text) >= size)
        return fail(STATUS_CONFIG, error, "%s: \"%s\" is missing or too long", path, key);
    snprintf(out, size, "%s", text);
    return STATUS_OK;
}

/* file_read_private: the bytes of a small file that only this user may read. */
static int file_read_private(char out[KEY_FILE_MAX], const char *path, char *error)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT
                   ? STATUS_AGAIN
                   : fail(STATUS_CREDENTIALS, error, "cannot open %s: %s", path, strerror(errno));
    int status = STATUS_OK;
    ssize_t size = -1;
    if (fstat(fd, &info) != 0 || info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        status = fail(STATUS_CREDENTIALS, error,
                      "%s holds secrets and must belong to you alone; "
                      "run: chmod 600 %s",
                      path, path);
    else if ((size = read(fd, out, KEY_FILE_MAX - 1)) <= 0)
        status = fail(STATUS_CREDENTIALS, error, "%s is empty or cannot be read", path);
    close(fd);
    out[size > 0 ? size : 0] = '\0';
    return status;
}

/* ready_line_load: the simulator's ready line, once it is there and whole. */
static int ready_line_load(json_t **out, const char *path, int wait_ms, char *error)
{
    char text[KEY_FILE_MAX];
    for (int waited = 0;; waited += 20) {
        int status = file_read_private(text, path, error);
        if (status == STATUS_OK && (*out = json_loads(text, 0, NULL)) != NULL)
            return STATUS_OK;
        if (status == STATUS_CREDENTIALS && waited >= wait_ms)
            return status;
        if (waited >= wait_ms)
            return fail(STATUS_CONFIG, error,
                        "the simulator's ready line %s is not there; start "
                        "everything with `control start --paper`, or start "
                        "`python -m simulators binance` and put the line that "
                        "it prints into that file (chmod 600: it holds a key)",
                        path);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static int access_from_simulator(struct engine_access *out, const char *name, bool endpoints,
                                 const struct engine_paths *paths, int wait_ms, char *error)
{
    char path[CONFIG_PATH];
    json_t *root = NULL;
    if (!path_join(path, paths->runtime, name))
        return fail(STATUS_CONFIG, error, "the name %s is too long", name);
    int status = ready_line_load(&root, path, wait_ms, error);
    if (status != STATUS_OK)
        return status;
    snprintf(endpoints ? out->ready : out->key_ready, CONFIG_PATH, "%s", path);
    if (endpoints) {
        status = text_copy(out->rest, sizeof out->rest, root, "rest", path, error);
        if (status == STATUS_OK)
            status = text_copy(out->streams, sizeof out->streams, root, "ws", path, error);
        if (status == STATUS_OK)
            status = text_copy(out->ws_api, sizeof out->ws_api, root, "ws_api", path, error);
        if (status == STATUS_OK && json_is_string(json_object_get(root, "ca")))
            status = text_copy(out->ca_file, sizeof out->ca_file, root, "ca", path, error);
    } else {
        const json_t *keys = json_object_get(root, "credentials");
        status = text_copy(out->api_key, sizeof out->api_key, keys, "api_key", path, error);
        if (status == STATUS_OK)
            status =
                text_copy(out->api_secret, sizeof out->api_secret, keys, "api_secret", path, error);
    }
    json_decref(root);
    return status;
}

static int access_from_key_file(struct engine_access *out, const char *name,
                                const struct engine_paths *paths, char *error)
{
    char path[CONFIG_PATH], text[KEY_FILE_MAX];
    if (name[0] == '/')
        snprintf(path, sizeof path, "%s", name);
    else if (!path_join(path, paths->home, name))
        return fail(STATUS_CONFIG, error, "the name %s is too long", name);
    snprintf(out->key_file, sizeof out->key_file, "%s", path);
    int status = file_read_private(text, path, error);
    if (status == STATUS_AGAIN)
        return fail(STATUS_CREDENTIALS, error,
                    "no API key: create %s with mode 0600 and the content "
                    "{\"api_key\": \"...\", \"api_secret\": \"...\"} (testnet keys come from "
                    "demo.binance.com, API Management)",
                    path);
    if (status != STATUS_OK)
        return status;
    json_t *root = json_loads(text, 0, NULL);
    explicit_bzero(text, sizeof text);
    if (root == NULL)
        return fail(STATUS_CREDENTIALS, error,
                    "%s is not valid JSON; it must hold "
                    "{\"api_key\": \"...\", \"api_secret\": \"...\"}",
                    path);
    status = text_copy(out->api_key, sizeof out->api_key, root, "api_key", path, error);
    if (status == STATUS_OK)
        status =
            text_copy(out->api_secret, sizeof out->api_secret, root, "api_secret", path, error);
    json_decref(root);
    return status == STATUS_OK ? STATUS_OK : STATUS_CREDENTIALS;
}

int engine_access_resolve(struct engine_access *out, const struct trader_config *config,
                          const struct engine_paths *paths, int wait_ms, char error[CONFIG_ERROR])
{
    int status = STATUS_OK;
    memset(out, 0, sizeof *out);
    if (config->credentials.file[0] != '\0')
        status = access_from_key_file(out, config->credentials.file, paths, error);
    else
        status =
            access_from_simulator(out, config->credentials.simulator, false, paths, wait_ms, error);
    if (status != STATUS_OK)
        return status;
    if (config->endpoints.simulator[0] != '\0')
        return access_from_simulator(out, config->endpoints.simulator, true, paths, wait_ms, error);
    snprintf(out->rest, sizeof out->rest, "%s", config->endpoints.rest);
    snprintf(out->streams, sizeof out->streams, "%s", config->endpoints.streams);
    snprintf(out->ws_api, sizeof out->ws_api, "%s", config->endpoints.ws_api);
    snprintf(out->ca_file, sizeof out->ca_file, "%s", config->endpoints.ca_file);
    return STATUS_OK;
}
