// A lower limit for the time of the covid job: one multilayer perceptron whose sizes are constants
// (-DSIZES=117,16,8,1 -DBATCH=256), trained with ReLU, squared error and momentum. The compiler knows
// every loop bound and may reorder sums (-ffast-math). The code checks nothing and trains nothing else.
//
// The first layer takes nearly all the time. Its 16 outputs are two vectors of 8, so a tile of 6 rows
// needs 12 running sums in registers; a tile of 6 inputs of its gradient needs the same.

#include <cstdint>
#include <cstring>

namespace {

constexpr int SIZE[] = {SIZES};
constexpr int INPUTS = SIZE[0], FIRST = SIZE[1], SECOND = SIZE[2];
static_assert(FIRST % 8 == 0 && SECOND == 8 && SIZE[3] == 1, "written for 117-16-8-1");
constexpr int TILE = 6;

using Vector = float __attribute__((vector_size(4 * FIRST)));  // one row of outputs of the first layer
using Short = float __attribute__((vector_size(4 * SECOND)));

// Weights by input, then the biases; gradients and momentum have the same layout.
struct Parameters {
  Vector first[INPUTS + 1];
  Short second[FIRST + 1];
  float third[SECOND + 1];
};

constexpr int COUNT = sizeof(Parameters) / sizeof(float);

template <typename V>
V larger_than_zero(V x) {
  return x > 0 ? x : V{};
}

template <int ROWS>
void forward_tile(const Parameters& p, const float* const* rows, Vector* out) {
  Vector sums[ROWS];
  for (int r = 0; r < ROWS; r++) sums[r] = p.first[INPUTS];
  for (int k = 0; k < INPUTS; k++)
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) sums[r] += rows[r][k] * p.first[k];
  for (int r = 0; r < ROWS; r++) out[r] = larger_than_zero(sums[r]);
}

template <int COLUMNS>
void gradient_tile(const float* const* rows, int count, int first, const Vector* delta,
                   Vector* out) {
  Vector sums[COLUMNS] = {};
  for (int r = 0; r < count; r++)
#pragma GCC unroll 6
    for (int k = 0; k < COLUMNS; k++) sums[k] += rows[r][first + k] * delta[r];
  for (int k = 0; k < COLUMNS; k++) out[k] = sums[k];
}

// Forward and backward pass of the layers after the first, row by row; returns the loss of the rows.
float upper_layers(const Parameters& p, Parameters& g, Vector* hidden, const float* targets,
                   int count) {
  float loss = 0;
  for (int r = 0; r < count; r++) {
    Short sum = p.second[FIRST];
    for (int k = 0; k < FIRST; k++) sum += hidden[r][k] * p.second[k];
    const Short value = larger_than_zero(sum);
    float output = p.third[SECOND];
    for (int k = 0; k < SECOND; k++) output += value[k] * p.third[k];
    const float error = output - targets[r], slope = 2 * error / count;
    loss += error * error;
    Short back;
    for (int k = 0; k < SECOND; k++) {
      g.third[k] += slope * value[k];
      back[k] = slope * p.third[k];
    }
    g.third[SECOND] += slope;
    back = sum > 0 ? back : Short{};
    g.second[FIRST] += back;
    Vector down;
    for (int k = 0; k < FIRST; k++) {
      g.second[k] += hidden[r][k] * back;
      const Short product = p.second[k] * back;
      float total = 0;
      for (int j = 0; j < SECOND; j++) total += product[j];
      down[k] = total;
    }
    hidden[r] = hidden[r] > 0 ? down : Vector{};  // now holds the gradient of the first layer
    g.first[INPUTS] += hidden[r];
  }
  return loss;
}
}  // namespace

extern "C" {

int64_t limit_count() { return COUNT; }

// Trains one epoch over `rows` rows in this order; returns the sum of their losses.
double limit_epoch(float* weights, float* speed, const float* inputs, const float* targets,
                   const int64_t* order, int64_t rows, float rate, float momentum) {
  static Parameters p, v, g;
  static Vector hidden[BATCH];
  std::memcpy(&p, weights, sizeof p);
  std::memcpy(&v, speed, sizeof v);
  double loss = 0;
  for (int64_t start = 0; start < rows; start += BATCH) {
    const int count = rows - start < BATCH ? rows - start : BATCH;
    const float* places[BATCH];
    float wanted[BATCH];
    for (int r = 0; r < count; r++) {
      places[r] = inputs + order[start + r] * INPUTS;
      wanted[r] = targets[order[start + r]];
    }
    int r = 0;
    for (; r + TILE <= count; r += TILE) forward_tile<TILE>(p, places + r, hidden + r);
    for (; r < count; r++) forward_tile<1>(p, places + r, hidden + r);
    g = Parameters{};
    loss += upper_layers(p, g, hidden, wanted, count);
    int k = 0;
    for (; k + TILE <= INPUTS; k += TILE)
      gradient_tile<TILE>(places, count, k, hidden, g.first + k);
    for (; k < INPUTS; k++) gradient_tile<1>(places, count, k, hidden, g.first + k);
    float *weight = reinterpret_cast<float*>(&p), *moving = reinterpret_cast<float*>(&v);
    const float* slope = reinterpret_cast<const float*>(&g);
    for (int i = 0; i < COUNT; i++) {
      moving[i] = momentum * moving[i] + slope[i];
      weight[i] -= rate * moving[i];
    }
  }
  std::memcpy(weights, &p, sizeof p);
  std::memcpy(speed, &v, sizeof v);
  return loss;
}
}
