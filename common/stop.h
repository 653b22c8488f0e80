/*
 * stop.h -- Ctrl-C ends a run cleanly.
 *
 * SIGINT, SIGTERM and SIGHUP set a flag that long loops look at; a second signal kills.  Children made by child.h ignore SIGINT:
 * their parent decides.  For the commands that have something to end: the others, which look into a store, end at the first one,
 * also while a long open goes on.
 */
#ifndef ASSAY_COMMON_STOP_H
#define ASSAY_COMMON_STOP_H

#include <stdbool.h>

void stop_install(void);
bool stop_requested(void);

#endif
