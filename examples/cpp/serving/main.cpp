// Serving: a store, prefill and decode processes, and a conductor in the middle. docs/demo.md has the whole story.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "router.hpp"
#include "worker.hpp"

// Whoever started this process may be killed without a chance to stop it.
static void end_with(std::uint64_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (static_cast<std::uint64_t>(getppid()) != parent)
    throw std::runtime_error("the process that started this one is gone");
}

// "guard PID PROGRAM ARGUMENT...": becomes that program, which ends with the process PID.
static int guard(int count, char** arguments) {
  if (count < 4) return 2;
  end_with(std::strtoull(arguments[2], nullptr, 10));
  execvp(arguments[3], arguments + 3);
  std::fprintf(stderr, "cannot start %s: %s\n", arguments[3], std::strerror(errno));
  return 1;
}

int main(int count, char** arguments) {
  const std::vector<std::string> list(arguments + 1, arguments + count);
  if (!list.empty() && (list.back() == "--help" || list.back() == "-h")) {
    std::fputs(usage(), stdout);
    return 0;
  }
  std::string name = "serving";
  try {
    if (!list.empty() && list[0] == "guard") return guard(count, arguments);
    const Options options = parse_options(list);
    if (!options.name.empty()) name = options.name;
    if (options.parent != 0) end_with(options.parent);
    if (options.role != Role::router) return run_worker(options);
    run_router(options);
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "serving: %s\nserving --help tells all options\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
    return 1;
  }
}
