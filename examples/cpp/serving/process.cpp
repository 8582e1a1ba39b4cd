// Starts, watches and ends a child.
#include "process.hpp"

#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <stdexcept>
#include <thread>

extern char** environ;

Process::Process(std::string name, const std::string& program, std::vector<std::string> arguments, int descriptor,
                 int as)
    : name_(std::move(name)) {
  std::vector<char*> list;
  for (std::string& argument : arguments) list.push_back(argument.data());
  list.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, descriptor, as);
  const int error = posix_spawnp(&pid_, program.c_str(), &actions, nullptr, list.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start " + name_ + " (" + program + "): " + std::strerror(error));
}

Process::~Process() {
  if (is_running() && kill(pid_, SIGKILL) == 0) waitpid(pid_, nullptr, 0);
}

bool Process::is_running() {
  if (!is_over_ && waitpid(pid_, &status_, WNOHANG) == pid_) is_over_ = true;
  return !is_over_;
}

bool Process::was_killed() { return !is_running() && WIFSIGNALED(status_); }

std::string Process::fate() {
  for (int i = 0; i < 200 && is_running(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (is_running()) return name_ + " does not answer";
  if (WIFSIGNALED(status_))
    return name_ + " was killed by signal " + std::to_string(WTERMSIG(status_)) + " (" + strsignal(WTERMSIG(status_)) +
           ")";
  return name_ + " ended with status " + std::to_string(WEXITSTATUS(status_)) +
         (status_ ? ", with the reason above" : "");
}
