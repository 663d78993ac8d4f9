// The structs and enumerations that Python and the kernel exchange.
// interface.py mirrors them with the same names and order; loading the library compares the sizes.

#pragma once

#include <cstdint>

extern "C" {

enum Activation { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, ELU, SILU, GELU };
enum Loss { MSE, MAE, HUBER, SMOOTH_L1, CROSS_ENTROPY, BCE_WITH_LOGITS };
enum Optimizer { SGD, ADAM, ADAMW, RMSPROP, ADAGRAD };

// What becomes of a job. RuntimeError in Python for a FAULT: any exception but that of the memory.
enum Status : int32_t { DONE, NO_MEMORY, FAULT, QUEUED, RUNNING };

// What a network is and how it learns; the same in all its epochs.
struct NetworkPlan {
  int64_t layers;
  const int64_t* sizes;  // layers + 1: inputs, hidden ones, outputs
  int64_t activation;    // of the hidden layers
  double dropout;        // behind each hidden layer: the share that is dropped
  int64_t loss;
  double loss_setting;  // huber: delta; smooth_l1: beta; cross_entropy: label smoothing
  int64_t optimizer;
  int64_t moments;  // sgd: momentum | adam: both | rmsprop: squares, momentum | adagrad: sums
  int64_t nesterov;
  double beta2;  // adam: of the squares; rmsprop: alpha
  double epsilon;
  double weight_decay;
  double rate_decay;  // adagrad's lr_decay
  double l1, l2;
  double clip_norm, clip_value;  // 0: none
};

// An epoch of a network, or some steps of one: what they need and, at the end, what became of them.
struct EpochJob {
  const int64_t* order;   // the rows of the first step, of the second …
  const int64_t* counts;  // how many rows each step has
  const double* rates;    // each step's learning rate
  const double* momenta;  // each step's momentum, or adam's first beta
  int64_t steps;
  int64_t steps_before;       // since the beginning of the training: Adam's bias correction
  int64_t rows_before;        // since the beginning of the epoch: the dropout masks
  const uint64_t* keys;       // one for each hidden layer: seed, epoch and layer in a number
  float* state;               // where the state goes at the end
  float* outputs;             // of the validation rows, afterwards; or null
  double loss;                // out: the sum of the rows' losses, each before its step
  int64_t done;               // out: steps done; fewer than `steps` if one was not finite
  double step_loss;           // out: mean loss and norm of the gradients of the last step tried
  double step_norm;
};

// Epochs of a network, one after another; after a step that is not finite there are no more.
struct TrainingJob {
  const NetworkPlan* plan;
  const float* state;   // to begin with
  const float* inputs;  // rows x sizes[0]
  const void* targets;  // rows x outputs float, or for cross entropy rows x 1 int64
  const float* valid_inputs;
  int64_t valid_rows;
  EpochJob* epochs;
  int64_t count;
  int64_t threads;  // at most so many share a step
  int64_t status;   // written by the thread pool
};

// Rows through a network, without dropout.
struct ForwardJob {
  const NetworkPlan* plan;
  const float* state;   // the moments are not read
  const float* inputs;  // rows x sizes[0]
  int64_t rows;
  float* outputs;   // rows x outputs
  int64_t threads;  // at most so many share it
  int64_t status;   // written by the thread pool
};
}
