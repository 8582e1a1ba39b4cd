// A shared library around the API, as TensorRT-LLM's wrapper is one.
#include <cstdint>
#include <string>
#include <vector>

#include <transfer_engine_c.h>

class Agent {
 public:
  explicit Agent(const std::string& host) : engine_(createTransferEngine("P2PHANDSHAKE", host.c_str(), "", 0, true)) {}
  ~Agent() { destroyTransferEngine(engine_); }

  int submit(const std::string& peer, const std::vector<transfer_request_t>& requests, notify_msg_t told) {
    std::vector<transfer_request_t> copy(requests);
    std::uint64_t batch = allocateBatchID(engine_, 1024);
    if (batch == INVALID_BATCH || openSegment(engine_, peer.c_str()) < 0) return -1;
    return submitTransferWithNotify(engine_, batch, copy.data(), copy.size(), told);
  }

 private:
  transfer_engine_t engine_;
};

extern "C" int agent_is_refused() { return Agent("127.0.0.1").submit("", {}, {nullptr, nullptr}); }
