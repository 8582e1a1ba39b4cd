// What a C++ consumer builds: the wrapper's headers are found, compile and link.
#include <iostream>

#include <mooncake/mooncake.hpp>

int main() {
  mc_engine_options_t options = mc_engine_options_default();
  options.bind_address = "127.0.0.1";
  mooncake::Engine engine(options);
  std::cout << "mooncake " << mc_version() << '\n';
}
