// Train multilayer perceptrons on the CPU: whole epochs of a network in one call.
//
// The mathematics. A network of L layers maps a batch X (B rows) to outputs H_L:
//
//     Z_l = H_(l-1) W_l + b_l        H_l = f(Z_l) * M_l        H_0 = X        H_L = Z_L
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
// Reproducibility. Every sum has one fixed order; it depends neither on the tile nor on the row's
// place in its batch nor on the thread. So a row's outputs do not depend on its neighbours, and a
// network that is trained among others, or by several threads, is bit-identical to the same network
// trained alone by one thread. Compile without -ffast-math. -ffp-contract=fast lets the compiler
// compute a * b + c with one rounding, and the compiler chooses which of two products it fuses:
// another compiler may give different last bits. So may another C library, because the losses use
// its exp, log and log1p.
//
// The threads. The threads of a pool take jobs from a queue and run each job to its end. Large
// steps are shared: the thread that runs the job splits a product, or a pass over the parameters,
// into shares, and threads that have no job take some of them. The job's thread waits only for
// shares that another thread has taken.
//
// The interface is plain C, for ctypes. A state is one array of torch's numbers: for each layer the
// weights (outputs x inputs) and the biases, then the optimizer's moments in the same order. It is
// packed at the beginning of a call and unpacked at the end of each epoch.
//
// The files, all compiled as one (this one includes the others):
//
//     interface.h       structs and enumerations that Python and the kernel exchange
//     vector.h          vectors of floats, and the exponential function on them
//     parallel_loops.h  a job's loops, split into shares for several threads
//     products.h        matrix products, which take nearly all of the time
//     activations.h     f and f'
//     dropout.h         M
//     network.h         layers, packed parameters, a batch's forward and backward pass
//     losses.h          losses and D_L
//     gradients.h       penalties, clipping, the norm
//     optimizers.h      the update of the parameters
//     training.h        the jobs: train a network for some epochs, or compute outputs of rows
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

// Returns the size in bytes of a struct of interface.h; 0 if there is no struct of this name.
int64_t mlrun_struct_size(const char* name) {
  if (!std::strcmp(name, "NetworkPlan")) return sizeof(NetworkPlan);
  if (!std::strcmp(name, "EpochJob")) return sizeof(EpochJob);
  if (!std::strcmp(name, "TrainingJob")) return sizeof(TrainingJob);
  if (!std::strcmp(name, "ForwardJob")) return sizeof(ForwardJob);
  return 0;
}

// Returns the compiler and the sources of this library as "key=value" lines; compiler.py defines
// MLRUN_BUILD.
const char* mlrun_built() { return "compiler=" MLRUN_COMPILER "\n" MLRUN_BUILD; }

// Starts a pool with this number of threads; threads that call mlrun_pool_wait work, too. The
// functions below return a Status: DONE, NO_MEMORY or FAULT.
int32_t mlrun_pool_create(int64_t threads, void** pool) {
  return status_of([&] { *pool = new ThreadPool<TrainingJob>(threads, train); });
}

// The job must stay at its address until mlrun_pool_wait has returned or the pool is destroyed.
int32_t mlrun_pool_submit(void* pool, TrainingJob* job) {
  return status_of([&] { static_cast<ThreadPool<TrainingJob>*>(pool)->submit(*job); });
}

int32_t mlrun_pool_wait(void* pool, TrainingJob* job) {
  return status_of([&] { return static_cast<ThreadPool<TrainingJob>*>(pool)->wait(*job); });
}

// Returns after the running jobs have finished.
void mlrun_pool_destroy(void* pool) { delete static_cast<ThreadPool<TrainingJob>*>(pool); }

int32_t mlrun_forward(ForwardJob* job) {
  return status_of([&] {
    ThreadPool<ForwardJob> pool(job->threads - 1, forward);
    pool.submit(*job);
    return pool.wait(*job);
  });
}
}
