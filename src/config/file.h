/* SPDX-License-Identifier: MIT */
#pragma once

/* The lines of a configuration file: `name = value`, no sections. A line that begins with # or ; is a
 * comment, as is the rest of a line after a space and ;. Main thread only: libinih keeps its settings in
 * globals.
 */

#include <stdio.h>

#define FILE_LINE_MAX 8192u

struct file_fault {
    unsigned line;  /* 0: it is the file as a whole */
    char text[160]; /* what is wrong, without file and line */
};

/* Gets a pair, valid until it returns. Returns 0, or anything else to stop. */
typedef int file_pair_fn(void *context, const char *name, const char *value, unsigned line);

/* Gives every pair to `take` until the first fault. Returns 0, -EINVAL with `fault` filled, or -ECANCELED
 * when `take` stopped. A line that libinih would cut, and a byte that it would stop at, are faults. */
int file_read_pairs(FILE *file, file_pair_fn *on_pair, void *context, struct file_fault *fault);
