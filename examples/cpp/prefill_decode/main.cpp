// Prefill and decode: two processes that move the KV blocks of a request trace. docs/demo.md has the whole story.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include "roles.hpp"

// Whoever started this process may be killed without a chance to stop it.
static void end_with(std::uint64_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (static_cast<std::uint64_t>(getppid()) != parent)
    throw std::runtime_error("the process that started this one is gone");
}

int main(int count, char** arguments) {
  const std::vector<std::string> list(arguments + 1, arguments + count);
  if (!list.empty() && (list.back() == "--help" || list.back() == "-h")) {
    std::fputs(usage(), stdout);
    return 0;
  }
  const char* name = "prefill_decode";
  try {
    const Options options = parse_options(list);
    if (options.parent != 0) end_with(options.parent);
    switch (options.role) {
      case Role::prefill:
        name = "prefill", run_prefill(options);
        break;
      case Role::decode:
        name = "decode", run_decode(options);
        break;
      case Role::both:
        run_both(options);
        break;
    }
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "prefill_decode: %s\nprefill_decode --help tells all options\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}
