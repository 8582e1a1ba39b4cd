// Worker: a prefill or a decode process.
#ifndef SERVING_WORKER_HPP
#define SERVING_WORKER_HPP

#include "options.hpp"

// Where it finds its end of the channel.
constexpr int kWorkerDescriptor = 100;

// Returns the status with which the process ends: 0 when the router says so, 1 after the router was told why.
int run_worker(const Options& options);

#endif  // SERVING_WORKER_HPP
