// Compares blocks on a thread of its own.
#include "verifier.hpp"

#include <cstdio>
#include <stdexcept>

#include "content.hpp"

// Requests that may wait to be checked.
constexpr std::size_t kMostWaiting = 16;

Verifier::Verifier(std::size_t block_length) : block_length_(block_length), thread_([this] { run(); }) {}

Verifier::~Verifier() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    is_ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Verifier::check(Arrived arrived) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < kMostWaiting || !mismatch_.empty(); });
  if (!mismatch_.empty()) throw std::runtime_error(mismatch_);
  waiting_.push_back(std::move(arrived));
  changed_.notify_all();
}

std::optional<Arrived> Verifier::poll() {
  std::unique_lock<std::mutex> lock(mutex_);
  return take(lock);
}

std::optional<Arrived> Verifier::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return !checked_.empty() || !mismatch_.empty() || (waiting_.empty() && !is_busy_); });
  return take(lock);
}

std::optional<Arrived> Verifier::take(std::unique_lock<std::mutex>&) {
  if (!mismatch_.empty()) throw std::runtime_error(mismatch_);
  if (checked_.empty()) return std::nullopt;
  Arrived arrived = std::move(checked_.front());
  checked_.pop_front();
  return arrived;
}

void Verifier::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
    if (is_ending_) return;
    Arrived arrived = std::move(waiting_.front());
    waiting_.pop_front();
    is_busy_ = true;
    lock.unlock();
    std::string mismatch = compare(arrived);
    lock.lock();
    is_busy_ = false;
    if (mismatch_.empty()) mismatch_ = std::move(mismatch);
    checked_.push_back(std::move(arrived));
    changed_.notify_all();
  }
}

// "" when every byte is right.
std::string Verifier::compare(const Arrived& arrived) const {
  for (const Arrived::Block& block : arrived.pulled) {
    const std::optional<std::size_t> offset = content::find_difference(block.hash_id, block.data, block_length_);
    if (!offset) continue;
    char text[160];
    std::snprintf(text, sizeof text,
                  "wrong data: byte %zu of block %llu of request %llu is 0x%02x, not what prefill made", *offset,
                  static_cast<unsigned long long>(block.hash_id), static_cast<unsigned long long>(arrived.request),
                  static_cast<unsigned>(block.data[*offset]));
    return text;
  }
  return "";
}
