/*
 * main_trader.c: arguments, signals, exit code. What runs is in trader.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/crash.h"
#include "base/heap_trap.h"
#include "base/log.h"
#include "base/status.h"
#include "book/capture_check.h"
#include "connectors/crypto/binance_wire.h"
#include "engine_config.h"
#include "trader.h"

#ifndef PURSER_VERSION
#define PURSER_VERSION "0.1.0"
#endif

static const char help_text[] =
    "trader: the Purser trading engine\n"
    "\n"
    "usage: trader --mode MODE --exchange binance --config FILE [options]\n"
    "\n"
    "  --mode MODE        paper: a simulator or the venue's test network, no real money\n"
    "                     live: real money; only under a supervisor, and this release's starts "
    "paper only\n"
    "                     dry-run: reads the market and computes orders, sends none; the venue\n"
    "                     and a key are read from the same configuration\n"
    "  --exchange NAME    the venue to trade on: binance (USD-M futures)\n"
    "  --config FILE      the engine's configuration, for example config/binance_sim.json\n"
    "\n"
    "options\n"
    "  --home DIR         durable files: journal, keys, halt latch\n"
    "                     (default: $PURSER_HOME, else ~/.local/state/purser)\n"
    "  --runtime DIR      shared memory and sockets\n"
    "                     (default: $PURSER_RUNTIME, else /dev/shm/purser-UID)\n"
    "  --log-level LEVEL  debug, info, warning or error (default: info)\n"
    "  --check-config     read the configuration, say whether it is right, and end\n"
    "  --replay-check FILE  replay a recorded Binance capture (.gz) through the order book and\n"
    "                     compare its top with the recorded bookTicker, event by event\n"
    "  --version          print the version\n"
    "  --help             print this text\n"
    "\n"
    "files\n"
    "  $PURSER_HOME/keys/binance-testnet.json   {\"api_key\": \"...\", \"api_secret\": \"...\"}, "
    "mode 0600\n"
    "  $PURSER_HOME/HALTED                      the latch of `control kill`; `control resume` "
    "lifts it\n"
    "\n"
    "examples\n"
    "  control start --paper                    everything: simulators, engine, bot, supervisor\n"
    "  trader --check-config --config config/binance_testnet.json\n"
    "  trader --mode paper --exchange binance --config config/binance_testnet.json\n"
    "\n"
    "Stop it with Ctrl-C or SIGTERM: it cancels its orders, waits for the venue's word, and ends.\n"
    "\n"
    "exit codes: 0 done, 1 error, 2 wrong usage, 4 configuration or credentials, 8 refused: "
    "halted\n";

struct arguments {
    const char *mode, *exchange, *config, *home, *runtime, *log_level, *replay_check;
    bool check_config, version, help;
};

static const char *const flags[] = {
    "--mode",      "--exchange",     "--config",       "--home",    "--runtime",
    "--log-level", "--check-config", "--replay-check", "--version", "--help",
};
#define FLAGS_COUNT ((int)(sizeof flags / sizeof flags[0]))

static int usage_error(const char *format, const char *text, const char *hint)
{
    fprintf(stderr, "trader: ");
    fprintf(stderr, format, text, hint);
    fprintf(stderr, "\nTry `trader --help`.\n");
    return TRADER_USAGE;
}

static int unknown_flag(const char *flag)
{
    const char *nearest = text_nearest(flag, flags, FLAGS_COUNT);
    if (nearest != NULL)
        return usage_error("unknown option %s; did you mean %s?", flag, nearest);
    return usage_error("unknown option %s%s", flag, "");
}

/* One option: returns how many words it took, or 0 after an error. */
static int argument_read(struct arguments *out, char **words)
{
    const struct {
        const char *flag;
        const char **value;
    } valued[] = {
        {"--mode", &out->mode},
        {"--exchange", &out->exchange},
        {"--config", &out->config},
        {"--home", &out->home},
        {"--runtime", &out->runtime},
        {"--log-level", &out->log_level},
        {"--replay-check", &out->replay_check},
    };
    const struct {
        const char *flag;
        bool *value;
    } plain[] = {
        {"--check-config", &out->check_config},
        {"--version", &out->version},
        {"--help", &out->help},
        {"-h", &out->help},
    };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(words[0], plain[i].flag) == 0) {
            *plain[i].value = true;
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof valued / sizeof valued[0]; i++) {
        size_t length = strlen(valued[i].flag);
        if (strncmp(words[0], valued[i].flag, length) != 0)
            continue;
        if (words[0][length] == '=' && words[0][length + 1] != '\0') {
            *valued[i].value = words[0] + length + 1;
            return 1;
        }
        if (words[0][length] != '\0')
            continue;
        if (words[1] == NULL) {
            usage_error("%s needs a value%s", words[0], "");
            return 0;
        }
        *valued[i].value = words[1];
        return 2;
    }
    unknown_flag(words[0]);
    return 0;
}

