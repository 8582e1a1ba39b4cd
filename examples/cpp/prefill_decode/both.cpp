// Both: starts a decode and a prefill process for each path, watches them, and compares what decode found.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "report.hpp"
#include "roles.hpp"

extern char** environ;

namespace {

// How long one process may go on after the other failed: it should notice by itself, and say so.
constexpr std::chrono::seconds kGrace{30};

// Where decode finds its ends of the two pipes.
constexpr int kAnnounceFd = 100;
constexpr int kReportFd = 101;

[[noreturn]] void fail(const std::string& attempted, int error) {
  throw std::runtime_error(attempted + ": " + std::strerror(error));
}

// The reading end is ours, the writing end goes to one child and to no other.
struct Pipe {
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe", errno);
  }
  ~Pipe() {
    close(ends[0]);
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close_writer() {
    if (ends[1] >= 0) close(ends[1]);
    ends[1] = -1;
  }

  // Until `last` came, or the child is gone.
  std::string read_until(char last) const {
    std::string text;
    char byte;
    while (read(ends[0], &byte, 1) == 1 && byte != last) text += byte;
    return text;
  }

  int ends[2];
};

// A process of this program. One that still runs when this object goes is killed.
class Process {
 public:
  Process(std::string name, std::vector<std::string> arguments, Pipe* announce, Pipe* report) : name_(std::move(name)) {
    arguments.insert(arguments.begin(), {"prefill_decode", name_});
    std::vector<char*> list;
    for (std::string& argument : arguments) list.push_back(argument.data());
    list.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (announce) posix_spawn_file_actions_adddup2(&actions, announce->ends[1], kAnnounceFd);
    if (report) posix_spawn_file_actions_adddup2(&actions, report->ends[1], kReportFd);
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, list.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail("cannot start the " + name_ + " process", error);
  }
  ~Process() {
    if (is_running() && kill(pid_, SIGKILL) == 0) waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool is_running() {
    if (!is_over_ && waitpid(pid_, &status_, WNOHANG) == pid_) is_over_ = true;
    return !is_over_;
  }

  bool has_failed() { return !is_running() && status_ != 0; }

  // "" while it runs, and when it ended well.
  std::string failure() {
    if (!has_failed()) return "";
    if (WIFSIGNALED(status_)) {
      return name_ + " was killed by signal " + std::to_string(WTERMSIG(status_)) + " (" +
             strsignal(WTERMSIG(status_)) + "); ";
    }
    return name_ + " failed, with the reason above; ";
  }

 private:
  std::string name_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool is_over_ = false;
};

// Options that both processes share.
std::vector<std::string> shared_arguments(const Options& options, Path path) {
  return {"--path",   name_of(path),
          "--cache",  std::to_string(options.cache_bytes),
          "--memory", options.memory == MemoryKind::shared ? "shared" : "malloc",
          "--parent", std::to_string(getpid()),
          "--bind",   options.bind,
          "--wait",   std::to_string(options.patience.count())};
}

std::vector<std::string> decode_arguments(const Options& options, Path path) {
  std::vector<std::string> list = shared_arguments(options, path);
  list.insert(list.end(), {"--announce", "/dev/fd/" + std::to_string(kAnnounceFd)});
  list.insert(list.end(), {"--report", "/dev/fd/" + std::to_string(kReportFd)});
  return list;
}

std::vector<std::string> prefill_arguments(const Options& options, Path path, const std::string& decode_address) {
  std::vector<std::string> list = shared_arguments(options, path);
  list.insert(list.end(),
              {"--decode", decode_address, "--trace", options.trace, "--window", std::to_string(options.window),
               "--bytes-per-token", std::to_string(options.bytes_per_token)});
  if (options.requests <= 1u << 30) list.insert(list.end(), {"--requests", std::to_string(options.requests)});
  if (options.pace != 0) {
    char pace[32];
    std::snprintf(pace, sizeof pace, "%.17g", options.pace);
    list.insert(list.end(), {"--paced", pace});
  }
  return list;
}

void wait_for(Process& prefill, Process& decode) {
  auto end = std::chrono::steady_clock::time_point::max();
  while (prefill.is_running() || decode.is_running()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto now = std::chrono::steady_clock::now();
    if (now > end) break;
    const bool one_failed = prefill.has_failed() || decode.has_failed();
    if (one_failed && end == std::chrono::steady_clock::time_point::max()) end = now + kGrace;
  }
  std::string failures = prefill.failure() + decode.failure();
  if (!failures.empty()) throw std::runtime_error(failures + "nothing to compare");
}

Report run(const Options& options, Path path) {
  Pipe announce, report;
  Process decode("decode", decode_arguments(options, path), &announce, &report);
  announce.close_writer();
  report.close_writer();
  const std::string address = announce.read_until('\n');
  if (address.empty()) throw std::runtime_error("decode did not start, with the reason above");
  Process prefill("prefill", prefill_arguments(options, path, address), nullptr, nullptr);
  wait_for(prefill, decode);
  return from_json(report.read_until('\n'));
}

}  // namespace

void run_both(const Options& options) {
  std::vector<Report> reports;
  for (Path path : options.paths) {
    reports.push_back(run(options, path));
    const Report& last = reports.back();
    std::printf("%s: %.0f requests in %.2f s, %s pulled and every byte of them right\n", last.asked.c_str(),
                last.requests, last.seconds, size_text(last.pulled_bytes).c_str());
    std::fflush(stdout);
  }
  std::printf("\n%s", table(reports).c_str());
}
