/* The engine's configuration: good files load exactly, and every kind of mistake is an error that
 * names the key and what to write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../c_core/src/base/status.h"
#include "../../c_core/src/engine_access.h"

#define EXPECT(x)                                                                                  \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n  error text: %s\n", __FILE__, __LINE__, #x, error_text);  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static char error_text[CONFIG_ERROR];
static char folder[] = "purser-config-XXXXXX";
static struct trader_config config;

static char *file_text(const char *path)
{
    static char text[8192];
    FILE *file = fopen(path, "r");
    EXPECT(file != NULL);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    return text;
}

static const char *file_write(const char *name, const char *text, mode_t mode)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    EXPECT(file != NULL && fputs(text, file) >= 0);
    fclose(file);
    EXPECT(chmod(path, mode) == 0);
    return path;
}

/* mistake: the good file with one piece of text replaced must fail with `expected` in the error. */
static void mistake(const char *old, const char *new, const char *expected)
{
    static char text[9000];
    char *good = file_text("config/binance_sim.json");
    char *at = strstr(good, old);
    EXPECT(at != NULL);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
    const char *path = file_write("config.json", text, 0600);
    error_text[0] = '\0';
    EXPECT(trader_config_load(&config, path, error_text) == STATUS_CONFIG);
    EXPECT(strstr(error_text, expected) != NULL);
}

static void test_decimals_are_exact_or_refused(void)
{
    int64_t value = 0;
    EXPECT(decimal_scaled(&value, "0.002", 9) && value == 2000000);
    EXPECT(decimal_scaled(&value, "-1.5", 6) && value == -1500000);
    EXPECT(decimal_scaled(&value, "1.50000000000", 6) && value == 1500000);
    EXPECT(decimal_scaled(&value, "9223372036", 9) && value == 9223372036000000000);
    EXPECT(!decimal_scaled(&value, "9223372037", 9));
    EXPECT(!decimal_scaled(&value, "0.0000001", 6));
    EXPECT(!decimal_scaled(&value, "1e3", 6));
    EXPECT(!decimal_scaled(&value, "", 6));
    EXPECT(!decimal_scaled(&value, ".", 6));
    EXPECT(!decimal_scaled(&value, "nan", 6));
}

static void test_shipped_files_load(void)
{
    EXPECT(trader_config_load(&config, "config/binance_sim.json", error_text) == STATUS_OK);
    EXPECT(config.symbols_count == 1 && strcmp(config.symbols[0].symbol, "BTCUSDT") == 0);
    EXPECT(config.symbols[0].shock_ppm == 100000 && config.symbols[0].maker_fee_ppm == 200);
    EXPECT(config.symbols[0].taker_fee_ppm == 500);
    EXPECT(config.risk.max_order_quantity_e9 == 50000000);
    EXPECT(config.risk.max_order_notional_micros == 5000000000);
    EXPECT(config.risk.price_collar_ppm == 10000 && config.risk.daily_loss_micros == 500000000);
    EXPECT(config.quoter.quantity_e9 == 2000000 && config.quoter.enabled);
    EXPECT(config.signal.volatility_floor_ppm == 200000);
    EXPECT(config.session.recv_window_ms == 1500 && !config.session.busy_poll);
    EXPECT(trader_config_load(&config, "config/binance_testnet.json", error_text) == STATUS_OK);
    EXPECT(strcmp(config.endpoints.rest, "https://demo-fapi.binance.com") == 0);
}

static void test_mistakes_are_explained(void)
{
    mistake("\"quoter\"", "\"qoter\"", "unknown key \"qoter\"; did you mean \"quoter\"?");
    mistake("\"max_open_orders\"", "\"max_open_order\"",
            "unknown key \"risk.max_open_order\"; did you mean \"risk.max_open_orders\"?");
    mistake("\"stale_ms\": 3000,", "", "\"risk.stale_ms\" is missing");
    mistake("\"stale_ms\": 3000", "\"stale_ms\": \"3000\"", "must be a whole number");
    mistake("\"stale_ms\": 3000", "\"stale_ms\": 1", "100 to 60000");
    mistake("\"0.05\"", "0.05", "decimal number in quotes");
    mistake("\"max_position\": \"0.05\"", "\"max_position\": \"0\"", "above 0");
    mistake("\"shock_percent\": \"10\"", "\"shock_percent\": \"0\"", "out of range");
    mistake("\"enabled\": true", "\"enabled\": 1", "true or false");
    mistake("\"venue\": \"binance\"", "\"venue\": \"bitmex\"", "this engine speaks to");
    mistake("\"environment\": \"paper\"", "\"environment\": \"live\"", "simulator belongs to");
    mistake("{\"simulator\": \"sim-binance.json\"}", "{\"rest\": \"https://x\"}", "all of rest");
    mistake("\"quantity\": \"0.002\"", "\"quantity\": \"0.2\"", "risk.max_order_quantity");
    mistake("\"venue\": \"binance\",", "\"venue\": \"binance\",, ", "not valid JSON at line");
    mistake("\"venue\": \"binance\",", "\"venue\": \"binance\", \"venue\": \"binance\",", "JSON");
    EXPECT(trader_config_load(&config, "/nonexistent/x.json", error_text) == STATUS_CONFIG);
    EXPECT(strstr(error_text, "--config") != NULL);
}

