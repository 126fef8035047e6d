/* SPDX-License-Identifier: MIT */
#pragma once

/* What every unit test includes: cmocka needs these before its own header. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UNIT_MAIN(tests)                                                                                     \
    int main(void)                                                                                           \
    {                                                                                                        \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                    \
    }
