// The structs and enumerations that Python and the kernel exchange.
// interface.py mirrors them with the same names and order; loading the library compares the sizes.

#pragma once

#include <cstdint>

extern "C" {

enum Activation { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, ELU, SILU, GELU };
enum Loss { MSE, MAE, HUBER, SMOOTH_L1, CROSS_ENTROPY, BCE_WITH_LOGITS };
enum Optimizer { SGD, ADAM, ADAMW, RMSPROP, ADAGRAD };

// The status of a job. FAULT is any exception except std::bad_alloc; Python raises RuntimeError.
enum Status : int32_t { DONE, NO_MEMORY, FAULT, QUEUED, RUNNING };

// A network's structure and the settings of its training; the same in all its epochs.
struct NetworkPlan {
  int64_t layers;
  const int64_t* sizes;  // layers + 1 numbers: inputs, hidden layers, outputs
  int64_t activation;    // of the hidden layers
  double dropout;        // after each hidden layer: the share that is dropped
  int64_t loss;
  double loss_setting;  // huber: delta; smooth_l1: beta; cross_entropy: label smoothing
  int64_t optimizer;
  int64_t moments;  // sgd: momentum | adam: both | rmsprop: squares, momentum | adagrad: sums
  int64_t nesterov;
  double beta2;  // adam: decay of the squares; rmsprop: alpha
  double epsilon;
  double weight_decay;
  double rate_decay;  // adagrad's lr_decay
  double l1, l2;
  double clip_norm, clip_value;  // 0: none
};

// An epoch of a network, or some of its steps: their inputs and their results ("out").
struct EpochJob {
  const int64_t* order;   // row numbers: those of the first step, of the second …
  const int64_t* counts;  // how many rows each step has
  const double* rates;    // each step's learning rate
  const double* momenta;  // each step's momentum, or adam's first beta
  int64_t steps;
  int64_t steps_before;  // since the beginning of the training, for Adam's bias correction
  int64_t rows_before;   // since the beginning of the epoch, for the dropout masks
  const uint64_t* keys;  // one per hidden layer, computed from seed, epoch and layer
  float* state;          // out: the state after the last step
  float* outputs;        // out: outputs of the validation rows after the last step; or null
  double loss;           // out: the sum of the rows' losses, each before its step
  int64_t done;          // out: number of steps done, less than `steps` if a loss is not finite
  double step_loss;      // out: mean loss and norm of the gradients of the last step tried
  double step_norm;
};

// Successive epochs of a network; a step whose loss or gradients are not finite ends the job.
struct TrainingJob {
  const NetworkPlan* plan;
  const float* state;   // at the beginning
  const float* inputs;  // rows x sizes[0]
  const void* targets;  // rows x outputs float, or for cross entropy rows x 1 int64
  const float* valid_inputs;
  int64_t valid_rows;
  EpochJob* epochs;
  int64_t count;
  int64_t threads;  // maximum number of threads for a step
  int64_t status;   // written by the thread pool
};

// Computes a network's outputs for some rows, without dropout.
struct ForwardJob {
  const NetworkPlan* plan;
  const float* state;   // the moments are not read
  const float* inputs;  // rows x sizes[0]
  int64_t rows;
  float* outputs;   // rows x outputs
  int64_t threads;  // maximum number of threads
  int64_t status;   // written by the thread pool
};
}
