// The loops of one job, split into shares for several threads.

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

// Loops with fewer multiply-adds (or steps that take as long) are not shared. One thread computes
// 29 of them per nanosecond (34 with bench/peers/limit.cpp), as bench/peers/kernels.py measures:
// such a loop takes less than 14 microseconds, too short for other threads to join.
constexpr size_t MIN_SHARED_WORK = 400'000;
// More than one, because threads start at different times: a late thread takes fewer.
constexpr int SHARES_PER_THREAD = 3;
// Each pause takes about 40 cycles: tens of microseconds in all.
constexpr int SPINS_BEFORE_YIELD = 2'000;

// Waits briefly: keeps the core at first, later yields it to other threads.
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

  // Calls body(from, to) for parts that make up 0 … count, waits for all of them, and rethrows the
  // first exception.
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

  // Returns whether the job can use another helper; if so, the caller must call help().
  bool try_join() {
    if (helpers_ + 1 >= threads_) return false;
    helpers_++;
    return true;
  }

  // Takes shares until the job is over or there is other work.
  void help(const std::atomic<bool>& other_work) {
    for (int spins = 0; !over_ && !other_work;) {
      if (take_share())
        spins = 0;
      else
        pause(spins);
    }
    helpers_--;
  }

  // Waits until all helpers have left; afterwards no thread may join.
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
  uint64_t round_ = 0;  // distinguishes the shares of a loop from those of the next
  const void* body_ = nullptr;
  void (*call_)(const void*, size_t, size_t) = nullptr;
  size_t count_ = 0, shares_ = 0;
  std::mutex exception_mutex_;
  std::exception_ptr exception_;  // the first exception of the loop
  std::atomic<uint64_t> open_{0};  // the round (high bits) and the number of shares left (low bits)
  std::atomic<size_t> done_{0};
  std::atomic<int64_t> helpers_{0};
  std::atomic<bool> over_{false};
};

}  // namespace
