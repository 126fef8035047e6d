/* SPDX-License-Identifier: MIT */
#include "auth/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum error_code auth_refuse(char fault[AUTH_FAULT_MAX], enum error_code error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault, AUTH_FAULT_MAX, format, arguments);
    va_end(arguments);
    return error;
}

int auth_fail(char *fault, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault, size, format, arguments);
    va_end(arguments);
    return -EINVAL;
}
