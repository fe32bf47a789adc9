/*
 * crash.h: the last words of a process that dies of a defect.
 *
 * Nobody keeps a core of a process that holds keys (main_trader.c), so what the log must tell is
 * written by the dying process itself: the signal, the address, and the return addresses of the
 * calls that led there, as `addr2line -e bin/trader +0x…` reads them. Then the signal takes its
 * usual effect, so that whoever waits for the process sees which one it was.
 */
#ifndef PURSER_BASE_CRASH_H
#define PURSER_BASE_CRASH_H

/* crash_tell: from now on SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT are told on standard error.
 * Call once, before other threads begin; a failure leaves everything as it was. */
void crash_tell(void);

#endif
