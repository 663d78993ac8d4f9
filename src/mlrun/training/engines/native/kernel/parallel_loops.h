// One job's loops, each cut into shares that several threads take.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace {

// Multiply-adds, or as many steps of another loop. bench/peers/kernels.py measures 29 of them a
// nanosecond (and 34 for bench/peers/limit.cpp): a smaller loop takes less than 14 microseconds,
// and other threads would come late.
constexpr size_t MIN_SHARED_WORK = 400'000;
// Several, because threads begin at different times: one that is late takes fewer.
constexpr int SHARES_PER_THREAD = 3;
// Pauses of some 40 cycles each: tens of microseconds.
constexpr int SPINS_BEFORE_YIELD = 2'000;

// Wait a little: first with the core kept, later with the core left to other threads.
void pause(int& spins) {
  if (spins >= SPINS_BEFORE_YIELD) return std::this_thread::yield();
  spins++;
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The thread that runs the job calls run() and close(); helpers call try_join() and help().
class ParallelLoops {
 public:
  explicit ParallelLoops(int64_t threads) : threads_(threads) {}

  // Call body(from, to) for parts that make up 0 … count; returns when all are done. The first
  // exception of a part is thrown again here.
  template <typename Body>
  void run(size_t count, size_t work, const Body& body) {
    if (threads_ < 2 || count < 2 || work < MIN_SHARED_WORK) return body(size_t{0}, count);
    body_ = &body;
    call_ = [](const void* body, size_t from, size_t to) {
      (*static_cast<const Body*>(body))(from, to);
    };
    count_ = count;
    shares_ = std::min<size_t>(count, SHARES_PER_THREAD * threads_);
    done_.store(0, std::memory_order_relaxed);
    open_.store(++round_ << 32 | shares_, std::memory_order_release);
    while (take_share()) {
    }
    for (int spins = 0; done_.load(std::memory_order_acquire) < shares_;) pause(spins);
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

  // Whether another helper is wanted; if so, it must call help().
  bool try_join() {
    if (helpers_ + 1 >= threads_) return false;
    helpers_++;
    return true;
  }

  // Take shares until the job is over or there is other work.
  void help(const std::atomic<bool>& other_work) {
    for (int spins = 0; !over_ && !other_work;) {
      if (take_share())
        spins = 0;
      else
        pause(spins);
    }
    helpers_--;
  }

  // Wait until the helpers have left; after this none may join.
  void close() {
    over_ = true;
    for (int spins = 0; helpers_ > 0;) pause(spins);
  }

 private:
  bool take_share() {
    uint64_t open = open_.load(std::memory_order_acquire);
    do {
      if (!(open & 0xffffffffu)) return false;
    } while (!open_.compare_exchange_weak(open, open - 1, std::memory_order_acquire));
    const size_t share = (open & 0xffffffffu) - 1;
    try {
      call_(body_, count_ * share / shares_, count_ * (share + 1) / shares_);
    } catch (...) {
      const std::lock_guard<std::mutex> guard(exception_mutex_);
      if (!exception_) exception_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }

  const int64_t threads_;
  uint64_t round_ = 0;  // with it, a share of one loop is never taken for one of the next
  const void* body_ = nullptr;
  void (*call_)(const void*, size_t, size_t) = nullptr;
  size_t count_ = 0, shares_ = 0;
  std::mutex exception_mutex_;
  std::exception_ptr exception_;  // the first one of the loop
  std::atomic<uint64_t> open_{0};  // the round, and how many of its shares are left
  std::atomic<size_t> done_{0};
  std::atomic<int64_t> helpers_{0};
  std::atomic<bool> over_{false};
};

}  // namespace
