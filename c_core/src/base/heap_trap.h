/*
 * heap_trap.h: proof that the path from a tick to an order makes no heap call. Built with
 * -DPURSER_HEAP_TRAP, the program's malloc, calloc, realloc, aligned_alloc and free count every
 * call that a thread makes between heap_trap_arm and heap_trap_disarm; with the environment
 * variable PURSER_HEAP_TRAP=abort the first such call prints where it came from and aborts. Without
 * the flag everything here is empty.
 *
 * Arming nests: only the outermost disarm ends it. heap_trap_pause lifts the trap for a rare event
 * on the path (a reconnect) until heap_trap_resume.
 */
#ifndef PURSER_BASE_HEAP_TRAP_H
#define PURSER_BASE_HEAP_TRAP_H

#include <stdint.h>

#ifdef PURSER_HEAP_TRAP
void heap_trap_arm(void);
void heap_trap_disarm(void);
int heap_trap_pause(void);
void heap_trap_resume(int depth);
#else
static inline void heap_trap_arm(void)
{
}
static inline void heap_trap_disarm(void)
{
}
static inline int heap_trap_pause(void)
{
    return 0;
}
static inline void heap_trap_resume(int depth)
{
    (void)depth;
}
#endif

/* heap_trap_built: 1 when the trap is compiled in. heap_trap_calls: heap calls made while armed;
 * heap_trap_sections: how many armed sections have ended. */
int heap_trap_built(void);
int64_t heap_trap_calls(void);
int64_t heap_trap_sections(void);

#endif
