// What a C++ consumer builds: the wrapper's headers are found, compile, link, and an engine answers.
#include <iostream>

#include <mooncake/mooncake.hpp>

int main() {
  mooncake::EngineOptions options;
  options.bind_address = "127.0.0.1";
  mooncake::Engine engine(options);
  std::cout << "mooncake " << mc_version() << " at " << engine.info().address << '\n';
}
