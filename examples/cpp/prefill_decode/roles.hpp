// Roles: what one process can be. Each throws std::runtime_error when it, or its peer, had to give up.
#ifndef PREFILL_DECODE_ROLES_HPP
#define PREFILL_DECODE_ROLES_HPP

#include "options.hpp"

// Makes the KV blocks of each request of a trace and tells decode where they are.
void run_prefill(const Options& options);

// Pulls the blocks that it does not hold, and checks every byte of them.
void run_decode(const Options& options);

// Starts both as processes of their own, once for each path, and shows what decode found.
void run_both(const Options& options);

#endif  // PREFILL_DECODE_ROLES_HPP
