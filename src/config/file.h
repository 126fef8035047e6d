/* SPDX-License-Identifier: MIT */
#pragma once

/* The lines of a configuration file: `name = value`, and `[kind]` or `[kind "argument"]`, which open a
 * section. A line that begins with # or ; is a comment, as is the rest of a line after a space and ;. Main
 * thread only: libinih keeps its settings in globals.
 */

#include <stdio.h>

#include "base/text.h"

#define FILE_LINE_MAX 8192u

struct file_fault {
    unsigned line;  /* 0: it is the file as a whole */
    char text[160]; /* what is wrong, without file and line */
};

/* Gets a pair, valid until it returns. Returns 0, or anything else to stop. */
typedef int file_pair_fn(void *context, const char *name, const char *value, unsigned line);

/* Gets what opens a section, also an empty one; `argument` is not there where none stands. */
typedef int file_section_fn(void *context, struct text kind, struct text argument, unsigned line);

/* Gives every pair and every section to its function until the first fault. Returns 0, -EINVAL with `fault`
 * filled, or -ECANCELED when a function stopped. A line that libinih would cut, and a byte that it would stop
 * at, are faults. */
int file_read(FILE *file, file_pair_fn *on_pair, file_section_fn *on_section, void *context,
              struct file_fault *fault);
