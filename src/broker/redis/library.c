/* SPDX-License-Identifier: MIT */
#include "broker/redis/library.h"

/* The text of sluice.lua as one string literal, made by the build. */
#include "sluice_lua.h"

const char library_functions[] =
    "#!lua name=sluice\n" SLUICE_LUA "redis.register_function('sluice_publish', guard(handlers.publish))\n"
    "local function register(name, flag)\n"
    "    redis.register_function{function_name = 'sluice_' .. name, callback = guard(handlers[name]), "
    "flags = {flag}}\n"
    "end\n"
    "register('open', 'allow-oom')\n"
    "register('purge', 'allow-oom')\n"
    "register('revoke', 'allow-oom')\n"
    "register('revoked', 'allow-oom')\n"
    "register('presence', 'allow-oom')\n"
    "register('roster', 'allow-oom')\n"
    "register('occupancy', 'allow-oom')\n"
    "register('life', 'no-writes')\n"
    "register('read', 'no-writes')\n"
    "register('inspect', 'no-writes')\n"
    "register('find', 'no-writes')\n"
    "register('version', 'no-writes')\n";

const char library_script[] = SLUICE_LUA "return guard(handlers[table.remove(ARGV, 1)])(KEYS, ARGV)\n";
