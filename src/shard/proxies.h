/* SPDX-License-Identifier: MIT */
#pragma once

/* Whose word counts about where a client comes from: the option `trusted-proxies`. Any thread. */

#include <stdbool.h>

#include "base/address.h"
#include "config/options.h"

bool proxies_include(const struct options *options, const struct address *peer);

/* Whether any beyond this machine are included. */
bool proxies_are_elsewhere(const struct options *options);