static int config_check(const char *path)
{
    struct trader_config config;
    char error[CONFIG_ERROR];
    if (trader_config_load(&config, path, error) != STATUS_OK) {
        fprintf(stderr, "trader: %s\n", error);
        return TRADER_CONFIG;
    }
    printf("%s: correct (%s, %s, %d symbol%s)\n", path, config.venue, config.environment,
           config.symbols_count, config.symbols_count == 1 ? "" : "s");
    return TRADER_OK;
}

static struct trader *running;

static void on_signal(int number)
{
    (void)number;
    trader_stop(running);
}

static void signals_install(void)
{
    struct sigaction stop = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
}

static int run(const struct arguments *arguments, int mode)
{
    char error[TRADER_ERROR_TEXT] = "";
    struct trader_options options = {
        .mode = mode,
        .config_path = arguments->config,
        .home = arguments->home,
        .runtime = arguments->runtime,
        .simulator_wait_ms = 5000,
    };
    int result = trader_create(&running, &options, error);
    if (result != TRADER_OK) {
        fprintf(stderr, "trader: %s\n", error);
        return result;
    }
    signals_install();
    result = trader_run(running);
    trader_free(running);
    if (heap_trap_built())
        fprintf(stderr, "heap trap: %lld heap calls in %lld armed sections\n",
                (long long)heap_trap_calls(), (long long)heap_trap_sections());
    return result;
}

static int log_level_set(const char *text)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0)
            return log_open(NULL, (enum log_level)i) == STATUS_OK ? TRADER_OK : TRADER_ERROR;
    }
    return usage_error("--log-level %s is not known; it must be debug, info, warning or error%s",
                       text, "");
}

static int arguments_run(const struct arguments *a)
{
    if (a->help) {
        fputs(help_text, stdout);
        return TRADER_OK;
    }
    if (a->version) {
        puts("trader " PURSER_VERSION);
        return TRADER_OK;
    }
    if (a->log_level != NULL && log_level_set(a->log_level) != TRADER_OK)
        return TRADER_USAGE;
    if (a->replay_check != NULL)
        return capture_check_main(a->replay_check, &binance_capture_decoder, stdout);
    if (a->config == NULL)
        return usage_error("--config FILE is missing%s%s", "", "");
    if (a->check_config)
        return config_check(a->config);
    if (a->mode == NULL)
        return usage_error("--mode is missing: dry-run, paper or live%s%s", "", "");
    int mode = engine_mode_from_text(a->mode);
    if (mode < 0)
        return usage_error("--mode %s is not known; it must be dry-run, paper or live%s", a->mode,
                           "");
    if (a->exchange == NULL)
        return usage_error("--exchange is missing: binance%s%s", "", "");
    if (strcmp(a->exchange, "binance") != 0)
        return usage_error("--exchange %s is not known; it must be binance%s", a->exchange, "");
    return run(a, mode);
}

/* This process holds keys, so whatever it dies of, no image of its memory is kept. One byte is too
 * little for any core file, and the one limit at which Linux does not feed a core to a crash
 * collector's pipe either, which 0 would not stop (fs/coredump.c); bridge/cores.py says why this
 * and not prctl(2). */
static void forbid_core_dumps(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max != 0)
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){.rlim_cur = 1, .rlim_max = 1});
}

int main(int argc, char **argv)
{
    forbid_core_dumps();
    crash_tell();
    struct arguments arguments = {0};
    if (argc == 1)
        return usage_error("nothing to do: --mode, --exchange and --config are needed%s%s", "", "");
    for (int i = 1; i < argc;) {
        int taken = argument_read(&arguments, argv + i);
        if (taken == 0)
            return TRADER_USAGE;
        i += taken;
    }
    return arguments_run(&arguments);
}
