// Host: the version of the loaded library, and its report on this machine.
#include "mooncake/host.hpp"

#include "check.hpp"

TEST(the_loaded_library_is_the_one_compiled_against) {
  CHECK(mooncake::version() == std::to_string(MC_VERSION_MAJOR) + "." + std::to_string(MC_VERSION_MINOR) + "." +
                                   std::to_string(MC_VERSION_PATCH));
  CHECK(mc_abi_version() == MC_ABI_VERSION);
}

TEST(the_report_is_json) {
  std::string report = mooncake::host_report();
  CHECK(report.size() > 2 && report.front() == '{' && report.find('}') != std::string::npos);
}
