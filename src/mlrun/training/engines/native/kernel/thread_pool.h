// Threads that run jobs in order of submission, and share large ones.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#include "interface.h"
#include "parallel_loops.h"

namespace {

// Returns the status that body() returns, or DONE if it returns nothing. An exception becomes a
// status, because no exception may leave a thread or cross the C interface.
template <typename Body>
Status status_of(const Body& body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return DONE;
    } else {
      return body();
    }
  } catch (const std::bad_alloc&) {
    return NO_MEMORY;
  } catch (...) {
    return FAULT;
  }
}

template <typename Job>
class ThreadPool {
 public:
  ThreadPool(int64_t threads, void (*body)(Job&, ParallelLoops&)) : body_(body) {
    try {
      for (int64_t i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      // The system refuses more threads: the thread that waits for a job runs it.
    }
  }

  // Finishes the running jobs; does not start the queued ones.
  ~ThreadPool() {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      over_ = busy_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void submit(Job& job) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      queue_.push_back(&job);
      job.status = QUEUED;
      busy_ = true;
    }
    changed_.notify_all();
  }

  // Runs the job, or other work until another thread has finished it; returns its status.
  Status wait(Job& job) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto place = std::find(queue_.begin(), queue_.end(), &job);
    if (place != queue_.end()) std::rotate(queue_.begin(), place, place + 1);
    while (job.status >= QUEUED) run_next(lock);
    return static_cast<Status>(job.status);
  }

 private:
  struct Running {
    Job* job;
    ParallelLoops* loops;
  };

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!over_) run_next(lock);
  }

  // Runs the next job, or helps with a running one, or waits for work.
  void run_next(std::unique_lock<std::mutex>& lock) {
    busy_ = !queue_.empty();
    if (busy_) {
      Job& job = *queue_.front();
      queue_.pop_front();
      run(job, lock);
    } else if (!help(lock)) {
      changed_.wait(lock);
    }
  }

  void run(Job& job, std::unique_lock<std::mutex>& lock) {
    ParallelLoops loops(job.threads);
    job.status = RUNNING;
    const Status status = status_of([&] {
      running_.push_back({&job, &loops});
      if (job.threads > 1) changed_.notify_all();
      lock.unlock();
      body_(job, loops);
    });
    if (!lock.owns_lock()) lock.lock();
    running_.erase(std::remove_if(running_.begin(), running_.end(),
                                  [&](const Running& other) { return other.job == &job; }),
                   running_.end());
    lock.unlock();
    loops.close();
    lock.lock();
    job.status = status;
    changed_.notify_all();
  }

  // Helps a running job that can use another thread; returns whether there was one.
  bool help(std::unique_lock<std::mutex>& lock) {
    for (const Running& running : running_) {
      ParallelLoops& loops = *running.loops;
      if (!loops.try_join()) continue;
      lock.unlock();
      loops.help(busy_);
      lock.lock();
      return true;
    }
    return false;
  }

  void (*body_)(Job&, ParallelLoops&);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> queue_;
  std::vector<Running> running_;
  bool over_ = false;
  std::atomic<bool> busy_{false};  // whether the queue has jobs
  std::vector<std::thread> threads_;
};

}  // namespace
