/* SPDX-License-Identifier: MIT */
#pragma once

/* What a check has seen, for people. One thread. */

#include <stdio.h>

#include "check_network/check.h"

enum report_verdict {
    REPORT_ALL_PASS,
    REPORT_SOME_PASS,
    REPORT_NONE_PASSES, /* nothing came at all, or nothing was accepted */
};

/* Writes what is tried, with whom and through whom. */
void report_write_order(FILE *to, const struct check_order *order);

/* Writes a table of the ways, and below it what to do when not all of them pass. Returns what it comes to: a
 * way passes when every message has come by it, once and without being held back, and it was there at the
 * end. */
enum report_verdict report_write(FILE *to, const struct check *check);
