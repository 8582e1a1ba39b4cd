// Cluster: a master and the workers, as processes of their own.
#ifndef SERVING_CLUSTER_HPP
#define SERVING_CLUSTER_HPP

#include <deque>
#include <memory>

#include "channel.hpp"
#include "options.hpp"
#include "process.hpp"

// A worker, and the way to it.
struct Worker {
  Worker(const std::string& name, std::vector<std::string> arguments, int ours, int theirs);

  // Sends; if it is gone, an error says what became of it.
  void send(const std::string& line);
  // A line that is there; likewise. What it failed with is an error, too.
  std::optional<std::string> take();

  Process process;
  Channel channel;
};

class Cluster {
 public:
  // Starts all, and waits until all of them are ready. `memory` is what each worker gives the store.
  Cluster(const Options& options, std::uint64_t memory);

  // Throws if the master is gone.
  void check_master();

  // Who was killed, in words; "" if nobody was. What others failed with follows from that.
  std::string killed();

  std::vector<std::unique_ptr<Worker>>& prefill() { return prefill_; }
  std::vector<std::unique_ptr<Worker>>& decode() { return decode_; }

 private:
  std::unique_ptr<Worker> start(const std::string& role, std::size_t number);

  const Options& options_;
  std::uint64_t memory_;
  std::unique_ptr<Process> master_;
  std::string masters_;
  std::vector<std::unique_ptr<Worker>> prefill_, decode_;
};

#endif  // SERVING_CLUSTER_HPP
