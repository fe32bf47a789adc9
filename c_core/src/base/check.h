/*
 * check.h: CHECK(x) states what can only be false through a bug of ours. It stays on in production:
 * a false one halts trading (the handler set with check_on_failure raises the ledger's halt),
 * prints the expression and the place, and aborts.
 */
#ifndef PURSER_BASE_CHECK_H
#define PURSER_BASE_CHECK_H

#define CHECK(expression)                                                                          \
    ((expression) ? (void)0 : check_failed(#expression, __FILE__, __LINE__, __func__))

_Noreturn void check_failed(const char *expression, const char *file, int line,
                            const char *function);

/* check_on_failure: called once before abort; must be async-signal-safe in spirit. */
void check_on_failure(void (*handler)(void *context), void *context);

#endif
