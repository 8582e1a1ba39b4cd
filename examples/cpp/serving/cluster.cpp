// Starts a master and workers.
#include "cluster.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "worker.hpp"

namespace {

constexpr std::size_t kOfEach = 2;

[[noreturn]] void fail(const std::string& attempted) {
  throw std::runtime_error(attempted + ": " + std::strerror(errno));
}

// Neither end goes to a child that it is not handed to.
std::pair<int, int> connected() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("cannot connect two processes");
  return {ends[0], ends[1]};
}

// The word behind the last space of a master's first line.
std::string address_of(const std::string& line) { return line.substr(line.rfind(' ') + 1); }

}  // namespace

Worker::Worker(const std::string& name, std::vector<std::string> arguments, int ours, int theirs)
    : process(name, "/proc/self/exe", std::move(arguments), theirs, kWorkerDescriptor), channel(ours) {}

void Worker::send(const std::string& line) {
  try {
    channel.send(line);
  } catch (const ChannelClosed&) {
    throw std::runtime_error(process.fate());
  }
}

std::optional<std::string> Worker::take() {
  std::optional<std::string> line;
  try {
    line = channel.take();
  } catch (const ChannelClosed&) {
    throw std::runtime_error(process.fate());
  }
  if (line && line->rfind("failed ", 0) == 0) throw std::runtime_error(process.name() + ": " + line->substr(7));
  return line;
}

Cluster::Cluster(const Options& options, std::uint64_t memory) : options_(options), memory_(memory) {
  const auto deadline = Clock::now() + options.patience;
  {
    // What the master writes comes back over a socket as well: it says where it listens.
    auto [ours, theirs] = connected();
    Channel output(ours);
    const std::vector<std::string> arguments = {
        "serving",          "guard", std::to_string(getpid()), options.program, "master", "--listen", "127.0.0.1:0",
        "--found-after-ms", "0"};
    master_ = std::make_unique<Process>("the master", "/proc/self/exe", arguments, theirs, STDOUT_FILENO);
    close(theirs);
    try {
      const std::optional<std::string> line = output.wait(deadline);
      if (!line) throw std::runtime_error("the master does not say where it listens");
      masters_ = address_of(*line);
    } catch (const ChannelClosed&) {
      throw std::runtime_error(master_->fate());
    }
  }
  for (std::size_t i = 0; i < kOfEach; ++i) prefill_.push_back(start("prefill", i));
  for (std::size_t i = 0; i < kOfEach; ++i) decode_.push_back(start("decode", i));
  for (auto* workers : {&prefill_, &decode_}) {
    for (auto& worker : *workers) {
      std::optional<std::string> line;
      while (!(line = worker->take())) {
        check_master();
        if (Clock::now() > deadline) throw std::runtime_error(worker->process.name() + " is not ready");
        usleep(2000);
      }
    }
  }
}

std::unique_ptr<Worker> Cluster::start(const std::string& role, std::size_t number) {
  const std::string name = role + " " + std::to_string(number);
  const std::vector<std::string> arguments = {"serving",
                                              role,
                                              "--name=" + role + "-" + std::to_string(number),
                                              "--masters=" + masters_,
                                              "--memory=" + std::to_string(memory_),
                                              "--parent=" + std::to_string(getpid()),
                                              "--bytes-per-token=" + std::to_string(options_.bytes_per_token),
                                              "--cache=" + std::to_string(options_.cache_blocks),
                                              "--wait=" + std::to_string(options_.patience.count())};
  auto [ours, theirs] = connected();
  auto worker = std::make_unique<Worker>(name, arguments, ours, theirs);
  close(theirs);
  return worker;
}

void Cluster::check_master() {
  if (!master_->is_running()) throw std::runtime_error(master_->fate());
}

std::string Cluster::killed() {
  if (master_->was_killed()) return master_->fate();
  for (auto* workers : {&prefill_, &decode_})
    for (auto& worker : *workers)
      if (worker->process.was_killed()) return worker->process.fate();
  return "";
}
