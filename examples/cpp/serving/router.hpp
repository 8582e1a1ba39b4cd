// Router: replays a trace, and asks the conductor where each request runs.
#ifndef SERVING_ROUTER_HPP
#define SERVING_ROUTER_HPP

#include "options.hpp"

void run_router(const Options& options);

#endif  // SERVING_ROUTER_HPP
