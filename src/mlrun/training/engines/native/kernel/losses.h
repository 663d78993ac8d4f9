// Losses of one row, as torch defines them, and their gradients multiplied by `scale`.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "interface.h"
#include "network.h"

namespace {

// The loss of one output with the error output - target, and its derivative.
struct ErrorLoss {
  float value, slope;
};

ErrorLoss error_loss(const NetworkPlan& plan, float error) {
  const float magnitude = std::fabs(error), sign = error > 0 ? 1.0f : error < 0 ? -1.0f : 0.0f;
  const float bound = static_cast<float>(plan.loss_setting);
  switch (plan.loss) {
    case MSE:
      return {error * error, 2 * error};
    case HUBER:
      if (magnitude <= bound) return {0.5f * error * error, error};
      return {bound * (magnitude - 0.5f * bound), bound * sign};
    case SMOOTH_L1:
      if (magnitude < bound) return {0.5f * error * error / bound, error / bound};
      return {magnitude - 0.5f * bound, sign};
    default:
      return {magnitude, sign};
  }
}

float regression(const NetworkPlan& plan, const float* outputs, const float* targets, size_t count,
                 float scale, float* delta) {
  float sum = 0;
  for (size_t j = 0; j < count; j++) {
    ErrorLoss loss = error_loss(plan, outputs[j] - targets[j]);
    sum += loss.value;
    delta[j] = loss.slope * scale / count;
  }
  return sum / count;
}

float cross_entropy(const NetworkPlan& plan, const float* logits, int64_t target, size_t classes,
                    float scale, float* delta) {
  const float smoothing = static_cast<float>(plan.loss_setting), share = smoothing / classes;
  float largest = logits[0], sum = 0, logits_sum = 0;
  for (size_t j = 1; j < classes; j++) largest = logits[j] > largest ? logits[j] : largest;
  for (size_t j = 0; j < classes; j++) {
    delta[j] = std::exp(logits[j] - largest);
    sum += delta[j];
    logits_sum += logits[j] - largest;
  }
  for (size_t j = 0; j < classes; j++) delta[j] = (delta[j] / sum - share) * scale;
  delta[target] -= (1 - smoothing) * scale;
  const float log_sum = std::log(sum);
  return (1 - smoothing) * (log_sum - (logits[target] - largest)) + smoothing * log_sum -
         share * logits_sum;
}

float bce_with_logits(const float* logits, const float* targets, size_t count, float scale,
                      float* delta) {
  float sum = 0;
  for (size_t j = 0; j < count; j++) {
    const float z = logits[j], bounded = std::exp(-std::fabs(z));  // never overflows
    sum += (z < 0 ? 0.0f : z) - z * targets[j] + std::log1p(bounded);
    const float probability = (z < 0 ? bounded : 1.0f) / (1 + bounded);
    delta[j] = (probability - targets[j]) * scale / count;
  }
  return sum / count;
}

// Returns the sum of the rows' losses; writes the gradient of their mean to the batch.
double batch_loss(const NetworkPlan& plan, Batch& batch, const void* targets, const int64_t* order,
                  size_t count) {
  const size_t outputs = plan.sizes[plan.layers];
  const float scale = 1.0f / count;
  double sum = 0;
  for (size_t r = 0; r < count; r++) {
    const float* z = batch.outputs(r);
    float* delta = batch.output_delta(r);
    if (plan.loss == CROSS_ENTROPY) {
      const int64_t target = static_cast<const int64_t*>(targets)[order[r]];
      sum += cross_entropy(plan, z, target, outputs, scale, delta);
      continue;
    }
    const float* row = static_cast<const float*>(targets) + order[r] * outputs;
    sum += plan.loss == BCE_WITH_LOGITS ? bce_with_logits(z, row, outputs, scale, delta)
                                        : regression(plan, z, row, outputs, scale, delta);
  }
  return sum;
}

}  // namespace
