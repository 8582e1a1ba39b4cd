// Process: a child of this one, which ends with it.
#ifndef SERVING_PROCESS_HPP
#define SERVING_PROCESS_HPP

#include <sys/types.h>

#include <string>
#include <vector>

class Process {
 public:
  // `arguments` begin with what the program is called. `descriptor` of this process is `as` in the child.
  Process(std::string name, const std::string& program, std::vector<std::string> arguments, int descriptor, int as);
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  bool is_running();
  // By a signal that is not ours.
  bool was_killed();

  // What became of it, such as "prefill 1 was killed by signal 9 (Killed)"; waits a moment for its end.
  std::string fate();

 private:
  std::string name_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool is_over_ = false;
};

#endif  // SERVING_PROCESS_HPP