static void test_budget_file(void)
{
    struct engine_budget budget;
    const char *path = file_write("budget.json",
                                  "{\"limit_usd\": \"1000\", \"notional_limit_usd\": "
                                  "\"20000\", \"headroom_percent\": \"2\"}",
                                  0600);
    EXPECT(engine_budget_load(&budget, path, error_text) == STATUS_OK);
    EXPECT(budget.limit_micros[0] == 1000000000 && budget.limit_micros[1] == 20000000000);
    EXPECT(budget.headroom_micros[0] == 20000000 && budget.headroom_micros[1] == 400000000);
    path = file_write("budget.json", "{\"limit_usd\": 1000}", 0600);
    EXPECT(engine_budget_load(&budget, path, error_text) == STATUS_CONFIG);
}

static void test_access(void)
{
    struct engine_paths paths;
    struct engine_access found;
    char home[300], runtime[300];
    snprintf(home, sizeof home, "%s/home", folder);
    snprintf(runtime, sizeof runtime, "%s/run", folder);
    EXPECT(engine_paths_resolve(&paths, home, runtime, ENGINE_PAPER, error_text) == STATUS_OK);
    EXPECT(strstr(paths.journal, "/home/paper/engine") != NULL && access(paths.journal, W_OK) == 0);
    EXPECT(trader_config_load(&config, "config/binance_testnet.json", error_text) == STATUS_OK);
    EXPECT(engine_access_resolve(&found, &config, &paths, 0, error_text) == STATUS_CREDENTIALS);
    EXPECT(strstr(error_text, "home/keys/binance-testnet.json") != NULL);
    EXPECT(mkdir(strcat(home, "/keys"), 0700) == 0);
    const char *keys = "{\"api_key\": \"k\", \"api_secret\": \"s\"}";
    file_write("home/keys/binance-testnet.json", keys, 0644);
    EXPECT(engine_access_resolve(&found, &config, &paths, 0, error_text) == STATUS_CREDENTIALS);
    EXPECT(strstr(error_text, "chmod 600") != NULL);
    file_write("home/keys/binance-testnet.json", keys, 0600);
    EXPECT(engine_access_resolve(&found, &config, &paths, 0, error_text) == STATUS_OK);
    EXPECT(strcmp(found.api_key, "k") == 0 && strcmp(found.api_secret, "s") == 0);
    EXPECT(trader_config_load(&config, "config/binance_sim.json", error_text) == STATUS_OK);
    EXPECT(engine_access_resolve(&found, &config, &paths, 0, error_text) == STATUS_CONFIG);
    EXPECT(strstr(error_text, "run/sim-binance.json") != NULL);
    file_write(
        "run/sim-binance.json",
        "{\"rest\": \"https://a:1\", \"ws\": \"wss://a:1\", \"ws_api\": \"wss://a:1/w\", \"ca\": "
        "\"/c.pem\", \"credentials\": {\"api_key\": \"kk\", \"api_secret\": \"ss\"}}",
        0600);
    EXPECT(engine_access_resolve(&found, &config, &paths, 0, error_text) == STATUS_OK);
    EXPECT(strcmp(found.streams, "wss://a:1") == 0 && strcmp(found.api_key, "kk") == 0);
}

int main(void)
{
    EXPECT(mkdtemp(folder) != NULL);
    test_decimals_are_exact_or_refused();
    test_shipped_files_load();
    test_mistakes_are_explained();
    test_budget_file();
    test_access();
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}
