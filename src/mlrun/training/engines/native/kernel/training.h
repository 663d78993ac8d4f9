// The jobs: train a network for some epochs, or compute its outputs for some rows.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gradients.h"
#include "interface.h"
#include "losses.h"
#include "network.h"
#include "optimizers.h"
#include "parallel_loops.h"

namespace {

constexpr int64_t ROWS_AT_ONCE = 256;  // if only outputs are computed: they fit into the cache

// Computes the outputs of consecutive rows, ROWS_AT_ONCE at a time.
void outputs_of(const Network& network, const Numbers& parameters, const float* inputs,
                int64_t rows, Batch& batch, float* outputs) {
  const size_t columns = network.layers.front().inputs, width = network.layers.back().outputs;
  for (int64_t done = 0; done < rows; done += ROWS_AT_ONCE) {
    const size_t count = std::min(ROWS_AT_ONCE, rows - done);
    batch.choose(inputs + done * columns, nullptr, count);
    batch.forward(parameters.data(), nullptr, 0);
    for (size_t r = 0; r < count; r++)
      std::memcpy(outputs + (done + r) * width, batch.outputs(r), width * sizeof(float));
  }
}

void forward(ForwardJob& job, ParallelLoops& loops) {
  const Network network(*job.plan);
  Batch batch(network, std::min(job.rows, ROWS_AT_ONCE), false, loops);
  outputs_of(network, network.packed(job.state, 0), job.inputs, job.rows, batch, job.outputs);
}

int64_t most_rows(const TrainingJob& job) {
  int64_t most = 1;
  for (int64_t e = 0; e < job.count; e++)
    for (int64_t s = 0; s < job.epochs[e].steps; s++)
      most = std::max(most, job.epochs[e].counts[s]);
  return most;
}

// A network in training, with packed parameters, gradients and moments.
class NetworkTrainer {
 public:
  NetworkTrainer(const TrainingJob& job, ParallelLoops& loops)
      : job_(job),
        loops_(loops),
        network_(*job.plan),
        parameters_(network_.packed(job.state, 0)),
        gradients_(network_.parameters),
        first_(network_.packed(job.state, 1)),
        second_(network_.packed(job.state, 2)),
        squares_((network_.parameters + CHUNK - 1) / CHUNK),
        batch_(network_, most_rows(job), true, loops),
        scored_(network_, std::min(job.valid_rows, ROWS_AT_ONCE), false, loops) {}

  void train(EpochJob& epoch) {
    const int64_t* order = epoch.order;
    for (epoch.loss = 0, epoch.done = 0; epoch.done < epoch.steps; epoch.done++) {
      const int64_t count = epoch.counts[epoch.done];
      if (!step(epoch, order, count)) return;
      order += count;
    }
  }

  void write_results(const EpochJob& epoch) {
    float* moments = network_.unpack(parameters_, epoch.state);
    network_.unpack(second_, network_.unpack(first_, moments));
    if (epoch.outputs)
      outputs_of(network_, parameters_, job_.valid_inputs, job_.valid_rows, scored_, epoch.outputs);
  }

 private:
  // Returns whether loss and gradients were finite; if not, no parameter has changed.
  bool step(EpochJob& epoch, const int64_t* order, int64_t count) {
    const NetworkPlan& plan = network_.plan;
    batch_.choose(job_.inputs, order, count);
    batch_.forward(parameters_.data(), epoch.keys, epoch.rows_before + (order - epoch.order));
    const double loss = batch_loss(plan, batch_, job_.targets, order, count);
    batch_.backward(parameters_.data(), gradients_.data());
    epoch.step_norm = finish_gradients();
    epoch.step_loss = loss / count;
    if (!std::isfinite(epoch.step_loss + epoch.step_norm)) return false;
    each_chunk([&](size_t from, size_t to) {
      clip_norm(plan, epoch.step_norm, gradients_, from, to);
      update(plan, part(from, to), epoch.rates[epoch.done], epoch.momenta[epoch.done],
             epoch.steps_before + epoch.done + 1);
    });
    epoch.loss += loss;
    return true;
  }

  // Adds the penalties and clips the values; returns the norm.
  double finish_gradients() {
    each_chunk([&](size_t from, size_t to) {
      add_penalties(network_, parameters_, gradients_, from, to);
      clip_values(network_.plan, gradients_, from, to);
      for (size_t start = from; start < to; start += CHUNK)
        squares_[start / CHUNK] = squares(gradients_, start, std::min(start + CHUNK, to));
    });
    double sum = 0;
    for (double some : squares_) sum += some;
    return std::sqrt(sum);
  }

  // Calls body(from, to) for parts of the parameters; every part starts at the start of a chunk.
  template <typename Body>
  void each_chunk(const Body& body) {
    const size_t count = network_.parameters;
    loops_.run(squares_.size(), 4 * count, [&](size_t from, size_t to) {
      body(from * CHUNK, std::min(to * CHUNK, count));
    });
  }

  ParameterRange part(size_t from, size_t to) {
    return {parameters_.data() + from, first_.empty() ? nullptr : first_.data() + from,
            second_.empty() ? nullptr : second_.data() + from, gradients_.data() + from, to - from};
  }

  const TrainingJob& job_;
  ParallelLoops& loops_;
  const Network network_;
  Numbers parameters_, gradients_, first_, second_;
  std::vector<double> squares_;  // of the gradients, summed within each chunk
  Batch batch_, scored_;
};

void train(TrainingJob& job, ParallelLoops& loops) {
  NetworkTrainer trainer(job, loops);
  for (int64_t e = 0; e < job.count; e++) {
    trainer.train(job.epochs[e]);
    trainer.write_results(job.epochs[e]);
    if (job.epochs[e].done < job.epochs[e].steps) return;
  }
}

}  // namespace
