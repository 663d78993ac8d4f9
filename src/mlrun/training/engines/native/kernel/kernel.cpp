// Multilayer perceptrons trained on the CPU: a whole epoch of a network in one call.
//
// The mathematics. A network of L layers maps a batch X (B rows) to outputs H_L:
//
//     Z_l = H_(l-1) W_l + b_l        H_l = f(Z_l) * M_l        H_0 = X, no f and no M at the end
//
// where M_l is the dropout mask: 0 or 1/(1 - p). With D_l the gradient of the mean loss with
// respect to Z_l, the chain rule gives, from the last layer to the first:
//
//     dW_l = H_(l-1)^T D_l      db_l = column sums of D_l      D_(l-1) = (D_l W_l^T) * S_(l-1)
//
// with S_l = f'(Z_l) * M_l, computed together with H_l. The gradients of the penalties l1 |w| + l2
// w^2 are added, the result is clipped, and one pass over the parameters updates them.
//
// The layout. Outputs are grouped in panels of 16 columns (one vector of 16 floats, or two of 8).
// Packed weights are stored panel by panel, 16 columns of row k next to each other, so that a tile
// of 12 rows (or 6) x 16 columns of the product stays in 12 registers while k runs: each step loads
// 16 weights and multiplies them with one number of each row. The weights' gradients use the same
// tile with rows and k exchanged. Rows are reached through pointers, so a shuffled batch is never
// copied. Columns beyond the last output are padding: their weights start at zero, get no gradient
// and stay zero.
//
// The bits. Every sum runs in one fixed order, whatever the tile, the place of a row in its batch,
// or the thread: a row's outputs do not depend on its neighbours, and a network trained among
// others, or by several threads, equals bit for bit the same network trained alone by one. Compile
// without -ffast-math. -ffp-contract=fast lets the compiler fuse a * b + c into one rounding, and
// which of two products it fuses is its own choice: another compiler may give other last bits, and
// so may another C library, whose exp, log and log1p the losses use.
//
// The threads. A pool's threads take jobs from a queue and run each from its beginning to its end.
// Large steps are shared: the thread that runs the job cuts a product, or a pass over the
// parameters, into shares, and threads without a job of their own take some of them. The job's
// thread waits only for shares that another thread has taken.
//
// The interface is plain C, for ctypes. A state is what torch has, one number after another: of
// each layer the weights (outputs x inputs) and the biases, then in the same order the optimizer's
// moments. It is packed when a call begins and unpacked at the end of each epoch.
//
// The files, all compiled as one (this one includes the others):
//
//     interface.h       structs and enumerations that Python and the kernel hand each other
//     vector.h          vectors of floats, and the exponential function on them
//     parallel_loops.h  a job's loops, cut into shares for several threads
//     products.h        matrix products: nearly all of the time
//     activations.h     f and f'
//     dropout.h         M
//     network.h         layers, packed parameters, a batch on its way forward and back
//     losses.h          losses and D_L
//     gradients.h       penalties, clipping, the norm
//     optimizers.h      the update of the parameters
//     training.h        the jobs: epochs of a network, or rows through one
//     thread_pool.h     the threads that run the jobs
//     kernel.cpp        the functions that Python calls

#include <cstdint>
#include <cstring>

#include "interface.h"
#include "thread_pool.h"
#include "training.h"

#ifndef MLRUN_BUILD
#define MLRUN_BUILD ""
#endif
#ifdef __clang__
#define MLRUN_COMPILER __VERSION__
#else
#define MLRUN_COMPILER "g++ " __VERSION__
#endif

extern "C" {

// Bytes of a struct of interface.h; 0 if it has none of that name.
int64_t mlrun_struct_size(const char* name) {
  if (!std::strcmp(name, "NetworkPlan")) return sizeof(NetworkPlan);
  if (!std::strcmp(name, "EpochJob")) return sizeof(EpochJob);
  if (!std::strcmp(name, "TrainingJob")) return sizeof(TrainingJob);
  if (!std::strcmp(name, "ForwardJob")) return sizeof(ForwardJob);
  return 0;
}

// What this library was made with and from, as "key=value" lines; compiler.py adds MLRUN_BUILD.
const char* mlrun_built() { return "compiler=" MLRUN_COMPILER "\n" MLRUN_BUILD; }

// Start a pool of so many threads beside those that call mlrun_pool_wait. The functions below
// return a Status: DONE, NO_MEMORY or FAULT.
int32_t mlrun_pool_create(int64_t threads, void** pool) {
  return status_of([&] { *pool = new ThreadPool<TrainingJob>(threads, train); });
}

// The job must stay where it is until it has been waited for, or the pool is destroyed.
int32_t mlrun_pool_submit(void* pool, TrainingJob* job) {
  return status_of([&] { static_cast<ThreadPool<TrainingJob>*>(pool)->submit(*job); });
}

int32_t mlrun_pool_wait(void* pool, TrainingJob* job) {
  return status_of([&] { return static_cast<ThreadPool<TrainingJob>*>(pool)->wait(*job); });
}

// Returns when the jobs that are running are finished.
void mlrun_pool_destroy(void* pool) { delete static_cast<ThreadPool<TrainingJob>*>(pool); }

int32_t mlrun_forward(ForwardJob* job) {
  return status_of([&] {
    ThreadPool<ForwardJob> pool(job->threads - 1, forward);
    pool.submit(*job);
    return pool.wait(*job);
  });
}
}
