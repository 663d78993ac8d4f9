// A network's layers, the places of its packed parameters, and a batch's passes through it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "activations.h"
#include "dropout.h"
#include "interface.h"
#include "parallel_loops.h"
#include "products.h"
#include "vector.h"

namespace {

struct Layer {
  size_t inputs, outputs;
  size_t width;            // outputs and padding
  size_t weights, biases;  // where they start among the packed parameters

  // The place of the weight of input k and output j among the packed parameters.
  size_t place(size_t k, size_t j) const {
    return weights + j / PANEL * PANEL * inputs + k * PANEL + j % PANEL;
  }
};

struct Network {
  const NetworkPlan& plan;
  std::vector<Layer> layers;
  size_t parameters = 0;  // packed, padding included

  explicit Network(const NetworkPlan& plan) : plan(plan) {
    for (int64_t l = 0; l < plan.layers; l++) {
      size_t inputs = plan.sizes[l], outputs = plan.sizes[l + 1], width = padded(outputs);
      layers.push_back({inputs, outputs, width, parameters, parameters + inputs * width});
      parameters += (inputs + 1) * width;
    }
  }

  // Calls body(place among the packed parameters, place in the state) for every parameter; returns
  // their number.
  template <typename Body>
  size_t each_parameter(const Body& body) const {
    size_t next = 0;
    for (const Layer& layer : layers) {
      for (size_t j = 0; j < layer.outputs; j++)
        for (size_t k = 0; k < layer.inputs; k++) body(layer.place(k, j), next++);
      for (size_t j = 0; j < layer.outputs; j++) body(layer.biases + j, next++);
    }
    return next;
  }

  // Returns the parameters (part 0) or moments (1, 2) of a state; empty if it has none.
  std::vector<float> packed(const float* state, int64_t part) const {
    if (part > plan.moments) return {};
    std::vector<float> result(parameters, 0.0f);
    state += part * each_parameter([](size_t, size_t) {});
    each_parameter([&](size_t at, size_t i) { result[at] = state[i]; });
    return result;
  }

  // Writes one part of a state; returns the address of the next part.
  float* unpack(const std::vector<float>& source, float* state) const {
    if (source.empty()) return state;
    return state + each_parameter([&](size_t at, size_t i) { state[i] = source[at]; });
  }
};

// One batch: its values and gradients in every layer.
class Batch {
 public:
  Batch(const Network& network, size_t most_rows, bool training, ParallelLoops& loops)
      : network_(network), loops_(loops) {
    for (const Layer& layer : network.layers) {
      values_.emplace_back(most_rows * layer.width);
      slopes_.emplace_back(training ? most_rows * layer.width : 0);
      deltas_.emplace_back(training ? most_rows * layer.width : 0);
      transposed_.emplace_back(training ? layer.outputs * padded(layer.inputs) : 0);
    }
    inputs_.resize(most_rows);
    pointers_.resize(most_rows);
  }

  // Sets the rows of the batch: the rows of `inputs` listed in `order`, or the first `count`.
  void choose(const float* inputs, const int64_t* order, size_t count) {
    count_ = count;
    size_t columns = network_.layers.front().inputs;
    for (size_t r = 0; r < count; r++) inputs_[r] = inputs + (order ? order[r] : r) * columns;
  }

  // Computes H_1 … H_L; with `keys` also the slopes S_l, and with dropout.
  void forward(const float* parameters, const uint64_t* keys, uint64_t first_row) {
    for (size_t l = 0; l < network_.layers.size(); l++) {
      const Layer& layer = network_.layers[l];
      product(loops_, rows_into(l), count_, layer.inputs, parameters + layer.weights,
              parameters + layer.biases, layer.width, values_[l].data());
      if (l + 1 < network_.layers.size()) apply_activation(l, keys, first_row);
    }
  }

  // Computes the gradients of all parameters from the gradient of the outputs, output_delta().
  void backward(const float* parameters, float* gradients) {
    for (size_t l = network_.layers.size(); l-- > 0;) {
      const Layer& layer = network_.layers[l];
      const float* delta = deltas_[l].data();
      weight_gradient(loops_, rows_into(l), count_, layer.inputs, delta, layer.width,
                      gradients + layer.weights);
      column_sums(delta, count_, layer.width, gradients + layer.biases);
      if (l > 0) propagate_back(l, parameters);
    }
  }

  float* outputs(size_t row) { return values_.back().data() + row * network_.layers.back().width; }
  float* output_delta(size_t row) {
    return deltas_.back().data() + row * network_.layers.back().width;
  }

 private:
  const float* const* rows_of(const std::vector<float>& matrix, size_t width) {
    for (size_t r = 0; r < count_; r++) pointers_[r] = matrix.data() + r * width;
    return pointers_.data();
  }

  const float* const* rows_into(size_t l) {
    return l == 0 ? inputs_.data() : rows_of(values_[l - 1], network_.layers[l - 1].width);
  }

  void apply_activation(size_t l, const uint64_t* keys, uint64_t first_row);
  void propagate_back(size_t l, const float* parameters);

  const Network& network_;
  ParallelLoops& loops_;
  size_t count_ = 0;
  std::vector<std::vector<float>> values_, slopes_, deltas_, transposed_;
  RowPointers inputs_, pointers_;
};

void Batch::apply_activation(size_t l, const uint64_t* keys, uint64_t first_row) {
  const NetworkPlan& plan = network_.plan;
  const size_t width = network_.layers[l].width;
  const bool drops = keys && plan.dropout > 0;
  const Dropout dropout(drops ? keys[l] : 0, plan.dropout);
  loops_.run(count_, 16 * count_ * width, [&](size_t from, size_t to) {
    for (size_t r = from; r < to; r++) {
      const uint32_t row_key = drops ? dropout.row_key(first_row + r) : 0;
      for (size_t column = 0; column < width; column += LANES) {
        float* place = values_[l].data() + r * width + column;
        Activated f = activate(plan.activation, load(place));
        const Vector mask = drops ? dropout.mask(row_key, column) : broadcast(1.0f);
        store(place, f.value * mask);
        if (keys) store(slopes_[l].data() + r * width + column, f.slope * mask);
      }
    }
  });
}

// D_(l-1) = (D_l W_l^T) * S_(l-1); W_l^T is packed first.
void Batch::propagate_back(size_t l, const float* parameters) {
  const Layer& layer = network_.layers[l];
  const size_t width = network_.layers[l - 1].width;
  float* transposed = transposed_[l].data();
  loops_.run(layer.outputs, 16 * layer.inputs * layer.outputs, [&](size_t from, size_t to) {
    for (size_t j = from; j < to; j++)
      for (size_t k = 0; k < layer.inputs; k++)
        transposed[k / PANEL * PANEL * layer.outputs + j * PANEL + k % PANEL] =
            parameters[layer.place(k, j)];
  });
  product(loops_, rows_of(deltas_[l], layer.width), count_, layer.outputs, transposed, nullptr,
          width, deltas_[l - 1].data());
  float* delta = deltas_[l - 1].data();
  const float* slope = slopes_[l - 1].data();
  loops_.run(count_ * width, count_ * width, [&](size_t from, size_t to) {
    for (size_t i = from; i < to; i++) delta[i] *= slope[i];
  });
}

}  // namespace
