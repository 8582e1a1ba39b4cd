// Messages: what the router and a worker say to one another, each one line of words.
#ifndef SERVING_MESSAGES_HPP
#define SERVING_MESSAGES_HPP

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// Tokens that one block holds.
constexpr std::uint64_t kTokens = 512;

// Router to prefill.
struct PrefillOrder {
  std::uint64_t request = 0, tokens = 0;
  // Blocks at the beginning that need not be computed, and whether those that are not here are fetched from the store.
  std::uint64_t reused = 0;
  bool fetches = false;
  // Seconds for each token that is computed, and for each square.
  double linear = 0, quadratic = 0;
  std::vector<std::uint64_t> blocks;
};

// Prefill to router, when the blocks are in the store.
struct Prefilled {
  std::uint64_t request = 0;
  std::uint64_t local = 0, fetched = 0, computed = 0;  // blocks
  std::uint64_t fetched_bytes = 0, put_bytes = 0;
  std::vector<std::uint64_t> gone;  // from the process's own cache
};

// Router to decode.
struct DecodeOrder {
  std::uint64_t request = 0;
  double seconds = 0;
  std::vector<std::uint64_t> blocks;
};

// A line of words, written and read one after the other.
class Words {
 public:
  Words() = default;
  explicit Words(const std::string& line) : text_(line) {}

  template <typename T>
  Words& put(const T& word) {
    if (text_.tellp() > 0) text_ << ' ';
    text_.precision(17);
    text_ << word;
    return *this;
  }
  Words& put(const std::vector<std::uint64_t>& list) {
    put(list.size());
    for (std::uint64_t word : list) put(word);
    return *this;
  }

  template <typename T>
  T take() {
    T word;
    if (!(text_ >> word)) throw std::runtime_error("a line from the other end lacks a word: " + text_.str());
    return word;
  }
  std::vector<std::uint64_t> take_list() {
    std::vector<std::uint64_t> list(take<std::size_t>());
    for (std::uint64_t& word : list) word = take<std::uint64_t>();
    return list;
  }

  std::string line() const { return text_.str(); }

 private:
  std::stringstream text_;
};

inline std::string line_of(const PrefillOrder& order) {
  Words words;
  words.put("prefill").put(order.request).put(order.tokens).put(order.reused).put(order.fetches).put(order.linear);
  return words.put(order.quadratic).put(order.blocks).line();
}

inline PrefillOrder prefill_order(Words& words) {
  PrefillOrder order;
  order.request = words.take<std::uint64_t>(), order.tokens = words.take<std::uint64_t>();
  order.reused = words.take<std::uint64_t>(), order.fetches = words.take<int>() != 0;
  order.linear = words.take<double>(), order.quadratic = words.take<double>();
  order.blocks = words.take_list();
  return order;
}

inline std::string line_of(const Prefilled& done) {
  Words words;
  words.put("prefilled").put(done.request).put(done.local).put(done.fetched).put(done.computed);
  return words.put(done.fetched_bytes).put(done.put_bytes).put(done.gone).line();
}

inline Prefilled prefilled(Words& words) {
  Prefilled done;
  for (std::uint64_t* number :
       {&done.request, &done.local, &done.fetched, &done.computed, &done.fetched_bytes, &done.put_bytes})
    *number = words.take<std::uint64_t>();
  done.gone = words.take_list();
  return done;
}

inline std::string line_of(const DecodeOrder& order) {
  return Words().put("decode").put(order.request).put(order.seconds).put(order.blocks).line();
}

inline DecodeOrder decode_order(Words& words) {
  DecodeOrder order;
  order.request = words.take<std::uint64_t>(), order.seconds = words.take<double>();
  order.blocks = words.take_list();
  return order;
}

#endif  // SERVING_MESSAGES_HPP
