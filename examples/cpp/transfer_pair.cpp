// Two processes: one offers memory, the other writes into it, reads it back, and says so.
//
//   transfer_pair target [ADDRESS]       offers memory and waits; ADDRESS to listen on, 127.0.0.1 unless told
//   transfer_pair initiator HOST:PORT    writes, reads, compares, notifies
//   transfer_pair                        both, in two processes
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <mooncake/mooncake.hpp>
#include <string>

constexpr std::size_t size = 16 << 20;
constexpr std::chrono::seconds patience{30};

static std::byte pattern(std::size_t i) { return static_cast<std::byte>(i * 31 + (i >> 12)); }

static void check_pattern(const mooncake::Allocation& memory) {
  for (std::size_t i = 0; i < size; ++i) {
    if (memory.data()[i] != pattern(i)) throw std::runtime_error("byte " + std::to_string(i) + " is another one");
  }
}

static void run_target(const std::string& address) {
  mooncake::EngineOptions options;
  options.bind_address = address;
  mooncake::Engine engine(options);
  mooncake::Allocation memory(engine, size);
  std::cout << "target: " << engine.info().address << " offers " << (size >> 20) << " MiB at " << memory.data()
            << std::endl;

  std::optional<mooncake::Notification> notification = mooncake::receive(engine, "written", patience);
  if (!notification) throw std::runtime_error("no notification came");
  std::cout << "target: " << notification->sender << " says \"" << notification->text() << "\"\n";
  check_pattern(memory);
  std::cout << "target: every byte is as it was written" << std::endl;
}

static void run_initiator(const std::string& address) {
  mooncake::EngineOptions options;
  options.flags = MC_ENGINE_FLAG_NO_LISTEN;
  mooncake::Engine engine(options);
  mooncake::Allocation memory(engine, size);
  mooncake::Segment peer(engine, address, patience);
  std::vector<mooncake::RemoteRegion> regions = peer.regions();
  if (regions.empty() || regions[0].length < size) throw std::runtime_error(address + " offers too little memory");
  const mooncake::RemoteRegion& remote = regions[0];
  std::cout << "initiator: writes to 0x" << std::hex << remote.address << std::dec << " by " << remote.path << '\n';

  for (std::size_t i = 0; i < size; ++i) memory.data()[i] = pattern(i);
  mooncake::Batch(engine, {mooncake::write(peer, remote.address, memory)}).wait(patience).check();
  std::memset(memory.data(), 0, size);
  mooncake::Batch(engine, {mooncake::read(peer, remote.address, memory)}).wait(patience).check();
  check_pattern(memory);
  std::cout << "initiator: read back what it wrote" << std::endl;
  mooncake::notify(peer, "written", "look at your memory", patience);
}

// This program started again as the target, its output readable here. It is stopped if it still runs in the end.
class Child {
 public:
  Child() {
    std::array<int, 2> output;
    if (pipe(output.data()) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, output[0]);
    posix_spawn_file_actions_addclose(&actions, output[1]);
    std::string name = "transfer_pair", role = "target";
    std::array<char*, 3> arguments{name.data(), role.data(), nullptr};
    int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(output[1]);
    lines_ = fdopen(output[0], "r");
    if (error != 0) throw std::runtime_error("cannot start another process");
  }
  ~Child() {
    if (pid_ > 0) kill(pid_, SIGTERM), waitpid(pid_, nullptr, 0);
    fclose(lines_);
  }

  // Shows its next line, and returns it; "" after the last.
  std::string line() {
    std::array<char, 256> text{};
    if (!fgets(text.data(), text.size(), lines_)) return "";
    std::cout << text.data() << std::flush;
    return text.data();
  }

  bool succeeded() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t pid_ = 0;
  FILE* lines_ = nullptr;
};

static void run_both() {
  Child target;
  std::array<char, 81> address{};
  if (std::sscanf(target.line().c_str(), "target: %80s", address.data()) != 1) {
    throw std::runtime_error("the target did not start");
  }
  run_initiator(address.data());
  while (!target.line().empty()) continue;
  if (!target.succeeded()) throw std::runtime_error("the target failed");
  std::cout << "verified at both ends" << std::endl;
}

int main(int count, char** arguments) try {
  std::string role = count > 1 ? arguments[1] : "";
  if (count == 1) return run_both(), 0;
  if (role == "target" && count <= 3) return run_target(count == 3 ? arguments[2] : "127.0.0.1"), 0;
  if (role == "initiator" && count == 3) return run_initiator(arguments[2]), 0;
  std::cerr << "usage: transfer_pair [target [ADDRESS] | initiator HOST:PORT]\n";
  return 2;
} catch (const mooncake::Error& error) {
  std::cerr << "failed with " << error.name() << ": " << error.what() << '\n';
  return 1;
} catch (const std::exception& error) {
  std::cerr << "failed: " << error.what() << '\n';
  return 1;
}
